"""Pilots that are started together start apart, and each as it did before."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pilot.core.jitter import jitter_s


@given(st.text(), st.text(), st.floats(0, 1e6))
def test_a_wait_is_the_same_again_and_within_its_bound(
    batch: str, host: str, most_s: float
) -> None:
    waits_s = jitter_s(batch, host, most_s)
    assert waits_s == jitter_s(batch, host, most_s) and 0 <= waits_s <= most_s


def test_a_thousand_nodes_of_one_batch_job_are_spread_evenly() -> None:
    counts = [0] * 10
    for number in range(1000):
        counts[int(jitter_s("4711", f"node{number:04}", 10.0))] += 1
    assert min(counts) > 50 and max(counts) < 200
