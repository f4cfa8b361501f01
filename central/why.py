"""`pulk why TASK`: what keeps a task from running, from the facts in the store, with the remedy.

Everything is looked at as the planner looks at it, by the same functions; nothing is changed.
"""

from __future__ import annotations

from typing import Any

from bundle.dataset.containers import required
from bundle.ids import SiteName, Task
from bundle.records import report as reports
from central import access, claims, epochs, histories, needed, provenance, silence
from central.attempts import attempts_of
from central.board import Board, Line
from central.candidates import candidates
from central.core import explain, matching, obstacles, order, quotas, retry
from central.core.authorise import Action, Decision, Principal, decide
from central.core.changes import implied_row
from central.core.dag import Dag
from central.core.explain import SiteWay, Situation
from central.core.facts import Place, TaskRow, Verdict
from central.core.matching import Needs
from central.core.obstacles import Code, Obstacle
from central.core.order import Usage
from central.looking import maximum
from central.persons import OPERATOR
from central.state.reading import Reading
from central.store.rows import DatasetRow, SiteRow
from central.visit import Visit, quotas_of, spent_of, visit
from central.workings import Workings

FATES_SHOWN = 5
PARENTS_SHOWN = 5
AHEAD_SHOWN = 3
DATASETS_MAX = 8  # that need each other, and are followed
ROOTS_MAX = 64  # generations of parents that are followed to the one that is the reason


def why(workings: Workings, board: Board, task: Task, by: Principal = OPERATOR) -> dict[str, Any]:
    """Return a task's verdict and what is in its way, the reason first, as plain values.

    Of the datasets that go first those are named that `by` may read.

    Raises UnknownDataset, UnknownTask.
    """
    asked = _Asked.of(workings, board, task, by)
    found = asked.because()
    return {
        "task": str(task),
        "step": asked.dag.dataset.steps[task.step].name,
        "verdict": asked.state.verdict.value,
        "reason": found[0].code.value,
        "because": [one.plain() for one in found],
    }


