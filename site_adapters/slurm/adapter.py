"""Pilots as Slurm's batch jobs: one array a submission, one pilot on each node of each of its jobs.

A batch id is made of the submission's name (`script.batch_id`), so it is known before sbatch runs
and never names another pilot, whatever becomes of Slurm's own numbers.
"""

from __future__ import annotations

import hashlib
import logging
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from site_adapters import kept_limits
from site_adapters.contract import Finding, Limits, PilotRequest, PilotView
from site_adapters.errors import OutputRefused, SchedulerFailed, SubmitFailed
from site_adapters.slurm import job_ids, judge, looking, nodes, remembered
from site_adapters.slurm.commands import run
from site_adapters.slurm.jobs import Job
from site_adapters.slurm.judge import Look
from site_adapters.slurm.records import Submission
from site_adapters.slurm.script import Batch, batch_id, options, parse_batch_id, script

_LOG = logging.getLogger(__name__)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_COMMENT = re.compile(r"pulk:([0-9a-f]{16}):(\d{1,7})x(\d{1,7})")
JOBS_MAX = 1000  # Slurm's MaxArraySize, where nobody changed it, less one
NODE_GRACE_S = 120  # a node that failed may still run its pilot for so long
SKEW_S = 3_600  # between the clocks of this machine and the controller
# What sbatch says where the controller may have taken the job and the answer got lost.
_DOUBTFUL = ("timed out", "zero bytes", "unexpected message", "communication")


