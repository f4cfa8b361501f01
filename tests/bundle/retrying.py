"""Hypothesis strategies for retry: rules, attempts, requests, maxima."""

from __future__ import annotations

from hypothesis import strategies as st

from bundle.dataset.spec import Request
from bundle.fates import FATES
from bundle.ids import PilotRun
from bundle.records.rules import Maximum, RetryRules
from bundle.retry import Ended

CAPS = st.integers(0, 4)
FACTORS = st.sampled_from([1000, 1001, 1500, 2000, 7000])
AMOUNTS = st.sampled_from([0, 1, 700, 1 << 12, 1 << 20, 1 << 32, 1 << 48])
RUNS = st.sampled_from([PilotRun(bytes([n]) * 8) for n in range(4)])
NOW_US = 1_700_000_000_000_000

RULES = st.builds(
    RetryRules,
    payload_max=CAPS,
    resources_max=CAPS,
    network_max=CAPS,
    staging_max=CAPS,
    pilots_max=CAPS,
    backoff_ms=st.sampled_from([0, 1, 1000, 60_000]),
    backoff_milli=FACTORS,
    backoff_ms_max=st.sampled_from([0, 1000, 3_600_000]),
    jitter_milli=st.sampled_from([0, 250, 1000]),
    memory_milli=FACTORS,
    walltime_milli=FACTORS,
    disk_milli=FACTORS,
    memory_mib_max=AMOUNTS,
    walltime_ms_max=AMOUNTS,
    disk_bytes_max=AMOUNTS,
)
ATTEMPTS = st.builds(
    Ended,
    fate=st.sampled_from(FATES),
    pilot_run=RUNS,
    ended_us=st.integers(NOW_US - 10**9, NOW_US + 10**7),
    memory_peak_mib=st.integers(0, 1 << 20),
    wall_ms=st.integers(0, 1 << 30),
    disk_peak_bytes=st.integers(0, 1 << 40),
)
REQUESTS = st.builds(
    Request,
    cpu_milli=st.integers(1, 8000),
    gpu_milli=st.integers(0, 2000),
    memory_mib=st.integers(1, 1 << 16),
    disk_bytes=st.integers(0, 1 << 36),
    walltime_ms=st.integers(1, 1 << 28),
)
MAXIMA = st.builds(Maximum, AMOUNTS, AMOUNTS, AMOUNTS)