class _Asked:
    """One task that is asked about."""

    def __init__(
        self,
        workings: Workings,
        board: Board,
        row: DatasetRow,
        dag: Dag,
        place: Place,
        by: Principal,
        depth: int = 0,
    ) -> None:
        self._by, self._depth = by, depth
        self._w, self._board, self._row, self.dag, self._place = workings, board, row, dag, place
        self._controls = workings.controls(row)
        self._standing = self._controls.standing(place)
        self._reading = Reading(workings, row)
        known = self._reading.rows([place], outcomes=True)
        self.state: TaskRow = known[0] if known else implied_row(dag, self._controls, place)
        self._is_touched = bool(known)
        self._now_us = workings.clock_us()

    @classmethod
    def of(cls, workings: Workings, board: Board, task: Task, by: Principal) -> _Asked:
        """Look a task up. Raises UnknownDataset, UnknownTask."""
        row, dag, place = workings.task(task)
        return cls(workings, board, row, dag, place, by)

    def because(self) -> tuple[Obstacle, ...]:
        """Return what is in the way, the reason first."""
        own = self._own()
        if own:
            return explain.explain(Situation(own))
        everywhere = (
            *claims.parked(self._w, self._task()),
            *self._recovering(),
            *self._others(),
            *self._back_off(),
            *self._inputs(),
            *self._quotas(),
        )
        sites = tuple(self._way(one) for one in self._w.store.bundles.sites() if one.key)
        return explain.explain(Situation((), everywhere, sites))

    def _task(self) -> Task:
        step, job = self._place
        return Task(self._row.id, job, step)

    def _own(self) -> tuple[Obstacle, ...]:
        match self.state.verdict:
            case Verdict.DONE:
                return (Obstacle(Code.DONE, "it is done", remedy=self._look()),)
            case Verdict.REMOVED:
                text = "its dataset was removed"
                return (Obstacle(Code.REMOVED, text, remedy="submit the document again"),)
            case Verdict.CANCELLED:
                remedy = f"`pulk dataset uncancel {self._row.id}`"
                return (Obstacle(Code.CANCELLED, "it was cancelled", remedy=remedy),)
            case Verdict.FAILED:
                return (self._failed(),)
            case Verdict.LEASED:
                leased = claims.leased(self._w, self._row, self.state, self._now_us)
                return (*claims.parked(self._w, self._task()), *leased)
            case Verdict.HELD:
                own = (*self._suspended(), *self._open(), *self._parents())
                return (*own, *self._others()) if own else ()
            case _:
                return self._suspended()

    def _look(self) -> str:
        step, job = self._place
        return f"nothing; `pulk dataset tasks {self._row.id} {job} {step}` tells its story"

    def _suspended(self) -> tuple[Obstacle, ...]:
        if not self._standing.suspended:
            return ()
        remedy = f"`pulk dataset resume {self._row.id}`"
        return (Obstacle(Code.SUSPENDED, "it is suspended: no new leases", remedy=remedy),)

    def _open(self) -> tuple[Obstacle, ...]:
        """Say that more jobs may come, where that alone is in the way or more than that."""
        if not self.dag.waits_for_jobs(self._place):
            return ()
        whole = "all jobs" if self.dag.single[self._place[0]] else "all jobs of its block"
        text = f"it needs {whole}, and its dataset is open for more"
        remedy = f"`pulk dataset close {self._row.id}`, when all are there"
        return (Obstacle(Code.OPEN, text, remedy=remedy),)

    def _failed(self) -> Obstacle:
        step, job = self._place
        rules = self.dag.dataset.steps[step].retry
        tried = histories.tried(self._w, self._row, self.dag, [self._place])
        known = tried.get(self._place)
        tries = attempts_of(self._w, self._row, self._place, 1000)
        last = [f"{one.fate} at {one.segment.lease.site}" for one in tries[-FATES_SHOWN:]]
        remedy = f"see `pulk dataset attempts {self._row.id} --step {step} --job {job}`, then"
        remedy += f" `pulk dataset reset {self._row.id} --step {step} --jobs {job}`"
        if known is not None and retry.is_poison(known, rules):
            text = f"it took down {len(known.lost_on)} pilots: poison"
            return Obstacle(Code.POISON, text, has=", ".join(last), remedy=remedy)
        most = self.dag.dataset.steps[step].failures_max
        failures = self.state.failures or (known.count() if known else 0)
        cap = ""
        if known is not None and (word := retry.exhausted(known, rules, most)):
            cap = f" ({word.value} are capped)" if failures < most else ""
        text = f"it failed {failures} times, {most} are allowed{cap}"
        return Obstacle(Code.FAILED, text, has=", ".join(last), remedy=remedy)

    def _parents(self) -> tuple[Obstacle, ...]:
        """Say which parents are not done, and what in turn is in the way of the first of them."""
        open_ones = self._open_parents()
        if not open_ones:
            return ()
        steps = self.dag.dataset.steps
        names = [f"{steps[step].name} of job {job}" for step, job in open_ones[:PARENTS_SHOWN]]
        more = ", ..." if len(open_ones) > PARENTS_SHOWN else ""
        text = f"it waits for {', '.join(names)}{more}"
        below, root = self, ""
        for _ in range(ROOTS_MAX):
            first = below._open_parents()[:1]
            if not first:
                break
            of = (self._w, self._board, self._row, self.dag)
            below = _Asked(*of, first[0], self._by, self._depth)
        step, job = below._place
        at, remedy = f"{self._row.id}/{job}/{step}", ""
        if below._open_parents()[:1] and below is not self:  # following it to its end takes long
            root, remedy = f"{at}, which waits in turn", f"`pulk why {at}`"
        elif below is not self:
            reason = below.because()[0]
            site = f" at {reason.site}" if reason.site else ""
            root = f"{at}: {reason.code.value}{site}, {reason.text}"
            remedy = reason.remedy
        return (Obstacle(Code.PARENTS, text, "all parents done", root, remedy),)

    def _open_parents(self) -> list[Place]:
        """Return the parents that are not done; of a fan-in over jobs the first few."""
        dag = self.dag
        parents = list(dag.parents(self._place))
        rows = {one.place: one for one in self._reading.rows(parents)}
        found = [one for one in parents if not _is_done(rows.get(one))]
        for parent in dag.needs[self._place[0]]:
            if dag.is_fan_in(self._place[0], parent):
                found += self._open_jobs(parent, dag.needed(self._place, parent))
        return found

    def _open_jobs(self, step: int, tasks: range) -> list[Place]:
        first = tasks.start
        done = sorted(
            (job, job + count)
            for of, job, count in self._reading.spans(Verdict.DONE)
            if of == step and job + count > first
        )
        for begin, end in done:
            if begin > first:
                break
            first = max(first, end)
        after = {job for begin, end in done for job in range(begin, min(end, first + 64))}
        some = [job for job in range(first, min(tasks.stop, first + 64)) if job not in after]
        return [(step, job) for job in some[: PARENTS_SHOWN + 1]]

    def _others(self) -> tuple[Obstacle, ...]:
        """Say which tasks of other datasets it waits for, and what is in their way."""
        found = needed.obstacles(self._w, self.dag, self._place, self._by, self._reason_of)
        return tuple(found)

    def _reason_of(self, task: Task) -> Obstacle:
        row, dag, place = self._w.task(task)
        if self._depth >= DATASETS_MAX:
            return Obstacle(Code.OTHER_DATASET, "it waits in turn", remedy=f"`pulk why {task}`")
        depth = self._depth + 1
        return _Asked(self._w, self._board, row, dag, place, self._by, depth).because()[0]

    def _recovering(self) -> tuple[Obstacle, ...]:
        found = epochs.recovering(self._w.store)
        if found is None or not found.withholds(self._row.submitted_us, self._now_us):
            return ()
        waits = ", ".join(sorted(found.waiting))
        text = f"central was restored and waits for what these sites hold: {waits}"
        remedy = "let them report, or `pulk central presume-lost DIR SITE`"
        return (Obstacle(Code.RECOVERING, text, has=waits, remedy=remedy, until_us=found.until_us),)

    def _back_off(self) -> tuple[Obstacle, ...]:
        tried = histories.tried(self._w, self._row, self.dag, [self._place])
        due = histories.due(self._row.id, self.dag, tried, self._now_us).get(self._place)
        if due is None:
            return ()
        count = tried[self._place].count()
        text = f"it failed {count} times and may start again at {provenance.iso(due)}"
        return (Obstacle(Code.BACK_OFF, text, remedy="wait", until_us=due),)

    def _inputs(self) -> tuple[Obstacle, ...]:
        """Say which inputs lie neither at central nor are made again yet."""
        reads = {one.step for one in self.dag.dataset.steps[self._place[0]].inputs}
        parents = [one for one in self.dag.parents(self._place) if one[0] in reads]
        built = self._reading.built(parents)
        digests = {file for one in built.values() for file, _ in one.outputs}
        known = self._w.store.tasks.files(digests)
        lost = sorted(
            place
            for place, one in built.items()
            if any(file not in known for file, _ in one.outputs)
        )
        if not lost:
            return ()
        steps = self.dag.dataset.steps
        names = ", ".join(f"{steps[step].name} of job {job}" for step, job in lost)
        text = f"the outputs of {names} did not travel home"
        remedy = "nothing: central has them made again when a site next asks for work"
        return (Obstacle(Code.INPUTS_NOWHERE, text, "their files", "none", remedy),)

    def _quotas(self) -> tuple[Obstacle, ...]:
        limits, line = quotas_of(self._w), self._line()
        if not limits.is_set:
            return ()
        spent = spent_of(self._board, self._now_us)
        found = (
            quotas.obstacle(limits, key, spent[key])
            for key in order.quota_keys(line.user, line.group)
        )
        return tuple(one for one in found if one is not None)

    def _line(self) -> Line:
        return self._board.lines()[self._row.no]

    def _way(self, site: SiteRow) -> SiteWay:
        """Return what is in the way at one site."""
        raw, line = site.report, self._line()
        name = site.name
        if not raw:
            text = "it has never reported"
            remedy = "run `pulk relay tick` there, or bring its report"
            one = Obstacle(Code.NEVER_REPORTED, text, "a report", "none", remedy, name)
            return SiteWay(name, (one,))
        told, asked = visit(self._w, self._board, name), reports.decode(raw)
        found = list(self._mismatches(told))
        found += matching.refusals(line.shape.account, line.id, name, told.profile, user=line.user)
        found += self._cosignature(told)
        found += _asks(self._w, site, told, asked.tasks_wanted)
        if found:
            return SiteWay(name, tuple(obstacles.at_site(one, name) for one in found))
        return self._turn(told)

    def _mismatches(self, told: Visit) -> tuple[Obstacle, ...]:
        step = self.dag.dataset.steps[self._place[0]]
        request = step.request
        tried = histories.tried(self._w, self._row, self.dag, [self._place])
        known = tried.get(self._place)
        if known is not None:
            request = retry.request_for(request, known, step.retry, maximum(told.profile))
        found = matching.mismatches(Needs(request, required(step)), told.profile)
        if known is None or found:
            return found
        return tuple(_outgrown(fate.value) for fate in retry.outgrown(known, maximum(told.profile)))

    def _cosignature(self, told: Visit) -> tuple[Obstacle, ...]:
        if told.demand.is_met(self._w, self._row.digest):
            return ()
        text = f"it demands {told.demand.required} co-signatures that the dataset does not have"
        remedy = "`pulk dataset cosign`, then submit with --cosignature"
        needs = f"{told.demand.required} of {len(told.demand.keys)} keys"
        return (Obstacle(Code.COSIGNATURE, text, needs, "fewer", remedy),)

    def _turn(self, told: Visit) -> SiteWay:
        """Return who is served before the task at a site that could run it."""
        lines, now_us = self._board.lines(), self._now_us
        used = {no: self._board.usage_of(one, now_us) for no, one in lines.items()}
        found = candidates(self._w, self._board, told, now_us, used)
        rows = ((one.group, one.user, used[no]) for no, one in lines.items())
        ranking = order.ranking(found, Usage(self._board.weights, rows))
        at = ranking.index(self._row.no) if self._row.no in ranking else len(ranking)
        first = [lines[no] for no in ranking[:AHEAD_SHOWN] if no != self._row.no]
        ahead = tuple(filter(None, (_named(self._w, one, self._by) for one in first)) if at else ())
        return SiteWay(told.site, (), ahead, at, self._before())

    def _before(self) -> int:
        """Return how many ready tasks of lower jobs the dataset has, and fresh ones, at least."""
        if self._is_touched:
            ready = self._reading.ready(10_000)
            return sum(1 for _, job in ready if job < self._place[1])
        line = self._line()
        begun = sum(line.ready.values())
        fresh = self._place[1] - sum(
            min(end, self._place[1]) - begin
            for begin, end in self._row.touched.spans
            if begin < self._place[1]
        )
        return begun + fresh


