"""A task's story: what central knows of it, as events in order, each in words. Pure.

The order is that in which central learned it, for no clock of a site or node is trusted: a lease
and a control stand where their commit stands, an attempt right before the result bundle that
brought it. Each event names the clock of its time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from bundle.dataset.spec import Request, Step
from bundle.fates import Fate, counts
from bundle.records.rules import NO_HISTORY
from central.core import retry
from central.core.controls import Standing
from central.core.facts import AttemptFact, Control, ControlWord, Pin, Place, Verdict

__all__ = ["Carried", "Event", "Lease", "Order", "Result", "Task", "Tried", "What", "tell"]

Order = int  # central's number of the bundle that told it; 0 where that is not known
CENTRAL = "central"
KEY_SHOWN = 8  # hex digits of keys and ids in words


class What(StrEnum):
    """What kind of thing happened."""

    SUBMITTED = "submitted"
    CONTROL = "control"
    LEASED = "leased"
    ATTEMPT = "attempt"
    CARRIED = "carried"
    RESULT = "result"
    DECISION = "decision"
    PIN = "pin"
    PARKED = "parked"
    VERDICT = "verdict"


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened. `at_us`: UTC by `clock`, 0 where nobody noted it."""

    what: What
    text: str
    at_us: int = 0
    clock: str = CENTRAL
    facts: dict[str, Any] = field(default_factory=dict)
    order: tuple[int, int, int, int] = (0, 0, 0, 0)

    def plain(self) -> dict[str, Any]:
        """Return it as plain values."""
        about = {"what": self.what.value, "at_us": self.at_us, "clock": self.clock}
        return about | {"text": self.text} | self.facts


READ_SHOWN, READ_MAX = 3, 1000  # tasks of other datasets that a lease is told with


@dataclass(frozen=True, slots=True)
class Lease:
    """A lease that covered the task. `number`: of its work bundle in the stream to the site."""

    id: str
    site: str
    work: str
    state: str
    generation: int
    made_us: int
    deadline_us: int
    number: int
    is_fetched: bool
    key: str
    order: Order
    read: Sequence[str] = ()  # tasks of other datasets that the task reads


@dataclass(frozen=True, slots=True)
class Carried:
    """One hop's word, unsigned, that it took a bundle. `took_us`: by its clock, 0 if not said."""

    hop: str
    host: str
    source: str
    took_us: int


@dataclass(frozen=True, slots=True)
class Result:
    """A result bundle that told of the task. `key`: whose signature it bears, in hex."""

    id: str
    site: str
    made_us: int
    number: int
    safe: bool
    key: str
    order: Order
    carried: Sequence[Carried] = ()


@dataclass(frozen=True, slots=True)
class Tried:
    """One attempt, and where and how it ran. `result`: the order of the bundle that brought it."""

    fact: AttemptFact
    name: str
    site: str
    host: str
    batch_id: str
    started_us: int
    exit_code: int
    signal: int
    evidence: str
    salvaged: bool
    result: Order
    document: str = ""  # that it ran by, in hex, where it is not its lease's


@dataclass(frozen=True, slots=True)
class Task:
    """Everything that central knows of one task. Orders, and times by central's clock, in pairs."""

    name: str
    place: Place
    step: Step
    spec_hash: bytes
    verdict: Verdict
    outcome: bytes
    standing: Standing
    submitted_us: int = 0
    submitter: str = ""
    controls: Sequence[tuple[Order, int, Control]] = ()
    leases: Sequence[Lease] = ()
    results: Sequence[Result] = ()
    attempts: Sequence[Tried] = ()
    pins: Sequence[tuple[Order, int, Pin]] = ()
    parked: Sequence[str] = ()
    due_us: int = 0
    heard: str = ""  # which sites know of the newest document


def tell(task: Task) -> tuple[Event, ...]:
    """Return a task's story in order; the verdict is its last line."""
    events = [
        *_submitted(task),
        *_controls(task),
        *(_lease(task, one) for one in task.leases),
        *(_attempt(task, one, at) for at, one in enumerate(task.attempts)),
        *(_carried(one, at) for one in task.results for at in range(len(one.carried))),
        *(_result(one) for one in task.results),
        *_decisions(task),
        *(_pin(*one) for one in task.pins),
    ]
    events.sort(key=lambda one: one.order)
    events += (Event(What.PARKED, text) for text in task.parked)
    return (*events, _verdict(task))


def _submitted(task: Task) -> list[Event]:
    if not task.submitted_us:
        return [Event(What.SUBMITTED, "its submission is not known here, only what sites brought")]
    by = f" by {task.submitter}" if task.submitter else ""
    return [Event(What.SUBMITTED, f"its dataset was submitted{by}", task.submitted_us)]


