"""How tasks are watched, decided without processes: series, lending, limits, what files tell."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundle.look.schema import SCHEMA
from bundle.look.tables import chunk_rows
from bundle.records import series as series_of_task
from bundle.records import telemetry
from bundle.records.series import COLUMNS, SERIES_BYTES_MAX, Point
from bundle.shape import WrongShape
from pilot.core.fate import Stop
from pilot.watching import files, lending, limits
from pilot.watching.free import FreeMemory
from pilot.watching.gpus import parse_line
from pilot.watching.lending import MIB, Free, Use
from pilot.watching.limits import Limits
from pilot.watching.series import Series

GIB = 1 << 30
numbers = st.one_of(st.integers(0, 200), st.integers(0, 2**63 - 1))
looks = st.lists(
    st.tuples(st.integers(1, 5000), st.lists(numbers, min_size=8, max_size=8)), max_size=400
)


def points_of(rows: list[tuple[int, list[int]]]) -> list[Point]:
    at_ms, found = 0, []
    for pause_ms, row in rows:
        at_ms += pause_ms
        found.append(Point(at_ms, *row))
    return found


@given(looks, st.integers(128, 2048))
def test_every_peak_survives_within_the_bytes_whatever_the_length(
    rows: list[tuple[int, list[int]]], bytes_max: int
) -> None:
    points = points_of(rows)
    series = Series()
    for point in points:
        series.add(point)
    raw = series.encoded(bytes_max)
    assert len(raw) <= bytes_max
    kept = series_of_task.decode(raw)
    for name in COLUMNS[1:]:
        highest = max((getattr(point, name) for point in points), default=0)
        assert max((getattr(point, name) for point in kept), default=0) == highest
    times = [point.at_ms for point in kept]
    assert times == sorted(set(times))
    assert times[-1:] == [point.at_ms for point in points[-1:]]


def test_a_day_of_looks_fits_and_the_spike_is_where_it_was() -> None:
    series = Series()
    for look in range(2 * 86_400):
        spike = 9_000 if look == 100_000 else 0
        series.add(Point(500 * look, 700 + look % 13 + spike, 990, 12, 80, look // 1000, 3))
    raw = series.encoded()
    kept = series_of_task.decode(raw)
    assert len(raw) <= SERIES_BYTES_MAX and len(kept) >= 24
    highest = max(kept, key=lambda point: point.memory_mib)
    assert highest.memory_mib > 9_000
    assert 0 <= highest.at_ms - 50_000_000 <= 86_400_000 // 24


@given(looks)
def test_a_series_is_read_as_it_was_written(rows: list[tuple[int, list[int]]]) -> None:
    points = tuple(points_of(rows))
    assert series_of_task.decode(series_of_task.encode(points)) == points
    raw = telemetry.encode((), {7: series_of_task.encode(points)})
    assert telemetry.decode_series(raw) == {7: points} and telemetry.decode(raw) == ()


@given(st.binary(max_size=60))
def test_any_bytes_are_a_series_or_refused(raw: bytes) -> None:
    try:
        found = series_of_task.decode(raw)
    except WrongShape:
        return
    assert all(isinstance(point, Point) for point in found)


def test_telemetry_without_series_has_the_bytes_it_always_had() -> None:
    sample = telemetry.Sample(1, 2, 3, 4, 5)
    assert b"series" not in telemetry.encode((sample,))
    assert telemetry.decode_series(telemetry.encode((sample,))) == {}


def test_a_series_is_a_table_of_a_query() -> None:
    points = (Point(20, 30, 900), Point(600, 40, disk_mib=2))
    raw = telemetry.encode((), {7: series_of_task.encode(points)})
    assert list(chunk_rows(1, "telemetry", "segment", raw)) == [
        ("series", (1, "segment", 7, 20, 30, 900, 0, 0, 0, 0, 0, 0)),
        ("series", (1, "segment", 7, 600, 40, 0, 0, 0, 2, 0, 0, 0)),
    ]
    assert len(SCHEMA["series"].columns) == 12


def test_only_a_file_cut_at_the_limit_is_full(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "input").write_bytes(bytes(5000))
    assert files.full_file_bytes(4096, 100, str(tmp_path)) == 0
    assert files.full_file_bytes(4096, 4096, str(tmp_path)) == 4096
    (tmp_path / "sub" / "output").write_bytes(bytes(4096))
    assert files.full_file_bytes(4096, 100, str(tmp_path)) == 4096


def test_a_disk_takes_no_more_where_not_even_a_small_file_can_be_made(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    assert files.full_disk(str(tmp_path / "folder")) == ""
    assert not list((tmp_path / "folder").iterdir())
    (tmp_path / "folder" / ".pulk-room").symlink_to(tmp_path / "elsewhere")
    assert files.full_disk(str(tmp_path / "folder")) == ""
    assert not (tmp_path / "elsewhere").exists()


def use(local: int, used_mib: int, asked_mib: int) -> Use:
    return Use(local, used_mib * MIB, used_mib * MIB, asked_mib * MIB)


def test_a_task_may_use_what_the_others_leave() -> None:
    borrower, lender = use(1, 1500, 1000), use(2, 100, 1000)
    assert lending.beyond_what_is_lent([borrower, lender]) == []
    [stopped] = lending.beyond_what_is_lent([borrower, use(2, 900, 1000)])
    assert stopped.local == 1
    words = "used 1500 MiB (peak 1500 MiB, others lend 100 MiB), requested 1000 MiB"
    assert stopped.evidence == words
    [alone] = lending.beyond_what_is_lent([borrower])
    assert alone.local == 1 and "others lend 0 MiB" in alone.evidence


def test_the_worst_relative_to_its_request_goes_first_and_no_more_than_needed() -> None:
    uses = [use(1, 1400, 1000), use(2, 900, 300), use(3, 100, 600), use(4, 5000, 8000)]
    assert lending.beyond_what_is_lent(uses) == []
    uses[3] = use(4, 8000, 8000)
    [stopped] = lending.beyond_what_is_lent(uses)
    assert stopped.local == 2


@given(st.lists(st.tuples(st.integers(0, 4000), st.integers(1, 4000)), max_size=12))
def test_nobody_within_its_request_is_stopped_for_what_others_use(
    rows: list[tuple[int, int]],
) -> None:
    uses = [use(number, *row) for number, row in enumerate(rows)]
    stopped = {verdict.local for verdict in lending.beyond_what_is_lent(uses)}
    assert all(one.over for one in uses if one.local in stopped)
    left = [one for one in uses if one.local not in stopped]
    unused = sum(max(0, one.asked - one.used) for one in left)
    assert sum(one.over for one in left) <= unused
    verdict = lending.when_tight(uses, Free(0), 512 * MIB)
    if any(one.over for one in uses):
        assert verdict is not None and verdict.at_fault
        assert next(one for one in uses if one.local == verdict.local).over


def test_a_tight_node_stops_the_offender_and_an_innocent_task_only_at_the_last() -> None:
    kept = lending.reserve(64 * GIB)
    uses = [use(1, 30_000, 31_000), use(2, 3000, 1000)]
    assert lending.when_tight(uses, Free(kept + 1), kept) is None
    verdict = lending.when_tight(uses, Free(kept - 1), kept)
    assert verdict is not None and verdict.local == 2 and verdict.at_fault
    assert f"the node has {(kept - 1) // MIB} MiB left" in verdict.evidence
    assert lending.when_tight(uses[:1], Free(kept - 1), kept) is None
    last = lending.when_tight(uses[:1], Free(kept // 2 - 1), kept)
    assert last is not None and not last.at_fault
    assert lending.when_tight([], Free(0), kept) is None


def test_a_node_that_waits_for_memory_is_tight_sooner() -> None:
    kept = lending.reserve(8 * GIB)
    assert not lending.is_tight(Free(2 * kept - 1), kept)
    assert lending.is_tight(Free(2 * kept - 1, 35.0), kept)


def test_the_reserve_is_never_most_of_a_small_node() -> None:
    assert lending.reserve(200 * MIB) == 50 * MIB
    assert lending.reserve(24 * GIB) == 768 * MIB
    assert lending.reserve(2048 * GIB) == 4 * GIB


def test_looks_become_rare_unless_memory_is_about_to_pass() -> None:
    pauses = [limits.FIRST_PAUSE_S]
    for _ in range(8):
        pauses.append(limits.pause_s(pauses[-1], 10, 0.0, 1000))
    assert pauses == sorted(pauses) and pauses[-1] == limits.PAUSE_S_MAX
    assert limits.pause_s(0.5, 800, 1000, 1000) == pytest.approx(0.1)
    assert limits.pause_s(0.5, 1100, 1000, 1000) == limits.PAUSE_S_MIN
    assert limits.pause_s(0.5, 100, 100_000, 1000) == limits.PAUSE_S_MAX


def test_limits_name_themselves() -> None:
    asked = Limits(memory_bytes=MIB, disk_bytes=10 * MIB, processes=3)
    assert limits.processes_passed(asked, 3) == (Stop.NONE, "")
    stop, evidence = limits.processes_passed(asked, 4)
    assert stop is Stop.PROCESSES and "4 processes" in evidence and "at most 3" in evidence
    assert limits.disk_passed(asked, 11 * MIB) == (Stop.NONE, "")
    stop, evidence = limits.disk_passed(asked, 12 * MIB)
    assert stop is Stop.DISK and f"requested {10 * MIB}" in evidence


V2 = ("memory.max", "memory.current", "anon 1\nfile 2\ninactive_file 300\nactive_file 100\n")
V1 = (
    "memory.limit_in_bytes",
    "memory.usage_in_bytes",
    "cache 1\ninactive_file 9\ntotal_inactive_file 300\ntotal_active_file 100\n",
)


@pytest.mark.parametrize("names", [V2, V1])
def test_what_a_control_group_leaves_is_available_with_its_file_cache(
    tmp_path: Path, names: tuple[str, str, str]
) -> None:
    for name, text in zip(
        (*names[:2], "memory.stat"), ("10000\n", "7000\n", names[2]), strict=True
    ):
        (tmp_path / name).write_text(text)
    assert FreeMemory((tmp_path,)).look().available == 10000 - (7000 - 400)


def test_a_group_without_limit_leaves_what_the_node_has(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("max\n")
    found = FreeMemory((tmp_path, tmp_path / "missing")).look().available
    assert 0 < found < 1 << 50


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (b"GPU-5fd4f087-86f3, 37, 1024", ("GPU-5fd4f087-86f3", (370, 1024))),
        (b"MIG-1c0a, [N/A], 20", ("MIG-1c0a", (0, 20))),
        (b"uuid, utilization.gpu [%], memory.used [MiB]", None),
        (b"No devices were found", None),
        (b"", None),
    ],
)
def test_a_line_of_nvidia_smi_is_read(line: bytes, found: object) -> None:
    assert parse_line(line) == found