def _is_done(row: TaskRow | None) -> bool:
    return row is not None and row.verdict is Verdict.DONE


def _named(workings: Workings, line: Line, by: Principal) -> str:
    """Return how a dataset is called; nothing where it is hidden from who asks."""
    row = workings.store.datasets.dataset_by_no(line.no)
    of = access.resource(access.of(workings.store, row))
    if decide(by, Action.DATASET_READ, of) is not Decision.ALLOWED:
        return ""
    user = f" of {line.user}" if line.user else ""
    return f"{row.name} ({row.id[:8]}){user}"


def _outgrown(fate: str) -> Obstacle:
    code = {"oom": Code.MEMORY, "time-limit": Code.WALLTIME, "disk-limit": Code.DISK}[fate]
    text = f"it ended with {fate} although it used all that a node here has"
    return Obstacle(code, text, remedy="run it where nodes have more")


def _asks(workings: Workings, site: SiteRow, told: Visit, tasks_wanted: int) -> list[Obstacle]:
    """Return what a site's own word, or its silence, has against more work."""
    found: list[Obstacle] = []
    heard_s = silence.heard_s(workings.store.people, site.name, workings.clock_us())
    if silence.is_silent(heard_s):
        days = (heard_s or 0) // 86_400
        text = f"nothing was heard of it for {days} days"
        remedy = "ask its operator: cron may be off, a courier late"
        found.append(Obstacle(Code.SITE_SILENT, text, "a bundle", f"silent {days} days", remedy))
    leased = workings.store.datasets.leased_by(SiteName(site.name))
    if tasks_wanted <= 0:
        text = "its newest report wants no tasks: it drains, or holds as many bundles as it may"
        remedy = "`pulk relay drain DIR --off` there, or raise `[capacity]` in relay.toml"
        found.append(Obstacle(Code.WANTS_NONE, text, "tasks wanted", "0", remedy))
    elif told.room.tasks <= 0:
        most = told.profile.tasks_max
        text = f"it holds {leased} tasks, and its quota is {most}"
        remedy = "wait until it brings results, or raise `tasks_max` in relay.toml"
        found.append(Obstacle(Code.SITE_FULL, text, "1 task", f"{leased} of {most}", remedy))
    elif told.room.cost <= 0:
        most_hours = obstacles.amount(told.profile.node_hours_max_milli / 1000)
        text = f"as many node-hours are promised there as it takes: {most_hours}"
        remedy = "wait until it brings results, or raise `node_hours_max` in relay.toml"
        found.append(Obstacle(Code.NODE_HOURS, text, "node-hours", "0 left", remedy))
    elif told.tasks <= 0:
        text = f"it holds {leased} tasks, enough for now; it wants {tasks_wanted}"
        remedy = "wait until it brings results"
        found.append(Obstacle(Code.SITE_FULL, text, "1 task", f"{leased} held", remedy))
    return found
