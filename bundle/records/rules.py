"""Retry rules of a step: frozen values that a person writes, a bundle carries and both ends obey.

They stand in the dataset's document and nowhere else, so that a verdict stays a function of facts;
what a step does not say is `DEFAULT`, which belongs to the format and never changes. Nothing here
decides: `bundle.retry` does.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from bundle import shape
from bundle.fates import FATES, Fate
from bundle.ids import PilotRun

CAP_MAX = 1000
FACTOR_MILLI_MAX = 100_000  # a hundredfold
DELAY_MS_MAX = 30 * 24 * 3_600_000
AMOUNT_MAX = 2**50  # of any resource: 35,000 years, 1 PB; keeps every product inside 63 bits
USED_MAX = 2**44  # what any attempt is believed to have used
TIME_US_MAX = 2**62  # and the latest that it ended


@dataclass(frozen=True, slots=True)
class RetryRules:
    """How often, when and with what a task of a step is tried again.

    A cap of 0 leaves the step's `failures_max` as the only one. A task backs off for
    `backoff_ms`, times `backoff_milli / 1000` for each further failure, at most `backoff_ms_max`,
    of which up to `jitter_milli / 1000` is taken off by the task's own name. An exhausted resource
    grows by its factor (1000: never), at most to its ceiling (0: the site's maximum alone).
    """

    payload_max: int = 0  # payload-error and signal
    resources_max: int = 0  # oom, time-limit, disk-limit
    network_max: int = 0  # network-denied
    staging_max: int = 0  # stage-in, stage-out
    pilots_max: int = 3  # pilots that a task may take down, see `retry.is_poison`; 0: any
    backoff_ms: int = 1_000
    backoff_milli: int = 2_000
    backoff_ms_max: int = 3_600_000
    jitter_milli: int = 250
    memory_milli: int = 1_500
    walltime_milli: int = 1_500
    disk_milli: int = 1_500
    memory_mib_max: int = 0
    walltime_ms_max: int = 0
    disk_bytes_max: int = 0


DEFAULT = RetryRules()
_BOUNDS = {
    **dict.fromkeys(("payload_max", "resources_max", "network_max"), (0, CAP_MAX)),
    **dict.fromkeys(("staging_max", "pilots_max"), (0, CAP_MAX)),
    **dict.fromkeys(("backoff_ms", "backoff_ms_max"), (0, DELAY_MS_MAX)),
    "backoff_milli": (1000, FACTOR_MILLI_MAX),
    "jitter_milli": (0, 1000),
    **dict.fromkeys(("memory_milli", "walltime_milli", "disk_milli"), (1000, FACTOR_MILLI_MAX)),
    **dict.fromkeys(("memory_mib_max", "walltime_ms_max", "disk_bytes_max"), (0, AMOUNT_MAX)),
}


@dataclass(frozen=True, slots=True)
class Maximum:
    """The most that one task can get somewhere (a site, a node); 0 where that is not known."""

    memory_mib: int = 0
    walltime_ms: int = 0
    disk_bytes: int = 0


UNKNOWN = Maximum()


@dataclass(frozen=True, slots=True)
class History:
    """What counts of a task's failed attempts of one generation; a sum that knows no order.

    `failures` holds the number of each fate that counts, ascending by the fate's place on the
    wire. The peaks are those of attempts that ran out of that very resource, else 0. `ended_us` is
    when the last failure that backs off ended, by its node's clock. `lost_on` are the pilots that
    died, or whose slot died, under the task; `losses` is how often that happened.
    """

    failures: tuple[tuple[Fate, int], ...] = ()
    memory_peak_mib: int = 0
    wall_peak_ms: int = 0
    disk_peak_bytes: int = 0
    ended_us: int = 0
    lost_on: frozenset[PilotRun] = frozenset()
    losses: int = 0

    def count(self, *fates: Fate) -> int:
        """Return how many failures had one of these fates; of all without any given."""
        return sum(number for fate, number in self.failures if not fates or fate in fates)


NO_HISTORY = History()


def problem(rules: RetryRules) -> str:
    """Return which rule is out of its bounds, or nothing."""
    for name, (least, most) in _BOUNDS.items():
        value = getattr(rules, name)
        if not least <= value <= most:
            return f"{name} is {value}, allowed is {least} to {most}"
    return ""


def rules_to_wire(rules: RetryRules) -> dict[str, int]:
    """Return the rules that differ from `DEFAULT`, by name."""
    names = [one.name for one in fields(RetryRules)]
    changed = ((name, getattr(rules, name)) for name in names)
    return {name: value for name, value in changed if value != getattr(DEFAULT, name)}


def rules_from_wire(value: shape.Reader) -> RetryRules:
    """Read rules. One that is unknown, out of bounds or the default is refused. Raises WrongShape.

    A rule that a reader does not know could not be kept; a default has no place on the wire, so
    that equal rules have equal bytes.
    """
    names = value.fields()
    if not names <= _BOUNDS.keys():
        found = ", ".join(sorted(names - _BOUNDS.keys()))[:80]
        raise shape.WrongShape(where=value.where, expected="the known retry rules", found=found)
    rules = RetryRules(**{name: value.count(name) for name in names})
    if rules_to_wire(rules).keys() != names:
        expected = "only what differs from the default"
        raise shape.WrongShape(where=value.where, expected=expected, found="a default")
    if found := problem(rules):
        raise shape.WrongShape(where=value.where, expected="rules in their bounds", found=found)
    return rules


def history_to_wire(history: History) -> list[Any]:
    """Return `[failures, memory peak, wall peak, disk peak, ended_us, lost_on, losses]`.

    `failures` is flat: place of a fate, number, place, number; `lost_on` is sorted.
    """
    failures = [number for fate, many in history.failures for number in (FATES.index(fate), many)]
    return [
        failures,
        history.memory_peak_mib,
        history.wall_peak_ms,
        history.disk_peak_bytes,
        history.ended_us,
        sorted(history.lost_on),
        history.losses,
    ]


def history_from_wire(row: shape.Reader, first: int = 0) -> History:
    """Read a history whose fields begin at a place of an array. Raises WrongShape."""
    flat = row.counts(first)
    pairs = list(zip(flat[::2], flat[1::2], strict=False))  # an odd one is refused below
    places = [place for place, _ in pairs]
    is_sound = len(flat) % 2 == 0 and places == sorted(set(places)) and 0 not in flat[1::2]
    if not is_sound or any(place >= len(FATES) for place in places):
        expected = "numbers of failures by fate, ascending"
        raise shape.WrongShape(where=row.where, expected=expected, found=str(flat)[:80])
    runs = shape.Reader(row.rows(first + 5), f"{row.where}[{first + 5}]")
    return History(
        failures=tuple((FATES[place], many) for place, many in pairs),
        memory_peak_mib=row.count(first + 1),
        wall_peak_ms=row.count(first + 2),
        disk_peak_bytes=row.count(first + 3),
        ended_us=row.count(first + 4),
        lost_on=frozenset(PilotRun(runs.bytes(at, 8)) for at in range(len(runs.value))),
        losses=row.count(first + 6),
    )
