"""Pilots as batch jobs of a scheduler that PSI/J knows: one pilot a batch job, one node each.

PSI/J writes the scheduler's script and reads the scheduler's words. What it does not keep from one
process to the next is kept here: submissions by name, and marks that batch jobs make themselves.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path

from site_adapters import looks
from site_adapters.contract import (
    Finding,
    Limits,
    PilotRequest,
    PilotState,
    PilotView,
    SubmitFailed,
)
from site_adapters.errors import ExtraMissing, OutputRefused, SchedulerFailed
from site_adapters.psij import judge, remembered, script
from site_adapters.psij.judge import Look
from site_adapters.psij.orders import IN_DOUBT, Orders
from site_adapters.psij.records import Submission, batch_id, number, parse_batch_id
from site_adapters.psij.script import Batch

_LOG = logging.getLogger(__name__)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
JOBS_MAX = 100  # each is submitted by itself, which takes its time
WORK = "psij"  # what PSI/J's scripts write at a node: next to nothing
Troubles = (SchedulerFailed, OutputRefused, ExtraMissing)


class PsijAdapter:
    """See `contract.Adapter`."""

    def __init__(
        self, folder: Path, batch: Batch, poll_s: float = 60.0, limit_s: float = 30.0
    ) -> None:
        """Keep one small file for each submission in `folder`, and pilots' marks and logs.

        Args:
            folder: seen by the nodes by the same path.
            batch: what the operator decided.
            poll_s: between two looks at the queue, at least.
            limit_s: how long each of the scheduler's programs may take.
        """
        self._folder, self._batch, self._poll_s = folder.absolute(), batch, poll_s
        self._orders = Orders(batch.scheduler, self._folder / WORK, limit_s)

    @property
    def pilots_each(self) -> int:
        """One batch job is one pilot."""
        return 1

    def submit(self, request: PilotRequest) -> tuple[str, ...]:
        """Submit the batch jobs one by one; see the contract."""
        if not _NAME.fullmatch(request.name):
            raise SubmitFailed(name=request.name, reason="the name has characters not allowed")
        if not 0 < request.jobs <= JOBS_MAX:
            raise SubmitFailed(name=request.name, reason=f"{request.jobs} batch jobs at once")
        one = remembered.new(request.name, request.jobs)
        try:
            if not remembered.begin(self._folder, one):
                one = remembered.read(self._folder, one.name) or one
                return tuple(batch_id(one.name, job) for job in range(one.jobs))
            for job in range(request.jobs):
                one = self._submit_one(request, one, job)
                if one.jobs <= job:
                    break
            remembered.save(self._folder, replace(one, submitter=(0, 0)))
        except OSError as error:
            if not one.native:
                remembered.drop(self._folder, one.name)
                reason = error.strerror or str(error)
                raise SubmitFailed(name=one.name, reason=reason) from error
            _LOG.warning("not all submitted", extra={"reason": str(error)})
        return tuple(batch_id(one.name, job) for job in range(one.jobs))

    def _submit_one(self, request: PilotRequest, one: Submission, job: int) -> Submission:
        """Submit one batch job; return what is known then: fewer jobs where it was refused."""
        files = remembered.files(self._folder, one.name)
        log = self._folder / f"{one.name}.{job}.log"
        text = script.script(request, self._batch, job, files, log)
        path = remembered.write_script(self._folder, one.name, job, text)
        told = {
            "script": str(path),
            "submit": str(path.with_suffix(script.SUBMIT)),
            "batch": asdict(self._batch),
        }
        try:
            native = str(self._orders.give("submit", **told))
            if not native:
                return one
        except Troubles as error:
            doubtful = isinstance(error, SchedulerFailed) and error.fields["code"] == IN_DOUBT
            if doubtful or isinstance(error, OutputRefused):
                _LOG.warning("submission in doubt", extra={"reason": error.text()})
                return one  # its own mark names it, or it never begins
            if job == 0:
                remembered.drop(self._folder, one.name)
                raise SubmitFailed(name=one.name, reason=error.text()) from error
            _LOG.warning("not all submitted", extra={"reason": error.text()})
            one = replace(one, jobs=job)
        else:
            one = replace(one, native=one.native | {job: native})
        remembered.save(self._folder, one)
        return one

    def survey(self) -> Mapping[str, PilotView]:
        """Return every pilot not yet forgotten, by batch id."""
        known = [self._learned(one) for one in remembered.every(self._folder)]
        ids = [
            native
            for one in known
            for job, native in sorted(one.native.items())
            if job not in one.ended
        ]
        asks = any(not one.is_over for one in known)
        look = self._look(ids) if asks else Look(0, {})
        views: dict[str, PilotView] = {}
        for one in known:
            views.update((view.batch_id, view) for view in self._judged(one, look))
        return views

    def _learned(self, one: Submission) -> Submission:
        """Take ids from what batch jobs say of themselves: where no answer was written down.

        The one that has the claim is the pilot's, whatever else was submitted by that name.
        """
        found = {
            job: native
            for job in range(one.jobs)
            if job not in one.ended
            if (native := remembered.marks(self._folder, one.name, job).native)
            if number(native) != number(one.native.get(job, ""))
        }
        now = replace(one, native=one.native | found)
        if now != one and not remembered.is_being_submitted(one):
            remembered.save(self._folder, now)
        return now

    def _look(self, ids: list[str]) -> Look:
        def ask() -> bytes:
            return json.dumps(self._orders.give("look", ids=ids) if ids else {}).encode()

        last, _ = looks.look(self._folder, self._poll_s, ask, Troubles)
        if last.trouble:
            _LOG.warning("queue not seen", extra={"reason": last.trouble})
            return Look(last.at_us, None, last.trouble)
        try:
            said = json.loads(last.output).items()
            rows = {number(str(native)): (str(word), str(why)) for native, (word, why) in said}
        except (ValueError, AttributeError, TypeError):
            return Look(last.at_us, None, "what was written down of the last look is damaged")
        return Look(last.at_us, rows)

    def _judged(self, one: Submission, look: Look) -> Iterator[PilotView]:
        """Yield the pilots of a submission, once what was found is written down."""
        submits = remembered.is_being_submitted(one)
        ended, missing, views = dict(one.ended), dict(one.missing_us), []
        for job in range(one.jobs):
            state, reason = PilotState.ABSENT, ended.get(job, "")
            if job not in ended:
                marks = remembered.marks(self._folder, one.name, job)
                now = judge.standing(one, job, marks, look, submits)
                state, reason = now.state, now.reason
                if now.missing:
                    missing.setdefault(job, look.at_us)
                elif look.rows is not None:
                    missing.pop(job, None)
                if state is PilotState.ABSENT:
                    if marks.claimed or remembered.claim(self._folder, one.name, job):
                        ended[job] = now.word
                    else:
                        state, reason = PilotState.UNKNOWN, "it begins, or its folder is not seen"
            name = batch_id(one.name, job)
            if name not in one.forgotten:
                ending = judge.ending_of(ended[job]) if state is PilotState.ABSENT else None
                native = one.native.get(job, "")
                at_us = one.submitted_us
                views.append(PilotView(one.name, name, state, at_us, ending, reason, native))
        found = replace(one, ended=ended, missing_us=missing)
        if found != one and not submits:  # whoever submits it writes
            remembered.save(self._folder, found)
        yield from views

    def clear(self, batch_id: str, mark: str) -> bool:
        """Say whether nothing is left: the scheduler ends what belongs to a batch job."""
        del mark
        found = self._find(batch_id)
        if found is None:
            return False
        one, job = found
        if job in one.ended:
            return True
        self.cancel([batch_id])
        return False

    def cancel(self, batch_ids: Iterable[str]) -> None:
        """Have the scheduler cancel them; most send SIGTERM first, and SIGKILL soon after."""
        ids = [
            one.native[job]
            for each in batch_ids
            if (found := self._find(each)) is not None
            for one, job in [found]
            if job in one.native and job not in one.ended
        ]
        if not ids:
            return
        try:
            for reason in self._orders.give("cancel", ids=ids):
                _LOG.warning("not cancelled", extra={"reason": str(reason)})
        except Troubles as error:
            _LOG.warning("not cancelled", extra={"reason": error.text()})

    def forget(self, batch_id: str) -> None:
        """Drop a pilot; all files of the submission go with its last one."""
        found = self._find(batch_id)
        if found is None or found[1] not in found[0].ended:
            return
        one = replace(found[0], forgotten=found[0].forgotten | {batch_id})
        if len(one.forgotten) >= one.jobs:
            remembered.drop(self._folder, one.name)
        else:
            remembered.save(self._folder, one)

    def _find(self, batch_id: str) -> tuple[Submission, int] | None:
        said = parse_batch_id(batch_id)
        if said is None or not _NAME.fullmatch(said[0]):
            return None
        one = remembered.read(self._folder, said[0])
        return None if one is None or said[1] >= one.jobs else (one, said[1])

    def limits(self) -> Limits | None:
        """PSI/J tells nothing of nodes."""
        return None

    def examine(self) -> tuple[Finding, ...]:
        """Look at the queue once, by an id that nobody has."""
        try:
            self._orders.give("look", ids=["1"])
        except ExtraMissing as error:
            return (Finding("psij", error.text(), "pip install 'pulk[psij]' beside the relay"),)
        except (SchedulerFailed, OutputRefused) as error:
            remedy = "let this machine reach the scheduler, by its programs on PATH"
            return (Finding(f"psij {self._batch.scheduler}", error.text(), remedy),)
        return (Finding(f"psij {self._batch.scheduler}", "answers"),)
