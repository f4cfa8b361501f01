"""Sums and percentiles by groups: over all datasets from counters, over one from its attempts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from bundle.fates import FATES
from central.core.allowance import HOUR_MS
from central.core.facts import Verdict
from central.core.segment_columns import SegmentColumns
from central.state.recall import Recalled
from central.store.rows import DatasetRow, StepRow
from central.workings import Workings

SEGMENTS_AT_ONCE = 32
ATTEMPTS_MAX = 2_000_000  # that are looked at for one answer
MEASURES = ("wall_ms", "cpu_ms", "memory_peak_mib")
GROUPED = ("step", "fate", "site", "node", "day", "exit_code", "signal", "software")
DAY_US = 86_400_000_000
_Numbers = npt.NDArray[np.int64]


def of_datasets(
    rows: Iterable[tuple[DatasetRow, list[StepRow], dict[str, Any]]], by: Sequence[str]
) -> list[dict[str, Any]]:
    """Return sums over datasets, grouped by some of what is said of each.

    Args:
        rows: each dataset with the counters of its steps and with what it can be grouped by.
        by: names of the latter, and `step`, its index.
    """
    groups: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row, steps, about in rows:
        if "step" in by:
            for one in steps:
                into = _group(groups, by, about | {"step": one.step})
                _add(into, one)
        else:
            into = _group(groups, by, about)
            into["datasets"] += 1
            into["tasks"] += row.tasks
            for one in steps:
                _add(into, one)
    return [_finished(one) for _, one in sorted(groups.items(), key=lambda two: str(two[0]))]


def of_attempts(
    workings: Workings, row: DatasetRow, by: Sequence[str], percentiles: Sequence[int]
) -> tuple[list[dict[str, Any]], bool]:
    """Return counts, hours, efficiency and percentiles of a dataset's attempts by groups.

    Beside it whether all attempts were looked at: at most ATTEMPTS_MAX are.
    """
    measured: dict[tuple[Any, ...], list[_Numbers]] = {}
    at = seen = 0
    while seen < ATTEMPTS_MAX:
        rows = workings.store.segments.after(row.no, at, SEGMENTS_AT_ONCE)
        if not rows:
            break
        for one in workings.recall.segments(rows).values():
            seen += one.columns.count
            for key, numbers in _split(one, by):
                measured.setdefault(key, []).append(numbers)
        at = rows[-1].no
        workings.recall.trim()
    complete = seen < ATTEMPTS_MAX
    names = [one.name for one in workings.dag(row.digest).dataset.steps]
    found = []
    for key, parts in sorted(measured.items(), key=lambda two: str(two[0])):
        about = dict(zip(by, key, strict=True))
        if "step" in about:
            about["name"] = names[about["step"]]
        found.append(about | _measures(np.concatenate(parts, axis=1), percentiles))
    return found, complete


def _split(one: Recalled, by: Sequence[str]) -> Iterable[tuple[tuple[Any, ...], _Numbers]]:
    """Yield the measures of a segment's attempts by what they are grouped by."""
    columns = one.columns
    if not columns.count:
        return
    numbers = np.stack([np.asarray(columns[name], np.int64) for name in MEASURES])
    of_segment = {"site": one.lease.site, "node": columns.header.host.name}
    differing = [name for name in by if name not in of_segment]
    if not differing:
        yield tuple(of_segment[name] for name in by), numbers
        return
    codes = np.stack([_codes(columns, name) for name in differing])
    groups, which = np.unique(codes, axis=1, return_inverse=True)
    which = which.reshape(-1)  # numpy 2.0 gave it another shape
    for number, code in enumerate(groups.T.tolist()):
        parts: dict[str, Any] = dict(of_segment)
        parts |= {
            name: _meant(columns, name, value) for name, value in zip(differing, code, strict=True)
        }
        yield tuple(parts[name] for name in by), numbers[:, which == number]


def _codes(columns: SegmentColumns, name: str) -> _Numbers:
    """Return for each attempt a number that stands for what it is grouped by."""
    if name == "day":
        return np.asarray(columns["started_us"], np.int64) // DAY_US
    return np.asarray(columns[name], np.int64)


def _meant(columns: SegmentColumns, name: str, code: int) -> int | str:
    """Return what such a number stands for."""
    match name:
        case "fate":
            return FATES[code].value
        case "software":
            return columns.texts[code]
        case "day":
            return datetime.fromtimestamp(code * DAY_US // 1_000_000, UTC).date().isoformat()
    return code


def _measures(numbers: _Numbers, percentiles: Sequence[int]) -> dict[str, Any]:
    wall, cpu, _ = (int(one) for one in numbers.sum(axis=1))
    about: dict[str, Any] = {
        "attempts": numbers.shape[1],
        "wall_hours": round(wall / HOUR_MS, 6),
        "cpu_hours": round(cpu / HOUR_MS, 6),
        "efficiency": _share(cpu, wall),
    }
    for name, values in zip(MEASURES, numbers, strict=True):
        of: dict[str, Any] = {"mean": round(float(values.mean()), 1), "max": int(values.max())}
        levels = np.percentile(values, percentiles, method="inverted_cdf") if percentiles else ()
        of |= {f"p{p}": int(level) for p, level in zip(percentiles, levels, strict=True)}
        about[name] = of
    return about


def _group(
    groups: dict[tuple[Any, ...], dict[str, Any]], by: Sequence[str], about: dict[str, Any]
) -> dict[str, Any]:
    key = tuple(about[name] for name in by)
    if key not in groups:
        groups[key] = dict(zip(by, key, strict=True)) | dict.fromkeys(
            ("datasets", "tasks", *(one.value for one in Verdict), "attempts"), 0
        )
        groups[key] |= dict.fromkeys(("wall_ms", "cpu_ms", "read_bytes", "written_bytes"), 0)
        groups[key] |= {"memory_peak_mib": 0}
    return groups[key]


def _add(into: dict[str, Any], one: StepRow) -> None:
    for word, count in zip(Verdict, one.verdicts, strict=True):
        into[word.value] += count
    for name in ("attempts", "wall_ms", "cpu_ms", "read_bytes", "written_bytes"):
        into[name] += getattr(one.usage, name)
    into["memory_peak_mib"] = max(into["memory_peak_mib"], one.usage.memory_peak_mib)


def _finished(one: dict[str, Any]) -> dict[str, Any]:
    wall, cpu = one.pop("wall_ms"), one.pop("cpu_ms")
    one["wall_hours"], one["cpu_hours"] = round(wall / HOUR_MS, 6), round(cpu / HOUR_MS, 6)
    one["efficiency"] = _share(cpu, wall)
    return one


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None