class SlurmAdapter:
    """See `contract.Adapter`."""

    def __init__(
        self, folder: Path, batch: Batch, poll_s: float = 60.0, limit_s: float = 30.0
    ) -> None:
        """Keep one small file for each submission in `folder`.

        Args:
            folder: also where the pilots' logs go.
            batch: what the operator decided.
            poll_s: between two looks at the queue, at least.
            limit_s: how long each of Slurm's programs may take.
        """
        self._folder, self._batch = folder, batch
        self._poll_s, self._limit_s = poll_s, limit_s
        self._home = hashlib.sha256(str(folder.absolute()).encode()).hexdigest()[:16]

    @property
    def pilots_each(self) -> int:
        """How many nodes one batch job has."""
        return self._batch.nodes

    def submit(self, request: PilotRequest) -> tuple[str, ...]:
        """Submit one array; see the contract."""
        if not _NAME.fullmatch(request.name):
            raise SubmitFailed(name=request.name, reason="the name has characters not allowed")
        if not 0 < request.jobs <= JOBS_MAX:
            raise SubmitFailed(name=request.name, reason=f"{request.jobs} batch jobs at once")
        one = remembered.new(request.name, request.jobs, self._batch.nodes)
        ids = tuple(
            batch_id(one.name, job, node, 0) for job in range(one.jobs) for node in range(one.nodes)
        )
        try:
            if not remembered.begin(self._folder, one):
                return ids
        except OSError as error:
            raise SubmitFailed(name=one.name, reason=error.strerror or str(error)) from error
        try:
            array = self._sbatch(request, one)
        except SchedulerFailed as error:
            if error.fields["code"] == -1 or _is_doubtful(str(error.fields["reason"])):
                _LOG.warning("submission in doubt", extra={"reason": error.text()})
                return ids  # a later look finds it by its name, or not at all
            remembered.drop(self._folder, one.name)
            raise SubmitFailed(name=one.name, reason=str(error.fields["reason"])) from error
        if array:
            remembered.save(self._folder, remembered.with_array(one, array))
        return ids

    def _sbatch(self, request: PilotRequest, one: Submission) -> int:
        """Return the array's id; 0 where sbatch did not say it as it should."""
        log = str(self._folder / f"{one.name}.%a.log")
        comment = f"pulk:{self._home}:{one.jobs}x{one.nodes}"
        argv = ["sbatch", "--parsable", *options(request, self._batch, comment, log)]
        said = run(argv, self._limit_s, script(request, self._batch).encode())
        for line in reversed(said.decode(errors="replace").splitlines()):
            try:
                return job_ids.job_id(line).job
            except ValueError:
                continue  # a site's wrapper may say more
        return 0

    def survey(self) -> Mapping[str, PilotView]:
        """Return every pilot not yet forgotten, by batch id."""
        known = {one.name: one for one in remembered.every(self._folder)}
        if known and all(one.is_over for one in known.values()):
            look = Look(0, {})
        else:
            look = self._look(known)
        views: dict[str, PilotView] = {}
        for one in known.values():
            now, found = judge.judge(one, look)
            if now != one:
                remembered.save(self._folder, now)
            views.update((view.batch_id, view) for view in found)
        return views

    def _look(self, known: dict[str, Submission]) -> Look:
        """Look at the queue, then at accounting for what the queue misses; updates `known`."""
        queue = looking.queue(self._folder, self._poll_s, self._limit_s)
        if queue.jobs is None:
            _LOG.warning("queue not seen", extra={"reason": queue.trouble})
            return Look(queue.at_us, None, None, queue.trouble)
        self._learn(known, queue.jobs)
        seen = {at: rows[-1] for at, rows in judge.by_element(queue.jobs).items()}
        look = Look(queue.at_us, seen)
        asked = [
            one
            for one in known.values()
            if judge.missing(one, look) and (one.array or not remembered.is_being_submitted(one))
        ]
        if not asked:
            return look
        try:
            rows = looking.past(asked, self._limit_s)
        except (SchedulerFailed, OutputRefused) as error:
            _LOG.warning("accounting not seen", extra={"reason": error.text()})
            return look
        self._learn(known, rows)
        return replace(look, accounting=judge.by_element(rows))

    def _learn(self, known: dict[str, Submission], seen: Iterable[Job]) -> None:
        """Take ids that were never written down, and submissions whose file is lost."""
        for job in seen:
            one = known.get(job.name)
            if one is not None and not self._is_ours(one, job):
                continue
            if one is None and _NAME.fullmatch(job.name):
                said = _COMMENT.fullmatch(job.comment)
                if said is None or said[1] != self._home:
                    continue
                if remembered.is_forgotten(self._folder, job.name):
                    continue
                one = remembered.new(job.name, int(said[2]), int(said[3]))
                began_us = (job.submitted_s or 0) * 1_000_000
                one = replace(one, submitted_us=began_us or 1, submitter=(0, 0))
                remembered.begin(self._folder, one)
            if one is not None and not one.array:
                one = remembered.with_array(one, job.id.job)
                remembered.save(self._folder, one)
            if one is not None:
                known[one.name] = one

    def _is_ours(self, one: Submission, job: Job) -> bool:
        """Return whether a batch job of a submission's name is that submission."""
        said = _COMMENT.fullmatch(job.comment)
        if said is not None:
            return said[1] == self._home
        return (job.submitted_s or 0) >= one.submitted_us // 1_000_000 - SKEW_S

    def clear(self, batch_id: str, mark: str) -> bool:
        """Say whether nothing is left: Slurm itself ends what belongs to a batch job."""
        del mark
        found = self._find(batch_id)
        if found is None:
            return False
        one, job, restart = found
        if restart < one.again.get(job, 0):
            return True  # Slurm starts a batch job again once all of its last start has ended
        last = one.ended.get(job)
        if last is None:
            if one.nodes == 1:
                self.cancel([batch_id])
            return False
        failed = last.word in ("NODE_FAIL", "BOOT_FAIL") and restart == last.restarts
        return not failed or time.time() - last.at_s > NODE_GRACE_S

    def cancel(self, batch_ids: Iterable[str]) -> None:
        """Run scancel: SIGTERM to pilots that run, SIGKILL after the cluster's KillWait."""
        jobs = {
            f"{one.array}_{job}"
            for each in batch_ids
            if (found := self._find(each)) is not None
            for one, job, _ in [found]
            if one.array and job not in one.ended
        }
        if jobs:
            try:
                run(["scancel", *sorted(jobs)], self._limit_s)
            except SchedulerFailed as error:
                _LOG.warning("not cancelled", extra={"reason": error.text()})

    def forget(self, batch_id: str) -> None:
        """Drop a pilot; the submission's file and logs go with its last one."""
        found = self._find(batch_id)
        if found is None or found[1] not in found[0].ended:
            return
        one = replace(found[0], forgotten=found[0].forgotten | {batch_id})
        if one.is_over and not judge.judge(one, Look(0, {}))[1]:
            remembered.drop(self._folder, one.name)
        else:
            remembered.save(self._folder, one)

    def _find(self, batch_id: str) -> tuple[Submission, int, int] | None:
        said = parse_batch_id(batch_id)
        if said is None or not _NAME.fullmatch(said[0]):
            return None
        one = remembered.read(self._folder, said[0])
        if one is None or said[1] >= one.jobs or said[2] >= one.nodes:
            return None
        return one, said[1], said[3]

    def limits(self) -> Limits | None:
        """Ask scontrol once a day."""
        troubles = (SchedulerFailed, OutputRefused)
        return kept_limits.once_a_day(self._folder, self._ask_limits, troubles)

    def _ask_limits(self) -> Limits:
        shown = run(["scontrol", "--oneliner", "show", "node"], self._limit_s)
        parts = run(["scontrol", "--oneliner", "show", "partition"], self._limit_s)
        known = nodes.partitions(parts)
        return nodes.limits(nodes.from_scontrol(shown), known, self._batch.partition)

    def examine(self) -> tuple[Finding, ...]:
        """Try the programs, the partitions and accounting."""
        return (self._try_partitions(), self._try_accounting())

    def _try_partitions(self) -> Finding:
        wanted = {one for one in self._batch.partition.split(",") if one}
        try:
            shown = run(["scontrol", "--oneliner", "show", "partition"], self._limit_s)
            known = nodes.partitions(shown)
        except (SchedulerFailed, OutputRefused) as error:
            return Finding("slurm", error.text(), "let this machine reach Slurm's controller")
        up = {one.name for one in known if one.is_up}
        if not wanted and not any(one.is_default for one in known):
            return Finding("slurm", "no default partition", "name one: [batch] partition")
        if not wanted <= up:
            names = ", ".join(sorted(wanted - up))
            return Finding("slurm", f"not up: {names}", "correct [batch] partition, or wait")
        return Finding("slurm", f"partitions {', '.join(sorted(up))}")

    def _try_accounting(self) -> Finding:
        try:
            run(["sacct", "--noheader", "--allocations", "--jobs=1"], self._limit_s)
        except SchedulerFailed as error:
            remedy = "ended pilots that left the queue are believed to be gone 10 minutes later"
            return Finding("slurm accounting", error.text(), remedy)
        return Finding("slurm accounting", "answers")


def _is_doubtful(reason: str) -> bool:
    return any(word in reason.lower() for word in _DOUBTFUL)
