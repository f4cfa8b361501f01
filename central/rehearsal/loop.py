"""The drive: submit, watch, do harm on purpose, wait until nothing is left, stop, judge."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from bundle.client import Client, NoAnswer
from bundle.dataset import spec
from bundle.dataset.spec import Dataset
from bundle.errors import PulkError
from bundle.records import seal as seals
from bundle.spool.journal import read_journal
from central.rehearsal.courier import Courier
from central.rehearsal.faults import Fault, Kill, Target
from central.rehearsal.ledger import with_ledger
from central.rehearsal.programs import call_json, kill_process, kill_sessions
from central.rehearsal.stage import SiteSize, Stage, set_stage

POLL_S = 0.1
POLL_SHARE = 20  # counting a dataset of many steps costs central time: ask that much less often
OPEN_WORDS = ("ready", "leased")
Counts = list[dict[str, Any]]
LastLook = Callable[[Client, str, Dataset], None]


class Stuck(PulkError):
    """A rehearsal made no progress for a long while. The logs of programs and pilots say why."""

    code = "stuck"
    what = "no progress for {seconds:.0f} s; open: {open}"
    remedy = "read {logs} and the pilots' logs in site/pilots beside it; the last one ends: {last}"


@dataclass(frozen=True, slots=True)
class Harm:
    """What is done on purpose while the dataset runs."""

    bundles: dict[int, Fault] = field(default_factory=dict)
    pilot_in_mid_shard: bool = False
    kills: tuple[Kill, ...] = ()


@dataclass(slots=True)
class Ran:
    """A rehearsal that came to its end."""

    stage: Stage
    dataset: Dataset
    dataset_id: str
    counts: Counts
    fsck: dict[str, Any]
    events: list[str]
    faults: dict[str, int]
    offline: str
    wall_s: float


class Rehearsal:
    """One dataset through the whole loop."""

    def __init__(
        self,
        root: Path,
        size: SiteSize,
        harm: Harm,
        tell: Callable[[str], None],
        stuck_after_s: float = 120.0,
    ) -> None:
        """Set the stage in `root`; `tell` hears each fault in words as it happens."""
        self._harm = harm
        self._tell = tell
        self._stuck_after_s = stuck_after_s
        self.courier = Courier(self._central_url, harm.bundles, self._kill_relay, self._met)
        self.stage = set_stage(root, size, self.courier.url)
        self.events: list[str] = []
        self.faults: dict[str, int] = {}
        self._pilot_pids: set[int] = set()
        self._offline = ""

    def run(
        self,
        dataset: Dataset,
        progress: Callable[[Counts], None],
        last_look: LastLook | None = None,
    ) -> Ran:
        """Run the dataset to its end; `progress` gets the counts as they change.

        `last_look` may ask central while it still serves, when all is done.

        Raises Stuck, ProgramFailed and what the programs refuse.
        """
        started = time.monotonic()
        wrapped = with_ledger(dataset)
        self.courier.start()
        try:
            self.stage.central.start()
            client = self._wait_for_central()
            dataset_id = client.submit(spec.encode(wrapped), os.urandom(16).hex())["id"]
            self.stage.relay.start()
            counts = self._drive(client, dataset_id, progress)
            self._settle()
            if last_look is not None:
                last_look(self._wait_for_central(), dataset_id, wrapped)
        finally:
            self._stop()
        fsck = call_json("central", "fsck", str(self.stage.central_dir))
        wall_s = time.monotonic() - started
        return Ran(
            self.stage,
            wrapped,
            dataset_id,
            counts,
            fsck,
            self.events,
            self.faults,
            self._offline,
            wall_s,
        )

    def _drive(self, client: Client, dataset_id: str, progress: Callable[[Counts], None]) -> Counts:
        began = moved = time.monotonic()
        kills = list(self._harm.kills)
        pilot_to_kill = self._harm.pilot_in_mid_shard
        counts: Counts = []
        ask_at = began
        while True:
            self._revive()
            self._note_pilots()
            self.courier.release()
            while kills and time.monotonic() - began >= kills[0].after_s:
                self._kill(kills.pop(0).target)
            if pilot_to_kill and self._kill_pilot_in_mid_shard():
                pilot_to_kill = False
            with contextlib.suppress(NoAnswer):
                asked = time.monotonic()
                fresh = counts
                if asked >= ask_at:
                    client.base = self._central_url()
                    fresh = client.counts(dataset_id)
                    ask_at = time.monotonic() + POLL_SHARE * (time.monotonic() - asked)
                if fresh != counts:
                    counts, moved = fresh, time.monotonic()
                    progress(counts)
            if counts and not kills and not _open(counts):
                return counts
            if time.monotonic() - moved > self._stuck_after_s:
                raise self._stuck(f"{_open(counts)} tasks")
            time.sleep(POLL_S)

    def _settle(self) -> None:
        """Wait until the relay holds nothing that central has not called safe."""
        deadline = time.monotonic() + self._stuck_after_s
        waiting = [self.stage.spool / name for name in ("sealed", "out", "sent")]
        while any(any(folder.iterdir()) for folder in waiting if folder.is_dir()):
            self._revive()
            self.courier.release(at_once=True)
            if time.monotonic() > deadline:
                raise self._stuck("result bundles that are not safe")
            time.sleep(POLL_S)

    def _stuck(self, what: str) -> Stuck:
        logs = sorted(self.stage.spool.glob("pilots/*/log"), key=lambda path: path.stat().st_mtime)
        said = logs[-1].read_text(errors="replace").strip() if logs else "no pilot started"
        return Stuck(
            seconds=self._stuck_after_s,
            open=what,
            logs=str(self.stage.root / "logs"),
            last=said.splitlines()[-1] if said else "without a word",
        )

    def _stop(self) -> None:
        self.stage.relay.stop()
        self.courier.stop()
        self.stage.central.stop()
        kill_sessions(sorted(self._pilot_pids))

    def _central_url(self) -> str:
        return self.stage.central_url()

    def _wait_for_central(self) -> Client:
        deadline = time.monotonic() + self._stuck_after_s
        while time.monotonic() < deadline:
            self._revive()
            with contextlib.suppress(OSError, NoAnswer):
                client = Client(self._central_url(), self.stage.token)
                client.health()
                return client
            time.sleep(POLL_S)
        raise self._stuck("central does not answer")

    def _revive(self) -> None:
        """Start again what was killed on purpose, as a service supervisor or cron would."""
        for program in (self.stage.central, self.stage.relay):
            if program.starts and not program.running:
                if said := program.ended_badly():
                    self._say(f"{program.name} ended by itself: {said[-300:]}")
                program.start()

    def _say(self, event: str) -> None:
        self.events.append(event)
        self._tell(event)

    def _met(self, fault: Fault, bundle: str) -> None:
        self._count(fault)
        self._say(f"result bundle {bundle[:12]} {fault}")

    def _count(self, fault: str) -> None:
        self.faults[fault] = self.faults.get(fault, 0) + 1

    def _kill_relay(self) -> None:
        self.stage.relay.kill()

    def _kill(self, target: Target) -> None:
        match target:
            case Target.CENTRAL:
                self.stage.central.kill()
            case Target.RELAY:
                self.stage.relay.kill()
            case Target.PILOT | Target.SLOT | Target.PAYLOAD:
                if not self._kill_below(target):
                    return
        self._count(f"SIGKILL of {target}")
        self._say(f"{target} killed with SIGKILL")

    def _kill_below(self, target: Target) -> bool:
        """SIGKILL a pilot, one of its slots, or what runs in a slot; False where there is none."""
        for claim in self._claims():
            with contextlib.suppress(psutil.Error):
                pilot = psutil.Process(claim.pid)
                slots = pilot.children()
                payloads = [child for slot in slots for child in slot.children()]
                found = {Target.PILOT: [pilot], Target.SLOT: slots, Target.PAYLOAD: payloads}
                if found[target]:
                    return kill_process(found[target][0].pid)
        return False

    def _kill_pilot_in_mid_shard(self) -> bool:
        """SIGKILL a pilot whose journal holds ended attempts that are not sealed yet."""
        for claim in self._claims():
            folder = self.stage.spool / "claimed" / claim.pilot_run.hex()
            for journal in folder.glob("*.journal"):
                with contextlib.suppress(OSError):
                    ended = [r for r in read_journal(journal).records if r["kind"] == "attempt"]
                    if ended and kill_process(claim.pid):
                        self._count("pilot killed in mid-shard")
                        self._say(
                            f"pilot {claim.pilot_run.hex()[:8]} killed with SIGKILL in the middle "
                            f"of a shard; {len(ended)} ended tasks in its journal to salvage"
                        )
                        return True
        return False

    def _note_pilots(self) -> None:
        for claim in self._claims():
            self._pilot_pids.add(claim.pid)
            self._offline = claim.offline

    def _claims(self) -> list[seals.Claim]:
        claims = []
        for path in (self.stage.spool / "claimed").glob("*/claim"):
            with contextlib.suppress(OSError, PulkError):
                claims.append(seals.decode_claim(path.read_bytes(), where=str(path)))
        return claims


def _open(counts: Counts) -> int:
    return sum(step["counts"].get(word, 0) for step in counts for word in OPEN_WORDS)
