"""Pilots in virtual time: they claim, order, journal and seal with the pilot's own code.

Only the payload is played: how long it takes, how it ends, what it writes.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from bundle.dataset import graph
from bundle.fates import Fate
from bundle.ids import PilotRun
from bundle.records import seal as seals
from bundle.records.attempt import Attempt, Usage
from bundle.records.seal import Claim
from bundle.records.segment import Host, SegmentHeader
from bundle.retry import Ended
from bundle.spool import publish, records
from bundle.spool.journal import JournalWriter, frame_of
from bundle.trust.keys import MemoryKey
from pilot import seal
from pilot.claims import Claimed, Claims
from pilot.core.agenda import Agenda, Start
from pilot.core.room import Room
from pilot.seal import Recorded
from site_adapters.contract import Finding, Limits, PilotRequest, PilotState, PilotView
from tests.simulation.faults import Fault
from tests.simulation.ledger import Key, Said
from tests.simulation.machine import HOUR_US, SECOND_US

if TYPE_CHECKING:
    from tests.simulation.site import Site

HOST = Host("node", "6.1", "cpu", 1, 4096, "boot", "3.11", "0", "namespace")
ROOM = Room(1000, 4096)
LOOK_US = 20 * 60 * SECOND_US
LOOKS_MAX = 3
ALLOCATION_US = 20 * HOUR_US


class Scheduler:
    """The site's batch system (see `site_adapters.contract`); a pilot waits for its node."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._names: dict[str, str] = {}
        self.pilots: dict[str, Pilot] = {}
        self.blind = False

    @property
    def pilots_each(self) -> int:
        """One node each."""
        return 1

    def submit(self, request: PilotRequest) -> tuple[str, ...]:
        """Start a request's pilots once."""
        return tuple(self._submit(f"{request.name}.{job}") for job in range(request.jobs))

    def _submit(self, name: str) -> str:
        if name not in self._names:
            batch = self._names[name] = f"{self._site.label}-{len(self._names)}"
            pilot = self.pilots[batch] = Pilot(self._site, batch)
            self._site.world.machine.after(
                self._site.chance.uniform(60, 7200) * SECOND_US, pilot.start
            )
        return self._names[name]

    def survey(self) -> Mapping[str, PilotView]:
        """Return every pilot."""
        return {
            batch: PilotView(batch, batch, PilotState.UNKNOWN if self.blind else one.state, 1)
            for batch, one in self.pilots.items()
        }

    def clear(self, batch_id: str, mark: str) -> bool:
        """Nothing is ever left of a pilot that is gone."""
        del mark
        return batch_id in self.pilots

    def cancel(self, batch_ids: Iterable[str]) -> None:
        """Kill pilots."""
        for batch in batch_ids:
            if batch in self.pilots:
                self.pilots[batch].die()

    def limits(self) -> Limits | None:
        """Nothing is told of the nodes."""
        return None

    def examine(self) -> tuple[Finding, ...]:
        """Nothing is looked at."""
        return ()

    def forget(self, batch_id: str) -> None:
        """Drop a pilot that is gone."""
        if batch_id in self.pilots and self.pilots[batch_id].state is PilotState.ABSENT:
            del self.pilots[batch_id]


