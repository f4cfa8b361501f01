"""What a lease says of earlier tries and learned requests, and what a step says of retry."""

from __future__ import annotations

from dataclasses import replace

from bundle.dataset import spec
from bundle.dataset.spec import Dataset, Request
from bundle.fates import Fate
from bundle.ids import PilotRun
from bundle.look.tables import _READERS
from bundle.records import lease as leases
from bundle.records.learning import Learning, Policy
from bundle.records.rules import History, RetryRules
from tests.pilot.test_agenda import lease_of, step_of

HISTORY = History(
    ((Fate.SIGNAL, 1), (Fate.OOM, 2)), 700, 0, 0, 5, frozenset([PilotRun(b"12345678")]), 3
)
DATA = Dataset("d", 2, 1, (replace(step_of(0), retry=RetryRules(pilots_max=5)),))


def test_histories_and_first_requests_are_tables_and_travel_unchanged() -> None:
    lease = replace(lease_of(DATA), tried=((1, 0, HISTORY),), asks=((0, Request(memory_mib=9)),))
    raw = leases.encode(lease)
    assert leases.decode(raw) == lease
    rows = dict(_READERS["lease"](7, "name", raw))
    key = (7, lease.lease.hex())
    by_fate = '{"signal": 1, "oom": 2}'
    pilots = '["3132333435363738"]'
    assert rows["tried"] == (*key, 1, 0, by_fate, 700, 0, 0, 5, 3, pilots)
    assert rows["asks"] == (*key, 0, 1000, 0, 9, 1 << 30, 3_600_000)


def test_a_lease_without_them_has_the_bytes_that_it_always_had() -> None:
    raw = leases.encode(lease_of(DATA))
    assert b"tried" not in raw and b"asks" not in raw


def test_a_steps_rules_are_shown_and_the_document_travels_with_them() -> None:
    data = replace(DATA, learning=Learning(Policy.OFF))
    raw = spec.encode(data)
    assert spec.decode(raw) == data
    rows = dict(_READERS["dataset"](7, "name", raw))
    assert rows["steps"][-1] == '{"pilots_max": 5}'
    plain = replace(data, learning=Learning(), steps=(step_of(0),))
    assert b"retry" not in spec.encode(plain) and b"learning" not in spec.encode(plain)
