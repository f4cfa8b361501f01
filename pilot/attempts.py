"""Attempts in flight, and the records made of them when they end."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from bundle.dataset.spec import Step
from bundle.fates import Fate
from bundle.ids import AttemptKey, PilotRun, Task
from bundle.intervals import IntervalSet
from bundle.records.attempt import Attempt, Usage
from bundle.spool.records import Begun
from pilot.claims import Claimed
from pilot.core.agenda import Agenda, Start
from pilot.core.asides import recorded
from pilot.core.fate import Stop, judge, seen_from_wire
from pilot.core.provenance import Provenance
from pilot.recorder import GROUP_ATTEMPTS_MAX, Group

GROUP_S = 0.2
GROUP_BYTES_MAX = 256 << 10
RECORD_BYTES = 400  # of an attempt without log, parents and outputs: an estimate


@dataclass(slots=True)
class OpenShard:
    """A shard that this pilot works at; `running` counts its attempts in slots."""

    key: int
    claimed: Claimed
    agenda: Agenda
    running: int = 0
    is_gone: bool = False  # its dataset was deleted, or its lease called off
    off: Mapping[int, IntervalSet] | None = None  # what of it was called off, jobs by step

    def may_start(self, now_us: int) -> bool:
        """Return whether the lease still allows starting."""
        return not self.is_gone and not 0 < self.claimed.file.start_before_us <= now_us


@dataclass(frozen=True, slots=True)
class Running:
    """An attempt that a slot was asked for."""

    shard: OpenShard
    start: Start
    local: int
    asked_us: int
    asked_mono_us: int
    step: Step  # as it was when it was asked for
    document: bytes = b""  # that it runs by, where it is not the lease's

    @property
    def kind(self) -> tuple[str, int]:
        """Dataset and step: tasks of one kind take about the same time."""
        return self.shard.claimed.lease.dataset, self.start.place[0]

    def key(self, pilot_run: PilotRun) -> AttemptKey:
        """Return the attempt's key."""
        lease = self.shard.claimed.lease
        step, job = self.start.place
        task = Task(lease.dataset, job, step)
        return AttemptKey(task, self.start.generation, lease.lease, pilot_run, self.local)


def asked(shard: OpenShard, start: Start, local: int) -> Running:
    """Make an attempt that starts now."""
    claimed, number = shard.claimed, start.place[0]
    now = (time.time_ns() // 1000, time.monotonic_ns() // 1000)
    document = claimed.document_of(number) if claimed.edited else b""
    return Running(shard, start, local, *now, claimed.dataset.steps[number], document)


def begun(running: Running, slot: int) -> Begun:
    """Return the record that an attempt began."""
    step, job = running.start.place
    generation = running.start.generation
    at = (running.asked_us, running.asked_mono_us)
    return Begun(running.local, job, step, generation, slot, *at)


def ended(
    running: Running,
    reply: Mapping[str, Any],
    slot: int,
    provenance: Provenance,
    *,
    pilot_told: Stop = Stop.NONE,
) -> Attempt:
    """Return the record of an attempt that a slot reported."""
    seen = seen_from_wire(reply)
    if pilot_told is not Stop.NONE:  # told apart: a copy costs more than the rest of this
        seen = replace(seen, pilot_told=pilot_told)
    fate, evidence = judge(seen)
    outputs = tuple((file, size) for file, size in reply.get("outputs", ()))
    return Attempt(
        job=running.start.place[1],
        step=running.start.place[0],
        generation=running.start.generation,
        local=running.local,
        fate=fate,
        exit_code=reply["exit_code"],
        signal=reply["signal"],
        started_us=reply.get("started_us", running.asked_us),
        started_mono_us=reply.get("started_mono_us", running.asked_mono_us),
        ended_mono_us=reply.get("ended_mono_us") or time.monotonic_ns() // 1000,
        slot=slot,
        usage=Usage(wall_ms=reply.get("wall_ms", 0), **reply.get("usage", {})),
        consumed=running.start.consumed,
        outputs=outputs if fate is Fate.SUCCESS else (),
        software=recorded(
            provenance.words(reply.get("software", ""), reply.get("container", "")),
            reply,
            running.document,
        ),
        evidence=evidence,
    )


def lost(running: Running, how: str, slot: int) -> Attempt:
    """Return the record of an attempt whose slot died under it."""
    return Attempt(
        job=running.start.place[1],
        step=running.start.place[0],
        generation=running.start.generation,
        local=running.local,
        fate=Fate.NODE_FAILURE,
        exit_code=-1,
        signal=0,
        started_us=running.asked_us,
        started_mono_us=running.asked_mono_us,
        ended_mono_us=time.monotonic_ns() // 1000,
        slot=slot,
        consumed=running.start.consumed,
        software=recorded("", {}, running.document),
        evidence=f"the slot's process ended under the task ({how})",
    )


@dataclass(slots=True)
class Gathering:
    """The group of records that is being gathered for the recorder."""

    group: Group = field(default_factory=Group)
    size: int = 0  # in bytes, about
    since_s: float = 0.0

    def add(self, key: int, attempt: Attempt, text: bytes, series: bytes) -> None:
        """Add an attempt of a shard, with its log and its time series."""
        if not self.group.attempts:
            self.since_s = time.monotonic()
        self.group.attempts.append((key, attempt, text))
        if series:
            self.group.series[attempt.local] = series
        self.size += RECORD_BYTES + len(text) + len(series) + 32 * len(attempt.consumed)

    def is_due(self, now_s: float) -> bool:
        """Return whether the group is large or old enough."""
        return bool(self.group.attempts) and (
            self.size >= GROUP_BYTES_MAX
            or now_s - self.since_s >= GROUP_S
            or len(self.group.attempts) >= GROUP_ATTEMPTS_MAX
        )