_SAID = {
    ControlWord.SUSPEND: "suspended: nothing new is leased",
    ControlWord.RESUME: "resumed",
    ControlWord.CANCEL: "cancelled: what comes later does not count",
    ControlWord.UNCANCEL: "no longer cancelled",
    ControlWord.RESET: "reset: a new generation begins, earlier results do not count",
    ControlWord.ADOPT: "results of earlier generations count again",
    ControlWord.EDIT: "another document took the dataset's place",
    ControlWord.TOMBSTONE: "its dataset was removed",
}


def _controls(task: Task) -> list[Event]:
    """Return the controls of a task; the newest edit says which sites know of it."""
    edits = [one for _, _, one in task.controls if one.word is ControlWord.EDIT]
    newest = max(edits, key=lambda one: (one.epoch, one.commit), default=None)
    return [
        _control(order, at_us, one, task.heard if one is newest else "")
        for order, at_us, one in task.controls
        if one.covers(task.place)
    ]


def _control(order: Order, at_us: int, one: Control, heard: str) -> Event:
    facts = {"control": one.word.value, "commit": one.commit, "epoch": one.epoch.counter}
    text = f"{_SAID[one.word]} (commit {one.commit})"
    text += f"; {heard}" if heard else ""
    return Event(What.CONTROL, text, at_us, CENTRAL, facts, (order, 0, at_us, 0))


_STATES = {
    "live": "it holds still",
    "complete": "it was answered whole",
    "expired": "its time ran out before it was answered",
    "gone": "the site holds it no more",
    "called-off": "it was called off: every task of it was cancelled, dropped, reset or edited",
}


def _lease(task: Task, one: Lease) -> Event:
    first = min((a.result for a in task.attempts if a.fact.lease.hex() == one.id), default=0)
    fetched = "the site has it" if one.is_fetched else "the site is not known to have it"
    text = (
        f"leased to {one.site}: lease {short(one.id)} of generation {one.generation} in work bundle"
        f" {short(one.work)}, number {one.number}, signed by central's key {short(one.key)};"
        f" {fetched}; {_STATES.get(one.state, one.state)}"
    )
    if one.read:
        more = f" and {len(one.read) - READ_SHOWN} more" if len(one.read) > READ_SHOWN else ""
        text += f"; it reads what {', '.join(one.read[:READ_SHOWN])}{more} made then"
    facts = {
        "lease": one.id,
        "site": one.site,
        "bundle": one.work,
        "number": one.number,
        "state": one.state,
        "generation": one.generation,
        "fetched": one.is_fetched,
        "key": one.key,
        "until_us": one.deadline_us,
        **({"read": list(one.read[:READ_MAX])} if one.read else {}),
    }
    order = (one.order or first, 0, one.made_us, 1)
    return Event(What.LEASED, text, one.made_us, CENTRAL, facts, order)


def _attempt(task: Task, one: Tried, at: int) -> Event:
    fact = one.fact
    salvaged = " (salvaged from the journal of a pilot that was gone)" if one.salvaged else ""
    text = (
        f"attempt {fact.local} of pilot {fact.pilot_run.hex()} on {one.host or 'a node'}"
        f" in {one.batch_id or 'a pilot started by hand'}, lease {short(fact.lease.hex())}:"
        f" {_ended(one)}{salvaged}; {_standing(task, one)}"
    )
    text += f"; it ran by the edited document {short(one.document)}" if one.document else ""
    facts = {
        "attempt": one.name,
        "site": one.site,
        "host": one.host,
        "batch_id": one.batch_id,
        "pilot_run": fact.pilot_run.hex(),
        "lease": fact.lease.hex(),
        "generation": fact.generation,
        "fate": fact.fate.value,
        "exit_code": one.exit_code,
        "signal": one.signal,
        "evidence": one.evidence,
        "salvaged": one.salvaged,
        "outcome": fact.outcome.hex(),
        "wall_ms": fact.wall_ms,
        "memory_peak_mib": fact.memory_peak_mib,
    }
    order = (one.result, 1, one.started_us, at)
    clock = f"node {one.host}" if one.host else "node"
    return Event(What.ATTEMPT, text, one.started_us, clock, facts, order)


def _ended(one: Tried) -> str:
    fate = one.fact.fate
    how = ""
    if fate is Fate.PAYLOAD_ERROR:
        how = f" with exit status {one.exit_code}"
    elif one.signal:
        how = f" by signal {one.signal}"
    why = f" ({one.evidence})" if one.evidence else ""
    used = f" after {one.fact.wall_ms / 1000:.1f} s" if one.fact.wall_ms else ""
    return f"{fate}{how}{used}{why}"


