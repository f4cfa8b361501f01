"""HTCondor's job event logs: what happened to jobs, in the order in which it was written. Pure.

An event is a line with its number, the job and the time, more lines, and a line of three dots. The
time has a year since version 8.9, none before; its form is kept, for it has no time zone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from site_adapters.errors import OutputRefused
from site_adapters.htcondor import codes
from site_adapters.htcondor.jobs import Job

SUBMIT, EXECUTE, EVICTED, TERMINATED, ABORTED, HELD, RELEASED = 0, 1, 4, 5, 9, 12, 13
_HEAD = re.compile(
    r"(?P<number>\d{3}) \((?P<cluster>-?\d+)\.(?P<proc>-?\d+)\.(?P<sub>-?\d+)\) "
    r"(?P<time>(?:\d{4}-\d\d-\d\d[ T]|\d\d/\d\d(?:/\d\d)? )\d\d:\d\d:\d\d(?:\.\d+)?"
    r"(?:Z|[+-]\d\d:?\d\d)?)(?: (?P<text>.*))?"
)
_EXIT = re.compile(r"\(1\) Normal termination \(return value (-?\d+)\)")
_SIGNAL = re.compile(r"\(0\) Abnormal termination \(signal (-?\d+)\)")
_HOLD = re.compile(r"Code (\d+) Subcode (-?\d+)")


@dataclass(frozen=True, slots=True)
class Event:
    """One event. `number` is HTCondor's kind of event; one never seen is kept like any other."""

    number: int
    cluster: int
    proc: int
    subproc: int
    time: str
    text: str
    lines: tuple[str, ...] = ()


def events(raw: bytes) -> Iterator[Event]:
    """Yield the events of a log; the last one, where it is still being written, is left out.

    Raises OutputRefused at the first line that can't begin an event.
    """
    begun: list[str] = []
    text = raw.decode(errors="replace").replace("\r\n", "\n")
    for line in text.split("\n"):
        if line.rstrip() == "...":
            if begun:
                yield _event(begun)
            begun = []
        elif begun or line.strip():
            begun.append(line)


def _event(lines: list[str]) -> Event:
    head = _HEAD.fullmatch(lines[0].rstrip())
    if head is None:
        found = repr(lines[0][:60])
        raise OutputRefused(program="job event log", found=found, expected="the head of an event")
    return Event(
        number=int(head["number"]),
        cluster=int(head["cluster"]),
        proc=int(head["proc"]),
        subproc=int(head["sub"]),
        time=head["time"],
        text=(head["text"] or "").strip(),
        lines=tuple(line.strip() for line in lines[1:] if line.strip()),
    )


def ended(found: Iterable[Event]) -> dict[tuple[int, int], Job]:
    """Return the jobs that a log says are over, as the history would tell them."""
    over: dict[tuple[int, int], Job] = {}
    starts: dict[tuple[int, int], int] = {}
    for one in found:
        at = (one.cluster, one.proc)
        if one.number == EXECUTE:
            starts[at] = starts.get(at, 0) + 1
        elif one.number == TERMINATED:
            over[at] = _terminated(one, starts.get(at, 0))
        elif one.number == ABORTED:
            reason = one.lines[0] if one.lines else ""
            over[at] = Job(*at, codes.REMOVED, "", starts.get(at, 0), remove_reason=reason)
    return over


def _terminated(one: Event, starts: int) -> Job:
    said = " ".join(one.lines)
    normal, signalled = _EXIT.search(said), _SIGNAL.search(said)
    return Job(
        *(one.cluster, one.proc, codes.COMPLETED, "", starts),
        exit_code=int(normal[1]) if normal else None,
        exit_signal=int(signalled[1]) if signalled else None,
    )


def hold_of(one: Event) -> tuple[int, str]:
    """Return the code and the reason of a hold; 0 and nothing where none is told."""
    codes_of = [_HOLD.fullmatch(line) for line in one.lines]
    code = next((int(found[1]) for found in codes_of if found), 0)
    reason = next((line for line in one.lines if not _HOLD.fullmatch(line)), "")
    return code, reason