class Pilot:
    """One pilot run on one node with one slot."""

    def __init__(self, site: Site, batch: str) -> None:
        self.site, self.batch = site, batch
        self.state = PilotState.WAITING
        self.spool_number = site.spool_number
        self._world, self._spool = site.world, site.spool
        self._chance = site.world.machine.chance(f"pilot {site.label} {batch}")
        self._looks = 0
        self._local = 0
        self._claimed: Claimed | None = None

    def start(self) -> None:
        """Begin on a node: the claim first."""
        if self.state is not PilotState.WAITING:
            return
        self.state = PilotState.RUNNING
        self._run, self._key = PilotRun(os.urandom(8)), MemoryKey.generate()
        self._until_us = self._world.machine.now_us + ALLOCATION_US * self._chance.uniform(0.3, 1)
        publish.make_folder(self._spool.claimed(self._run))
        claim = Claim(
            self._run,
            self._key.public,
            self.batch,
            HOST.name,
            HOST.boot_id,
            1,
            1,
            1,
            1,
            HOST.offline,
        )
        raw = seals.encode_claim(claim)
        publish.write_new_file(self._spool.folder("tmp"), self._spool.claim(self._run), raw)
        self._claims = Claims(self._spool, self._run)
        self._work()

    def die(self) -> None:
        """Vanish from one moment to the next, at most one torn record behind."""
        if self.state is PilotState.RUNNING and self._claimed is not None:
            self._world.fire(Fault.PILOT_KILLED, self.site.label)
            if self._pending:
                self._world.fire(Fault.PILOT_LOST_RECORDS, self.site.label)
                self._tear(self._pending[0])
        if self._claimed is not None:
            os.close(self._journal._descriptor)
            self._claimed = None
        if self.state is PilotState.RUNNING:
            self._claims.close()
        self.state = PilotState.ABSENT

    def _tear(self, attempt: Attempt) -> None:
        path = self._spool.journal(self._run, self._shard)
        if self._chance.random() < 0.5 and path.exists():
            frame = frame_of(records.attempt_record(attempt, b""))
            with path.open("ab") as file:
                file.write(frame[: self._chance.randrange(1, len(frame))])
            self._world.fire(Fault.JOURNAL_TORN, self.site.label)

    # -- the loop ------------------------------------------------------------------------

    def _work(self) -> None:
        if self.state is not PilotState.RUNNING:
            return
        if self._world.faulty and self._chance.random() < 0.03:
            self.die()
            return
        if not self._spool.claim(self._run).exists():
            self.state = PilotState.ABSENT  # taken for dead, or the spool was purged
            return
        if self._claimed is None and not self._claim():
            self._looks += 1
            if self._looks >= LOOKS_MAX or self._is_over():
                self._leave()
            else:
                self._world.machine.after(LOOK_US, self._work)
            return
        self._looks = 0
        now_us = self._now_us()
        start = None if self._is_over() else self._agenda.next(ROOM, now_us)
        if start is None and not self._is_over() and self._agenda.due_us > now_us:
            self._world.machine.after(self._agenda.due_us - now_us, self._work)
            return
        if start is None:
            self._seal(complete=self._agenda.complete)
            self._world.machine.after(SECOND_US, self._work)
            return
        self._begin(start)
        took_ms = int(self._chance.expovariate(1 / self._world.task_ms)) + 1
        self._world.machine.after(took_ms * 1000, lambda: self._ended(start, took_ms))

    def _now_us(self) -> int:
        return self._world.machine.now_us + self.site.skew_us

    def _begin(self, start: Start) -> None:
        """Write down that an attempt begins; it is synced with the next group."""
        step, job = start.place
        begun = records.Begun(self._local, job, step, start.generation, 0, self._now_us(), 1)
        self._journal.append(records.begun_record([begun]))
        self._journal.write()
        self._world.ledger.begun.add(self._key_of(step, job, start.generation, self._local))

    def _key_of(self, step: int, job: int, generation: int, local: int) -> Key:
        head = self._header
        return Key(head.dataset, step, job, generation, head.lease, self._run, local)

    def _is_over(self) -> bool:
        return self._world.machine.now_us >= self._until_us

    def _claim(self) -> bool:
        if self._is_over():
            return False
        now_us = self._now_us()
        file = self._claims.claim(now_us, self._run * 2)
        if file is None:
            return False
        claimed = self._claims.open(file)
        lease = claimed.lease
        self._header = SegmentHeader(
            self._run, lease.lease, lease.dataset, lease.dataset_digest, file.bundle, file.shard,
            file.turn, HOST,
        )  # fmt: skip
        self._shard, self._claimed = file.name, claimed
        self._agenda = Agenda(
            claimed.dataset, lease, claimed.earlier, ROOM, claimed.maximum, now_us
        )
        self._recorded = Recorded(self._header)
        self._pending: list[Attempt] = []
        self._journal = JournalWriter(self._spool.journal(self._run, file.name))
        self._journal.append(records.header_record(self._header))
        self._journal.commit()
        publish.fsync_folder(self._spool.claimed(self._run))
        return True

    def _ended(self, start: Start, took_ms: int) -> None:
        """A payload ended: its outputs, the record, now or later the commit."""
        if self.state is not PilotState.RUNNING:
            return
        if not self._spool.claim(self._run).exists():
            self.state = PilotState.ABSENT
            return
        fate, contents = self._world.payloads.run(self._header, start, self._inputs_are_here(start))
        outputs = tuple((hashlib.sha256(one).digest(), len(one)) for one in contents)
        for (file, _), content in zip(outputs, contents, strict=True):
            self._put(file, content)
        attempt = Attempt(
            job=start.place[1], step=start.place[0], generation=start.generation,
            local=self._local, fate=fate, exit_code=int(fate is not Fate.SUCCESS), signal=0,
            started_us=self._now_us() - took_ms * 1000, started_mono_us=1,
            ended_mono_us=1 + took_ms * 1000, slot=0,
            usage=Usage(took_ms, took_ms, 10, 20, 30, 40), consumed=start.consumed,
            outputs=outputs,
        )  # fmt: skip
        self._local += 1
        how = Ended(fate, self._run, self._now_us(), 10, took_ms, 20)
        self._agenda.ended(start.place, how, outputs)
        self._pending.append(attempt)
        if self._chance.random() < 0.6:
            self._commit()
        self._work()

    def _inputs_are_here(self, start: Start) -> bool:
        """Whether everything that the payload reads lies in the spool, as staging in finds."""
        dataset = self._agenda.dataset
        reads = {one.step: one.output for one in dataset.steps[start.place[0]].inputs}
        for place in graph.parents(dataset, *start.place):
            outputs = self._agenda.outcomes[place].outputs
            if place[0] in reads and not self._spool.data(outputs[reads[place[0]]][0]).exists():
                return False
        return True

    def _put(self, file: bytes, content: bytes) -> None:
        target = self._spool.data(file)
        if not target.exists():
            publish.make_folder(target.parent)
            publish.publish(publish.stage(self._spool.folder("tmp"), content), target)

    def _commit(self) -> None:
        for attempt in self._pending:
            self._journal.append(records.attempt_record(attempt, b""))
        self._journal.commit()
        for one in self._pending:
            self._recorded.add(one, b"")
            key = self._key_of(one.step, one.job, one.generation, one.local)
            document = self._header.dataset_digest
            said = Said(one.fate, one.consumed, one.outputs, one.usage.wall_ms, document)
            self._world.ledger.write(key, said, self.spool_number)
            self._world.machine.tell("ran", one.step, one.job, one.generation, one.fate.value)
        self._pending = []

    def _seal(self, *, complete: bool) -> None:
        self._commit()
        self._journal.close()
        raw = seal.encode(self._recorded, self._key, self.batch, complete=complete)
        seal.publish_seal(self._spool, self._recorded, raw)
        self._claimed = None
        if self._world.faulty and self._chance.random() < 0.03:
            self._world.fire(Fault.PILOT_KILLED, self.site.label)
            self.die()  # before it let the shard go
        else:
            seal.let_go(self._spool, self._header)

    def _leave(self) -> None:
        self._claims.close()
        folder = self._spool.claimed(self._run)
        if not any(folder.glob("*.shard")):
            publish.remove(folder)
        self.state = PilotState.ABSENT