def _standing(task: Task, one: Tried) -> str:
    """Return whether and why an attempt counts."""
    fact = one.fact
    if not task.standing.takes(fact.generation):
        return "of a generation that does not count"
    if fact.spec_hash != task.spec_hash:
        return "of what an earlier document ran: it does not count"
    if fact.fate is not Fate.SUCCESS:
        return "it uses up a try" if counts(fact.fate) else "it uses up no try"
    if not task.outcome:
        return "it does not count yet: what it was made from is not what its parents have now"
    if fact.outcome != task.outcome:
        return "a spare: another success counts"
    return "it counts" if one is _canonical(task) else "a spare: the same files once more"


def _canonical(task: Task) -> Tried | None:
    """Return the first attempt that made what counts."""
    return next(
        (
            one
            for one in task.attempts
            if one.fact.outcome == task.outcome
            and task.standing.takes(one.fact.generation)
            and one.fact.spec_hash == task.spec_hash
        ),
        None,
    )


def _carried(one: Result, at: int) -> Event:
    hop = one.carried[at]
    text = f"{hop.hop} on {hop.host or 'a machine'} says it took result bundle {short(one.id)}"
    text += f" from {hop.source}" if hop.source else ""
    facts = {"bundle": one.id, "hop": hop.hop, "host": hop.host, "from": hop.source}
    order = (one.order, 2, one.made_us, at - len(one.carried))  # before it came here
    return Event(What.CARRIED, text, hop.took_us, f"hop {hop.hop}", facts, order)


def _result(one: Result) -> Event:
    safe = "it is safe" if one.safe else "it is not safe yet"
    text = (
        f"{one.site} brought result bundle {short(one.id)}, number {one.number}, signed by its key"
        f" {short(one.key)}: merged; {safe}"
    )
    facts = {"bundle": one.id, "site": one.site, "number": one.number, "safe": one.safe}
    facts |= {"key": one.key}
    order = (one.order, 2, one.made_us, 0)
    return Event(What.RESULT, text, one.made_us, f"site {one.site}", facts, order)


def _decisions(task: Task) -> list[Event]:
    """Return what the retry rules made of each bundle's failures, given those before it."""
    found: list[Event] = []
    rules, most = task.step.retry, task.step.failures_max
    known, facts, asked = NO_HISTORY, list[AttemptFact](), task.step.request
    for order in sorted({one.result for one in task.attempts}):
        facts += (one.fact for one in task.attempts if one.result == order)
        now = retry.history(facts, task.standing.takes, task.spec_hash)
        if now == known:
            continue
        known = now
        word = retry.exhausted(known, rules, most)
        wanted = retry.request_for(task.step.request, known, rules)
        text = f"it failed {known.count()} of {most} times"
        if known.losses:
            text += f", {len(known.lost_on)} pilots were lost under it ({rules.pilots_max} may be)"
        text += f": not tried again ({word.value})" if word else ": it may be tried again"
        if wanted != asked:
            text += f", with {_grown(asked, wanted)}"
        asked = wanted
        done = {"failures": known.count(), "losses": known.losses, "exhausted": word.value}
        found.append(Event(What.DECISION, text, 0, CENTRAL, done, (order, 3, 0, 0)))
    return found


def _grown(before: Request, after: Request) -> str:
    pairs = (("memory_mib", "MiB"), ("walltime_ms", "ms"), ("disk_bytes", "bytes of disk"))
    return ", ".join(
        f"{getattr(after, name)} {unit} instead of {getattr(before, name)}"
        for name, unit in pairs
        if getattr(after, name) != getattr(before, name)
    )


def _pin(order: Order, at_us: int, one: Pin) -> Event:
    text = f"its success is built upon from commit {one.commit} on: it will not move any more"
    facts = {"attempt": one.attempt, "outcome": one.outcome.hex(), "commit": one.commit}
    return Event(What.PIN, text, at_us, CENTRAL, facts, (order, 1, at_us, 2))


def _verdict(task: Task) -> Event:
    successes = sum(one.fact.fate is Fate.SUCCESS for one in task.attempts)
    text = f"it is {task.verdict.value}; {len(task.attempts)} attempts, {successes} successful"
    text += "; it waits before it may start again" if task.due_us else ""
    facts = {"verdict": task.verdict.value, "outcome": task.outcome.hex(), "due_us": task.due_us}
    return Event(What.VERDICT, text, 0, CENTRAL, facts)


def short(name: str) -> str:
    """Return the beginning of an id or key, enough to find it by."""
    return name[:KEY_SHOWN] or "unknown"
