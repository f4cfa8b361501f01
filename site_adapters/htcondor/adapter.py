"""Pilots as jobs of an HTCondor pool: submitted once by name, seen through one query.

A cluster of jobs is one submission, a pilot is one start of one job. What is remembered lies in a
small file for each submission (`remembered`); what a look means is decided in `judge`; the pool is
spoken to by a process of its own (`bindings`). Where nodes share no filesystem, a parcel travels
with the job, and what comes back is fetched once it has ended (ADR 22).
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from bundle.spool import publish
from site_adapters import kept_limits
from site_adapters.contract import Ending, Finding, Limits, PilotRequest, PilotView
from site_adapters.errors import BindingsMissing, SchedulerFailed, SubmitFailed
from site_adapters.htcondor import codes, judge, looking, remembered, slots
from site_adapters.htcondor.bindings import IN_DOUBT, Bindings, environment
from site_adapters.htcondor.description import LOG, Batch, Places, describe, script
from site_adapters.htcondor.jobs import Job
from site_adapters.htcondor.judge import Look
from site_adapters.htcondor.looking import Troubles
from site_adapters.htcondor.records import Submission, batch_id, parse_batch_id

_LOG = logging.getLogger(__name__)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
JOBS_MAX = 1000
GIVE_UP_S = 6 * 3_600  # after its end; what then is not here runs again
FETCH_S = 300.0  # what comes back may be large
_REASON = "its relay has no use for it any more"


class HTCondorAdapter:
    """See `contract.Adapter` and `contract.Carrying`."""

    def __init__(
        self,
        folder: Path,
        batch: Batch,
        pool: str = "",
        schedd: str = "",
        poll_s: float = 60.0,
        limit_s: float = 30.0,
    ) -> None:
        """Keep a few small files for each submission in `folder`.

        Args:
            folder: also where the pilots' logs go, and what comes back of them.
            batch: what the operator decided.
            pool: the collector's `host:port`; empty: what HTCondor's configuration says.
            schedd: the schedd's name in that pool; empty: this machine's.
            poll_s: between two looks at the queue, at least.
            limit_s: how long each order to the pool may take.
        """
        self._folder, self._batch, self._poll_s = folder.absolute(), batch, poll_s
        self._bindings = Bindings(pool, schedd, limit_s)
        self._home = hashlib.sha256(str(self._folder).encode()).hexdigest()[:16]

    @property
    def pilots_each(self) -> int:
        """One job is one pilot."""
        return 1

    def submit(self, request: PilotRequest) -> tuple[str, ...]:
        """Submit one cluster; see the contract."""
        if not _NAME.fullmatch(request.name):
            raise SubmitFailed(name=request.name, reason="the name has characters not allowed")
        most = 1 if self._batch.carries else JOBS_MAX
        if not 0 < request.jobs <= most or self._batch.carries != (request.parcel is not None):
            raise SubmitFailed(name=request.name, reason=f"{request.jobs} batch jobs at once")
        one = remembered.new(
            *(request.name, request.jobs),
            carries=self._batch.carries,
            requeue=self._batch.requeue and not self._batch.carries,
        )
        ids = tuple(batch_id(one.name, job, 0) for job in range(one.jobs))
        try:
            if not remembered.begin(self._folder, one):
                return ids
            description = self._describe(request, one)
        except OSError as error:
            with contextlib.suppress(OSError):
                remembered.drop(self._folder, one.name)
            raise SubmitFailed(name=one.name, reason=error.strerror or str(error)) from error
        try:
            cluster = self._submit(description, one)
        except Troubles as error:
            if isinstance(error, SchedulerFailed) and error.fields["code"] == IN_DOUBT:
                _LOG.warning("submission in doubt", extra={"reason": error.text()})
                return ids  # a later look finds it by its name, or not at all
            if not self._is_there(one):
                remembered.drop(self._folder, one.name)
                raise SubmitFailed(name=one.name, reason=error.text()) from error
            return ids
        remembered.save(self._folder, replace(one, cluster=cluster))
        return ids

    def _describe(self, request: PilotRequest, one: Submission) -> dict[str, str]:
        """Write what the job needs beside it; return its description."""

        def place(suffix: str) -> Path:
            return remembered.path(self._folder, one.name, suffix)

        passed = () if one.carries else tuple(environment().items())
        text = script(
            request, self._batch, [(name, value) for name, value in passed if name in _PASSED]
        )
        publish.write_file(self._folder, place(remembered.SCRIPT), text.encode(), mode=0o700)
        if one.carries:
            publish.make_folder(place(remembered.BACK))
        places = Places(
            script=str(place(remembered.SCRIPT)),
            events=str(place(remembered.EVENTS)),
            log=str(self._folder / f"{one.name}.$(ProcId).log"),
            back=str(place(remembered.BACK)),
            parcel=str(request.parcel or ""),
        )
        batch = replace(self._batch, requeue=one.requeue)
        return describe(request, batch, self._home, places)

    def _submit(self, description: dict[str, str], one: Submission) -> int:
        said = self._bindings.of_schedd(
            "submit",
            within_s=FETCH_S if one.carries else 0.0,
            constraint=self._named(one),
            description=description,
            count=one.jobs,
            spool=one.carries,
        )
        return int(said["cluster"])

    def _named(self, one: Submission) -> str:
        return f'PulkHome == "{self._home}" && PulkName == "{one.name}"'

    def _is_there(self, one: Submission) -> bool:
        """Return whether a submission that failed is in the queue; True where nobody can tell."""
        try:
            attributes = ["ClusterId", "ProcId"]
            found = self._bindings.of_schedd(
                "query", constraint=self._named(one), attributes=attributes
            )
        except SchedulerFailed as error:
            return bool(error.fields["code"] == IN_DOUBT)
        except Troubles:
            return False
        return bool(found)

    def survey(self) -> Mapping[str, PilotView]:
        """Return every pilot not yet forgotten, by batch id."""
        known = {one.name: one for one in remembered.every(self._folder)}
        if known and all(one.is_over for one in known.values()):
            look, is_new = Look(0, {}), False
        else:
            look, is_new = self._look(known)
        views: dict[str, PilotView] = {}
        useless: list[str] = []
        for one in known.values():
            judged = judge.judge(one, look)
            if judged.one != one:
                remembered.save(self._folder, judged.one)
            useless += judged.useless
            views.update((view.batch_id, view) for view in judged.views)
        if is_new:  # else it was done when that was seen
            self._act("Remove", useless)
        return views

    def _look(self, known: dict[str, Submission]) -> tuple[Look, bool]:
        """Look at the queue, then at the history for what it misses; updates `known`.

        Returns also whether the queue was asked just now.
        """
        queue = looking.queue(self._folder, self._bindings, self._home, self._poll_s)
        if queue.jobs is None:
            _LOG.warning("queue not seen", extra={"reason": queue.trouble})
            return Look(queue.at_us, None, trouble=queue.trouble), False
        self._learn(known, queue.jobs)
        look = Look(queue.at_us, judge.by_id(queue.jobs))
        asked = [
            one
            for one in known.values()
            if judge.missing(one, look) and (one.cluster or not remembered.is_being_submitted(one))
        ]
        if not asked:
            return look, queue.is_new
        found: list[Job] = []
        try:
            found = looking.past(self._bindings, self._home, asked)
        except Troubles as error:
            _LOG.warning("history not seen", extra={"reason": error.text()})
        self._learn(known, found)
        past = judge.by_id(found)
        for one in asked:
            if any((known[one.name].cluster, at) not in past for at in judge.missing(one, look)):
                past = looking.logged(self._folder, one) | past
        return replace(look, past=past), queue.is_new

    def _learn(self, known: dict[str, Submission], seen: Iterable[Job]) -> None:
        """Take numbers that were never written down, and submissions whose file is lost."""
        for job in seen:
            if job.home != self._home or not _NAME.fullmatch(job.name):
                continue
            one = known.get(job.name)
            if one is None:
                if remembered.is_forgotten(self._folder, job.name):
                    continue
                one = remembered.new(
                    job.name, max(job.jobs, 1), carries=job.carries, requeue=job.requeue
                )
                began_us = job.submitted_s * 1_000_000
                one = replace(one, submitted_us=began_us or 1, submitter=(0, 0))
                remembered.begin(self._folder, one)
            if not one.cluster:
                one = replace(one, cluster=job.cluster)
                remembered.save(self._folder, one)
            known[one.name] = one

    def clear(self, batch_id: str, mark: str) -> bool:
        """Say whether nothing is left: HTCondor itself ends what belongs to a job.

        What a pilot without a shared filesystem left is there once it was fetched.
        """
        del mark
        found = self._find(batch_id)
        if found is None:
            return False
        one, job, start = found
        last = one.ended.get(job)
        if start < one.again.get(job, 0) and last is None:
            return not one.carries
        if last is None:
            self.cancel([batch_id])
            return False
        if one.carries:
            return job in one.fetched
        return start < last.start or time.time() > last.alone_s

    def cancel(self, batch_ids: Iterable[str]) -> None:
        """Remove jobs: SIGTERM to pilots that run, SIGKILL once they took too long."""
        self._act(
            "Remove",
            sorted(
                {
                    f"{one.cluster}.{job}"
                    for each in batch_ids
                    if (found := self._find(each)) is not None
                    for one, job, _ in [found]
                    if one.cluster and job not in one.ended
                }
            ),
        )

    def _act(self, action: str, jobs: list[str]) -> None:
        if not jobs:
            return
        try:
            self._bindings.of_schedd("act", action=action, jobs=jobs, reason=_REASON)
        except Troubles as error:
            _LOG.warning("pool did not obey", extra={"reason": error.text()})

    def returned(self, batch_id: str) -> Path | None:
        """Return the folder with what came back of an ABSENT pilot; see `contract.Carrying`."""
        found = self._find(batch_id)
        if found is None or not found[0].carries or found[1] not in found[0].ended:
            return None
        one, job, _ = found
        back = remembered.path(self._folder, one.name, remembered.BACK)
        if job not in one.fetched and not self._fetch(one, job):
            return None
        return back if back.is_dir() else None

    def _fetch(self, one: Submission, job: int) -> bool:
        """Bring back what a job left in the queue; True where there is no more to come."""
        id_ = f"{one.cluster}.{job}"
        attributes = ["ClusterId", "ProcId", "JobStatus"]
        here = f"ClusterId == {one.cluster} && ProcId == {job}"
        try:
            rows = self._bindings.of_schedd("query", constraint=here, attributes=attributes)
            if rows and one.ended[job].ending is not Ending.NEVER_BEGAN:
                if rows[0].get("JobStatus") not in (codes.REMOVED, codes.COMPLETED):
                    return False  # it is being removed
                self._retrieve(one, job, id_)
            remembered.save(self._folder, replace(one, fetched=one.fetched | {job}))
            if rows:
                self._bindings.of_schedd("let-go", jobs=[id_])
        except Troubles as error:
            _LOG.warning("not fetched", extra={"job": id_, "reason": error.text()})
            now = remembered.read(self._folder, one.name)
            return now is not None and job in now.fetched
        return True

    def _retrieve(self, one: Submission, job: int, id_: str) -> None:
        back = remembered.path(self._folder, one.name, remembered.BACK)
        publish.make_folder(back)
        try:
            self._bindings.of_schedd("retrieve", within_s=FETCH_S, jobs=[id_])
        except SchedulerFailed as error:
            # A pilot that was killed at once, or whose node was lost, left nothing to fetch.
            is_nothing = "errno 2" in str(error.fields["reason"])
            if not is_nothing and time.time() - one.ended[job].at_s < GIVE_UP_S:
                raise
            _LOG.warning("nothing came back", extra={"job": id_, "reason": error.text()})
        with contextlib.suppress(OSError):
            os.replace(back / LOG, self._folder / f"{one.name}.{job}.log")

    def forget(self, batch_id: str) -> None:
        """Drop a pilot; the submission's files go with its last one."""
        found = self._find(batch_id)
        if found is None or found[1] not in found[0].ended:
            return
        if found[0].carries and found[1] not in found[0].fetched:
            return
        one = replace(found[0], forgotten=found[0].forgotten | {batch_id})
        if one.is_over and not judge.judge(one, Look(0, {})).views:
            remembered.drop(self._folder, one.name)
        else:
            remembered.save(self._folder, one)

    def _find(self, batch_id: str) -> tuple[Submission, int, int] | None:
        said = parse_batch_id(batch_id)
        if said is None or not _NAME.fullmatch(said[0]):
            return None
        one = remembered.read(self._folder, said[0])
        if one is None or said[1] >= one.jobs:
            return None
        return one, said[1], said[2]

    def limits(self) -> Limits | None:
        """Ask the collector once a day."""
        return kept_limits.once_a_day(self._folder, self._ask_limits, Troubles)

    def _ask_limits(self) -> Limits:
        return slots.limits(self._slots(), self._batch.walltime_s)

    def _slots(self) -> list[slots.Slot]:
        constraint = 'SlotType =!= "Dynamic"'
        found = self._bindings.of_pool(
            "slots", constraint=constraint, attributes=list(slots.ATTRIBUTES)
        )
        return slots.from_ads(found)

    def examine(self) -> tuple[Finding, ...]:
        """Try the schedd and the collector."""
        return (self._try_schedd(), self._try_slots())

    def _try_schedd(self) -> Finding:
        try:
            said = self._bindings.of_schedd("versions")
        except Troubles as error:
            remedy = error.remedy if isinstance(error, BindingsMissing) else _REACH
            return Finding("htcondor", error.text(), remedy)
        versions = [slots.version(said.get(one)) for one in ("schedd", "bindings")]
        return Finding("htcondor", f"schedd {versions[0]}, bindings {versions[1]}")

    def _try_slots(self) -> Finding:
        try:
            found = slots.limits(self._slots(), 0)
        except Troubles as error:
            return Finding("htcondor slots", error.text(), _REACH)
        if not found.nodes:
            return Finding("htcondor slots", "none", "ask the pool's operator for machines")
        size = f"the largest {found.cpus} cores, {found.memory_mib} MiB"
        return Finding("htcondor slots", f"{found.nodes}, {size}")


_PASSED = frozenset({"PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ"})
_REACH = "let this machine reach the pool: CONDOR_CONFIG, [batch] pool and schedd, a token"
