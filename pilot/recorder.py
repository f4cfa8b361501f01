"""The recorder: one thread that makes what happened durable, in groups, in order.

Outputs first, then the journal that names them; an attempt is finished when `committed` says so.
The pilot's loop never waits for a disk. A seal follows all records of its shard, because the
thread takes its orders one after the other.

That an attempt begins is written by the loop itself, before its slot is asked: a task that takes
its pilot down at once must not be missing in the journal because the thread was waiting for a disk.
Else the tasks beside it would be counted as lost more often than the one that is to blame.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bundle.errors import PulkError
from bundle.limits import MIB
from bundle.records.attempt import Attempt
from bundle.records.segment import SegmentHeader
from bundle.records.telemetry import Sample
from bundle.spool import publish, records
from bundle.spool.journal import JournalWriter
from bundle.spool.layout import ShardName, Spool
from bundle.spool.records import Begun
from bundle.spool.shard import ShardFile
from bundle.trust.keys import Signer
from pilot import linux, seal
from pilot.seal import Recorded

GROUP_ATTEMPTS_MAX = 1_000  # the loop hands over a group before it is larger
ATTEMPTS_FULL = 2_000  # of ATTEMPTS_PER_SEGMENT_MAX: what is unsealed is held in memory
LOG_BYTES_PER_SEGMENT_MAX = 16 * MIB
CONSUMED_PER_SEGMENT_MAX = 1_000_000

log = logging.getLogger("pulk.pilot")


class RecorderFailed(PulkError):
    """The spool could not be written: quota, space, or a filesystem gone read-only.

    What was committed stays; the relay salvages the journals. Make room and start a pilot again.
    """

    code = "recorder-failed"
    transient = True
    what = "the spool could not be written: {reason}"
    remedy = "make room on the spool's filesystem; the relay salvages what was recorded"


@dataclass(slots=True)
class Group:
    """Records that become durable together. `shard` numbers are the recorder's keys."""

    attempts: list[tuple[int, Attempt, bytes]] = field(default_factory=list)
    samples: list[tuple[int, Sample]] = field(default_factory=list)
    series: dict[int, bytes] = field(default_factory=dict)  # by local number


@dataclass(slots=True)
class Started:
    """Attempts that slots were asked for, and local numbers handed back, by the recorder's keys."""

    begun: dict[int, list[Begun]] = field(default_factory=dict)
    back: dict[int, list[int]] = field(default_factory=dict)


@dataclass(slots=True)
class _Open:
    """A shard that is recorded. `begun`: attempts that did not end, by local number."""

    recorded: Recorded
    journal: JournalWriter
    held: ShardFile
    begun: dict[int, Begun] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Commit:
    """The order to make a group durable: obeyed after a failure too, to keep the group."""

    recorder: Recorder
    group: Group

    def __call__(self) -> None:
        self.recorder.commit(self.group)


