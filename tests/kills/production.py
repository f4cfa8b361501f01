"""A real central, a real relay with work in its spool, and real pilots to be killed over it.

Made once and copied for every kill. What is true about a run stands in three places that know
nothing of each other: the payloads' own ledger, the journals' bytes as the dead pilot left them,
and central, to whom the relay's bundles are brought in the end.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import zlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgpack

from bundle.dataset.spec import Command, Dataset, Input, Output, Request, Step
from bundle.fates import FATES, Fate
from bundle.ids import SiteName
from bundle.records import seal as seals
from bundle.records import segment as segments
from bundle.records.attempt import Attempt
from bundle.trust import fingerprint
from bundle.wire.manifest import Kind
from bundle.wire.read import open_bundle
from central.home import now_us
from relay import enrol, quarantine
from relay.home import Home, open_home
from relay.tick import tick
from tests.conftest import REPOSITORY
from tests.kills import watched_pilot
from tests.kills.plant import Place, Plant
from tests.kills.sweep import Point, named_calls

SITE = SiteName("north")
LIMIT_S = 300.0  # also on a machine that does much else
PILOTS_MAX = 4  # after the one that was killed
CONFIG = """[site]
name = "north"
[spool]
free_bytes_min = 0
free_inodes_min = 0
[pilots]
count = 0
[capacity]
tasks_wanted = 1000
[tasks]
isolation = "plain"
path = "/usr/bin:/bin"
"""
_LEDGER = "KILLS_LEDGER"
_PAYLOAD = """set -e
echo "begin $$PULK_ATTEMPT $$PULK_STEP $$PULK_JOB" >> $$KILLS_LEDGER
{body}
echo "end $$PULK_ATTEMPT $$PULK_STEP $$PULK_JOB" >> $$KILLS_LEDGER
"""
# Job 2 fails once: what a failed attempt used counts too.
_GENERATE = 'test $$PULK_JOB != 2 || test $$(grep -c " 0 2$$" $$KILLS_LEDGER) -gt 1; echo g > g'
_WEIGHT = "cat g > w; echo $$PULK_JOB >> w"

Named = tuple[str, int]  # pilot run, local number
Task = tuple[int, int]  # step, job


@dataclass(frozen=True, slots=True)
class Ledger:
    """What the payloads wrote down: each attempt with its task, as it began and before it ended."""

    begun: dict[Named, Task]
    ended: dict[Named, Task]

    @classmethod
    def read(cls, path: Path) -> Ledger:
        begun: dict[Named, Task] = {}
        ended: dict[Named, Task] = {}
        for line in path.read_text().splitlines() if path.exists() else ():
            word, attempt, step, job = line.split()
            run, local = attempt.split(":")[-2:]
            (begun if word == "begin" else ended)[run, int(local)] = int(step), int(job)
        return cls(begun, ended)


@dataclass(frozen=True, slots=True)
class Died:
    """How a pilot that was watched ended: its calls, and the signal that ended it, or 0."""

    calls: list[str]
    signal: int

    def point(self, act: str) -> Point | None:
        """Return at which call it was killed; None where it ended before."""
        return named_calls(act, self.calls)[-1] if self.signal == signal.SIGKILL else None


@dataclass(slots=True)
class Production:
    """One central with one site, both in one folder."""

    plant: Plant
    jobs: int
    durable: dict[Named, Task] = field(default_factory=dict)  # with success, when the pilot died

    @property
    def site(self) -> Path:
        return self.plant.home.root.with_name("site")

    @property
    def ledger(self) -> Path:
        """Where payloads write what they do, outside of all that Pulk knows."""
        return self.plant.home.root.with_name("ledger")

    @classmethod
    def made(cls, place: Place, jobs: int) -> Production:
        """Submit, enrol, plan and deliver, so that a pilot finds its shards on offer."""
        plant = place.plant()
        plant.close()
        plant.home.config.write_text("[archive]\ncopies = 1\n[planner]\nshard_tasks_max = 8\n")
        plant.open()
        one = cls(plant, jobs)
        plant.clock.now_us = now_us()
        made = enrol.init(one.site, SITE, "")
        answer = one.site / "answer"
        answer.write_bytes(plant.authority.enrol(made.request.read_bytes(), made.fingerprint))
        enrol.accept(one.site, answer, fingerprint.of_roots(plant.authority._w.trust.trust))
        one.configure()
        plant.submit(_dataset(jobs))
        home = one.relay()
        tick(home)
        one.bring_all(home)
        for row in plant.authority.outbox(SITE):
            path = plant.authority.outgoing(SITE, row.id)
            shutil.copy(path, home.spool.folder("in") / f"{row.id}.pulk")
        tick(home)
        assert list(home.spool.folder("claimable").iterdir())
        plant.close()
        return one

    def copy(self) -> Production:
        """Another one that is what this one was made."""
        plant = self.plant.place.copy(self.plant)
        other = Production(plant, self.jobs)
        shutil.copytree(self.site, other.site)
        if self.ledger.exists():
            shutil.copy(self.ledger, other.ledger)
        other.configure()
        return other

    def configure(self) -> None:
        """Tell the site's payloads which ledger is theirs."""
        text = f'{CONFIG}[task_environment]\n{_LEDGER} = "{self.ledger}"\n'
        (self.site / "relay.toml").write_text(text)

    def keep(self) -> Path:
        """Copy it to where a campaign's reports lie, for who looks at what went wrong."""
        kept = REPOSITORY / ".campaign" / self.plant.name
        shutil.copytree(self.plant.home.root.parent, kept)
        return kept

    def drop(self) -> None:
        self.plant.place.drop(self.plant)

    def relay(self) -> Home:
        return open_home(self.site)

    # -- pilots --------------------------------------------------------------------------

    def pilot(self, *strikes: str) -> Died:
        """Run a pilot whose system calls are counted; `strikes`: `NUMBER:SIGNAL` of the n-th."""
        command = [sys.executable, "-m", "tests.kills.watched_pilot", str(self.site), *strikes]
        done = subprocess.run(
            command, cwd=REPOSITORY, capture_output=True, text=True, timeout=LIMIT_S, check=False
        )
        assert done.returncode == 0, done.stderr
        said = json.loads(done.stdout.splitlines()[-1])
        assert not said["left"], f"still there after the pilot: {said['left']}"
        return Died(said["calls"], said["signal"])

    def another_pilot(self) -> None:
        """Run a pilot that nobody watches, to its end."""
        done = subprocess.run(
            watched_pilot.command(str(self.site)),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    def note_durable(self) -> None:
        """Read what the dead pilot left, bytes first: what of it counts from now on."""
        spool = self.relay().spool
        self.durable = {}
        for path in spool.folder("claimed").glob("*/*.journal"):
            rows = [one["row"] for one in frames(path.read_bytes()) if one["kind"] == "attempt"]
            self.durable |= {
                (path.parent.name, row["local"]): (row["step"], row["job"])
                for row in rows
                if FATES[row["fate"]] is Fate.SUCCESS
            }
        for path in spool.folder("sealed").iterdir():
            segment = segments.decode(seals.decode(path.read_bytes(), where=str(path)).segment)
            self.durable |= {
                (segment.header.pilot_run.hex(), one.local): (one.step, one.job)
                for one in segment.attempts
                if one.fate is Fate.SUCCESS
            }

    # -- the end -------------------------------------------------------------------------

    def finish(self) -> None:
        """Go on as a site does, until nothing is left to run."""
        for _ in range(PILOTS_MAX):
            home = self.relay()
            tick(home)
            if not list(home.spool.folder("claimable").iterdir()):
                return
            self.another_pilot()
        raise AssertionError("it did not come to an end")

    def bring_all(self, home: Home) -> None:
        """Bring every bundle of the site to central, in order; each is merged."""
        for path in self.bundles(home):
            assert self.plant.bring(path) == "merged"

    def bundles(self, home: Home) -> list[Path]:
        trust = home.trust()
        found = []
        for path in home.spool.folder("out").iterdir():
            with open_bundle(path, trust, audience="central", kinds=frozenset(Kind)) as one:
                found.append((one.manifest.sequence, path))
        return [path for _, path in sorted(found)]

    def judge(self) -> None:
        """All that finished counts, once; nothing that counted ran again; nothing is left over."""
        ledger = Ledger.read(self.ledger)
        self.finish()
        home = self.relay()
        self.plant.open()
        self.bring_all(home)
        self.bring_all(home)  # again: nothing is counted twice
        assert self.plant.counts() == [[{"done": self.jobs}, {"done": self.jobs}]]
        self.plant.close()
        found = self._arrived(home)
        every = Counter((run, one.local) for run, one in found)
        assert max(every.values()) == 1, "one attempt came twice"
        examined = self.plant.examine()
        assert examined["attempts"] == len(found)
        assert examined["wall_ms"] == sum(one.usage.wall_ms for _, one in found)
        self._check_truth(ledger, found)
        # Of a pilot that had no claim yet an empty folder may stay for an hour.
        held = [one.name for one in home.spool.folder("claimed").glob("*/*")]
        assert set(held) <= {"slots", "brought", "handed"}, held
        assert not list(home.spool.folder("sealed").iterdir())
        odd = [one.text for one in quarantine.every(home.spool)]
        assert all("inside a record" in text for text in odd), odd

    def _check_truth(self, before: Ledger, found: list[tuple[str, Attempt]]) -> None:
        succeeded = {(r, a.local): (a.step, a.job) for r, a in found if a.fate is Fate.SUCCESS}
        assert self.durable.items() <= succeeded.items(), "finished work was lost"
        times = Counter(succeeded.values())
        assert len(times) == 2 * self.jobs and max(times.values()) == 1, "a task succeeded twice"
        after = Ledger.read(self.ledger)
        for one, task in succeeded.items():
            assert after.ended[one] == task, "what no payload did counts"
        again = {task for one, task in after.begun.items() if one not in before.begun}
        assert not again & set(self.durable.values()), "what was durable ran again"

    def _arrived(self, home: Home) -> list[tuple[str, Attempt]]:
        found = []
        for path in self.bundles(home):
            with open_bundle(path, home.trust(), audience="central", kinds=frozenset(Kind)) as one:
                for at in one.find("segment"):
                    segment = segments.decode(one.chunk(at))
                    run = segment.header.pilot_run.hex()
                    found += [(run, attempt) for attempt in segment.attempts]
        return found


def _dataset(jobs: int) -> Dataset:
    """Two steps a job, the second reads what the first wrote."""
    request = Request(memory_mib=64, walltime_ms=60_000, disk_bytes=1 << 24)

    def ran(body: str) -> Command:
        return Command(("/bin/bash", "-c", _PAYLOAD.format(body=body)))

    steps = (
        Step("generate", ran(_GENERATE), outputs=(Output("g"),), request=request, failures_max=3),
        Step(
            "weight",
            ran(_WEIGHT),
            needs=(0,),
            inputs=(Input(0, 0, "g"),),
            outputs=(Output("w"),),
            request=request,
        ),
    )
    return Dataset("killed", jobs, 7, steps)


def frames(raw: bytes) -> list[dict[str, Any]]:
    """Read a journal's bytes by its format alone: every whole frame, up to the first that is not.

    The format's words: length, CRC-32 of length and payload, payload in msgpack.
    """
    found, at = [], 0
    while at + 8 <= len(raw):
        length = int.from_bytes(raw[at : at + 4], "big")
        payload = raw[at + 8 : at + 8 + length]
        checked = zlib.crc32(raw[at : at + 4] + payload).to_bytes(4, "big")
        if len(payload) < length or checked != raw[at + 4 : at + 8]:
            break
        found.append(dict(msgpack.unpackb(payload, strict_map_key=False)))
        at += 8 + length
    return found
