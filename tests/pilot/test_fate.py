"""A fate follows from what the slot saw, with evidence for everything but success."""

from __future__ import annotations

import pytest

from bundle.fates import Fate
from pilot.core.fate import EVIDENCE_CHARS_MAX, Seen, Stop, judge, seen_from_wire

CASES = [
    (Seen(0, 0), Fate.SUCCESS, ""),
    (Seen(0, 0, no_routes=3), Fate.SUCCESS, ""),
    (Seen(3, 0, last_line="no such table"), Fate.PAYLOAD_ERROR, "exit 3: no such table"),
    (Seen(-1, 11), Fate.SIGNAL, "signal 11"),
    (Seen(1, 0, no_routes=2), Fate.NETWORK_DENIED, "no route"),
    (Seen(-1, 6, no_routes=1), Fate.NETWORK_DENIED, "signal 6"),
    (Seen(-1, 25), Fate.DISK_LIMIT, "disk request"),
    (Seen(-1, 9, kernel_oom=True), Fate.OOM, "kernel"),
    (Seen(-1, 15, pilot_told=Stop.PREEMPTED), Fate.PREEMPTED, "the pilot was told to end"),
    (Seen(-1, 9, pilot_told=Stop.PREEMPTED), Fate.PREEMPTED, "signal 9"),
    (Seen(-1, 15, pilot_told=Stop.ALLOCATION_END), Fate.ALLOCATION_END, "told to end"),
    (Seen(-1, 11, pilot_told=Stop.PREEMPTED), Fate.SIGNAL, "signal 11"),
    (Seen(1, 0, pilot_told=Stop.PREEMPTED), Fate.PAYLOAD_ERROR, "exit 1"),
    (Seen(143, 0, pilot_told=Stop.PREEMPTED), Fate.PREEMPTED, "told to end"),
    (Seen(143, 0), Fate.PAYLOAD_ERROR, "exit 143"),
    (Seen(-1, 9), Fate.SIGNAL, "signal 9"),
    (Seen(-1, 9, Stop.MEMORY, "used 900 MiB"), Fate.OOM, "used 900 MiB"),
    (Seen(-1, 9, Stop.NODE_MEMORY, "the node has"), Fate.NODE_FAILURE, "the node has"),
    (Seen(-1, 15, Stop.PROCESSES, "ran 2000"), Fate.PAYLOAD_ERROR, "ran 2000"),
    (Seen(1, 0, disk_failed="full", last_line="cp: no"), Fate.NODE_FAILURE, "exit 1, full: cp: no"),
    (Seen(-1, 7, disk_failed="full"), Fate.NODE_FAILURE, "signal 7, full"),
    (Seen(-1, 0, stage_in="x", disk_failed="full"), Fate.NODE_FAILURE, "x"),
    (Seen(0, 0, stage_out="y", disk_failed="full"), Fate.NODE_FAILURE, "y"),
    (Seen(1, 0, Stop.DISK, disk_failed="full"), Fate.DISK_LIMIT, "disk"),
    (Seen(1, 0, full_file=4096, disk_failed="full"), Fate.DISK_LIMIT, "4096 bytes"),
    (Seen(1, 0, full_file=4096), Fate.DISK_LIMIT, "disk request of 4096 bytes"),
    (Seen(-1, 15, Stop.WALLTIME, "ran longer"), Fate.TIME_LIMIT, "ran longer"),
    (Seen(2, 0, Stop.WALLTIME, "ran longer"), Fate.TIME_LIMIT, "ran longer"),
    (Seen(-1, 15, Stop.DISK, "used"), Fate.DISK_LIMIT, "used"),
    (Seen(-1, 15, Stop.PREEMPTED, no_routes=1), Fate.PREEMPTED, "preempted"),
    (Seen(-1, 15, Stop.ALLOCATION_END), Fate.ALLOCATION_END, "allocation-end"),
    (Seen(-1, 15, Stop.CANCELLED), Fate.CANCELLED, "cancelled"),
    (Seen(0, 0, Stop.PREEMPTED), Fate.SUCCESS, ""),  # it ended well before the signal came
    (Seen(0, 0, stage_out="out: missing"), Fate.STAGE_OUT, "out: missing"),
    (Seen(-1, 0, stage_in="in: damaged"), Fate.STAGE_IN, "in: damaged"),
    (Seen(127, 0, not_started="nope: no such program"), Fate.PAYLOAD_ERROR, "no such program"),
]


@pytest.mark.parametrize(("seen", "fate", "evidence"), CASES)
def test_each_ending_has_its_fate_and_evidence(seen: Seen, fate: Fate, evidence: str) -> None:
    found, line = judge(seen)
    assert found is fate
    assert evidence in line
    assert bool(line) == (fate is not Fate.SUCCESS)


def test_evidence_is_one_short_line() -> None:
    _, line = judge(Seen(1, 0, last_line="a\nb\t" + "c" * 5000))
    assert "\n" not in line and len(line) <= EVIDENCE_CHARS_MAX


def test_every_stop_has_a_fate_of_its_own() -> None:
    stops = [stop for stop in Stop if stop]
    assert len({judge(Seen(-1, 15, stop))[0] for stop in stops}) == len(stops)


def test_a_slots_report_is_read_with_the_fields_it_has() -> None:
    seen = seen_from_wire({"local": 4, "exit_code": 1, "signal": 0, "stop": "memory", "log": b""})
    assert seen == Seen(1, 0, Stop.MEMORY)