class Recorder:
    """Takes orders from the pilot's loop; `committed` and `failure` tell how far it came."""

    def __init__(
        self, spool: Spool, signer: Signer, batch_id: str, wake: Callable[[], None]
    ) -> None:
        """Start the thread. `wake` is called after each order is done."""
        self._spool = spool
        self._signer = signer
        self._batch_id = batch_id
        self._wake = wake
        self._orders: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._open: dict[int, _Open] = {}
        self._lock = threading.Lock()  # around what begins, and who has which journal
        self._data = os.open(spool.folder("data"), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self.committed = 0  # attempts whose record is durable
        self.sealed = 0  # seals that lie where the relay collects them
        self.failure: Exception | None = None
        self._unrecorded: list[Group] = []  # what came when the spool took no more
        self._thread = threading.Thread(target=self._serve, name="recorder", daemon=True)
        self._thread.start()

    def open(self, key: int, header: SegmentHeader, held: ShardFile) -> None:
        """Make the journal of a claimed shard, and order that it is made durable."""
        try:
            self._open[key] = _Open(Recorded(header), self._begin_journal(header), held)
        except OSError as error:
            self._fail(error)
        self._orders.put(lambda: self._settle_journal(key))

    def begin(self, news: Started) -> None:
        """Write what begins, without waiting for the disk; to be called before slots hear of it."""
        if self.failure is not None:
            return
        try:
            with self._lock:
                for key in {*news.begun, *news.back} & self._open.keys():
                    self._write_begun(self._open[key], news.begun.get(key, ()), news.back.get(key))
        except OSError as error:
            self._fail(error)

    def record(self, group: Group) -> None:
        """Order a group commit."""
        self._orders.put(_Commit(self, group))

    def seal(self, key: int, *, complete: bool) -> None:
        """Order the last seal of a shard; the shard is given up."""
        self._orders.put(lambda: self._seal(key, complete))

    def close(self, emergency: Path | None = None) -> None:
        """Wait until every order is done. Raises RecorderFailed.

        Where the spool failed, all that is not sealed there is sealed into `emergency`.
        """
        self._orders.put(None)
        self._thread.join()
        os.close(self._data)
        if self.failure is not None:
            if emergency is not None:
                self._seal_elsewhere(emergency)
            raise RecorderFailed(where=str(self._spool.root), reason=str(self.failure))

    def _serve(self) -> None:
        while (order := self._orders.get()) is not None:
            if self.failure is None or isinstance(order, _Commit):
                try:
                    order()
                except Exception as error:  # whatever it is, nothing more may be promised
                    self._fail(error)
            self._wake()

    def _fail(self, error: Exception) -> None:
        log.error("recorder failed", extra={"reason": str(error)})
        self.failure = error

    def _begin_journal(self, header: SegmentHeader, begun: Iterable[Begun] = ()) -> JournalWriter:
        """Create a journal; `begun`: of a turn before, whose journal goes."""
        name = ShardName(header.lease, header.turn)
        journal = JournalWriter(self._spool.journal(header.pilot_run, name))
        journal.append(records.header_record(header))
        if begun:
            journal.append(records.begun_record(begun))
        journal.write()
        return journal

    def _settle_journal(self, key: int) -> None:
        """Make a new journal durable."""
        one = self._open[key]
        one.journal.commit()
        publish.fsync_folder(self._spool.claimed(one.recorded.header.pilot_run))

    def _write_begun(
        self, one: _Open, begun: Sequence[Begun], back: Sequence[int] | None = None
    ) -> None:
        one.begun.update((attempt.local, attempt) for attempt in begun)
        for local in back or ():
            one.begun.pop(local, None)
        one.journal.append(records.begun_record(begun, back or ()))
        one.journal.write()

    def _commit(self, group: Group) -> None:
        outputs = [file for _, attempt, _ in group.attempts for file, _ in attempt.outputs]
        if outputs:
            self._sync_outputs(outputs)
        touched: set[int] = set()
        series = group.series.get
        for key, attempt, text in group.attempts:
            record = records.attempt_record(attempt, text, series(attempt.local, b""))
            self._open[key].journal.append(record)
            touched.add(key)
        for key, sample in group.samples:
            self._open[key].journal.append(records.sample_record((sample,)))
            touched.add(key)
        for key in touched:
            self._open[key].journal.commit()
        with self._lock:
            for key, attempt, _ in group.attempts:
                self._open[key].begun.pop(attempt.local, None)
        for key, attempt, text in group.attempts:
            self._open[key].recorded.add(attempt, text, series(attempt.local, b""))
        for key, sample in group.samples:
            self._open[key].recorded.samples.append(sample)
        self.committed += len(group.attempts)
        for key in touched:
            self._rotate_where_full(key)

    def _sync_outputs(self, outputs: list[bytes]) -> None:
        try:
            linux.sync_filesystem(self._data)
        except OSError:  # a filesystem without it: each file, then each folder
            paths = {self._spool.data(file) for file in outputs}
            for path in paths:
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
            for folder in {path.parent for path in paths}:
                publish.fsync_folder(folder)
            publish.fsync_folder(self._spool.folder("data"))

    def _rotate_where_full(self, key: int) -> None:
        """Seal a full segment and go on with the shard as its next turn."""
        one = self._open[key]
        recorded = one.recorded
        if (
            len(recorded.attempts) < ATTEMPTS_FULL
            and recorded.log_bytes < LOG_BYTES_PER_SEGMENT_MAX
            and recorded.consumed < CONSUMED_PER_SEGMENT_MAX
        ):
            return
        full = one.journal
        full.commit()
        later = seal.next_turn(self._spool, recorded.header, one.held)
        self._publish(recorded, complete=False)
        seal.let_go(self._spool, recorded.header)
        with self._lock:  # what begins meanwhile stands in both journals
            one.journal = self._begin_journal(later, one.begun.values())
            one.recorded = Recorded(later)
        full.close()
        self._settle_journal(key)

    def commit(self, group: Group) -> None:
        """Make a group durable; after a failure keep it for an emergency seal."""
        try:
            if self.failure is None:
                self._commit(group)
                return
        except OSError:
            self._unrecorded.append(group)
            raise
        self._unrecorded.append(group)

    def _seal_elsewhere(self, folder: Path) -> None:
        """Seal what is open into another folder, with what could not be recorded.

        An attempt counts only if its outputs are whole: those of the rest run again.
        """
        for group in self._unrecorded:
            for key, attempt, text in group.attempts:
                recorded = self._open[key].recorded if key in self._open else None
                known = {one.local for one in recorded.attempts} if recorded else set()
                if recorded and attempt.local not in known and self._is_whole(attempt):
                    recorded.add(attempt, text)
        for recorded in [one.recorded for one in self._open.values()]:
            if not recorded.attempts:
                continue
            raw = seal.encode(recorded, self._signer, self._batch_id, complete=False)
            try:
                where = seal.publish_elsewhere(folder, recorded, raw)
            except OSError as error:
                log.error("emergency seal failed", extra={"reason": str(error)})
            else:
                log.error("emergency seal", extra={"path": str(where)})

    def _is_whole(self, attempt: Attempt) -> bool:
        try:
            for file, _ in attempt.outputs:
                publish.fsync_file(self._spool.data(file))
        except OSError:
            return False
        return True

    def _seal(self, key: int, complete: bool) -> None:
        one = self._open[key]
        one.journal.close()
        self._publish(one.recorded, complete=complete)
        with self._lock:
            del self._open[key]
        seal.let_go(self._spool, one.recorded.header)

    def _publish(self, recorded: Recorded, *, complete: bool) -> None:
        raw = seal.encode(recorded, self._signer, self._batch_id, complete=complete)
        seal.publish_seal(self._spool, recorded, raw)
        self.sealed += 1
