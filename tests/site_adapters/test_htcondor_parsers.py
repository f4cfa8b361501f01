"""What HTCondor's programs print, in every form that they were seen to print it."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from site_adapters.contract import Ending
from site_adapters.errors import OutputRefused
from site_adapters.htcondor import ads, codes, event_log, jobs, slots
from site_adapters.htcondor.ads import Expression
from tests.conftest import SHARED_DATA

LONG = b"""
ClusterId = 12
ProcId = 3
JobStatus = 5
HoldReason = "it said \\"no\\"; twice"
HoldReasonCode = 13
RemoteWallClockTime = 1.5
ExitBySignal = false
HoldReasonSubCode = undefined
Requirements = (TARGET.Arch == "X86_64") && (TARGET.Memory >= RequestMemory)
StringListed = { "a", "b;c" }

ClusterId = 12
ProcId = 4
JobStatus = 2
RemoteHost = "slot1@node"
*** Offset = 0 ClusterId = 12 ProcId = 4 Owner = "alice" CompletionDate = 0
"""
FIRST = {
    "ClusterId": 12,
    "ProcId": 3,
    "JobStatus": 5,
    "HoldReason": 'it said "no"; twice',
    "HoldReasonCode": 13,
    "RemoteWallClockTime": 1.5,
    "ExitBySignal": False,
    "Requirements": Expression('(TARGET.Arch == "X86_64") && (TARGET.Memory >= RequestMemory)'),
    "StringListed": ["a", "b;c"],
}
NEW = b"""[ ClusterId = 12; ProcId = 3; JobStatus = 5; /* "held" */
  HoldReason = "it said \\"no\\"; twice"; HoldReasonCode = 13; RemoteWallClockTime = 1.5;
  ExitBySignal = false; HoldReasonSubCode = undefined; // nothing
  Requirements = (TARGET.Arch == "X86_64") && (TARGET.Memory >= RequestMemory);
  StringListed = { "a", "b;c" } ]
[ ClusterId = 12; ProcId = 4; JobStatus = 2; RemoteHost = "slot1@node"; ]
"""
XML = b"""<?xml version="1.0"?>
<!DOCTYPE classads SYSTEM "classads.dtd">
<classads>
<c><a n="ClusterId"><i>12</i></a><a n="ProcId"><i>3</i></a><a n="JobStatus"><i>5</i></a>
<a n="HoldReason"><s>it said "no"; twice</s></a><a n="HoldReasonCode"><i>13</i></a>
<a n="RemoteWallClockTime"><r>1.5E+00</r></a><a n="ExitBySignal"><b v="f"/></a>
<a n="HoldReasonSubCode"><un/></a>
<a n="Requirements">
<e>(TARGET.Arch == "X86_64") &amp;&amp; (TARGET.Memory &gt;= RequestMemory)</e></a>
<a n="StringListed"><l><s>a</s><s>b;c</s></l></a></c>
<c><a n="ClusterId"><i>12</i></a><a n="ProcId"><i>4</i></a><a n="JobStatus"><i>2</i></a>
<a n="RemoteHost"><s>slot1@node</s></a></c>
</classads>"""
SECOND = {"ClusterId": 12, "ProcId": 4, "JobStatus": 2, "RemoteHost": "slot1@node"}
AS_JSON = json.dumps([FIRST | {"Requirements": f"/Expr({FIRST['Requirements']})/"}, SECOND])
AS_PYTHON = f"""[
    {{{", ".join(f"{k!r}: {v!r}" for k, v in FIRST.items() if k != "Requirements")},
     'Requirements': classad.ExprTree({str(FIRST["Requirements"])!r}),
     'HoldReasonSubCode': classad.Value.Undefined}},
    {SECOND!r}
]"""


@pytest.mark.parametrize("raw", [LONG, NEW, XML, AS_JSON.encode(), AS_PYTHON.encode()])
def test_ads_are_the_same_in_every_form(raw: bytes) -> None:
    first, second = ads.parse(raw)
    assert first == FIRST
    assert isinstance(first["Requirements"], Expression)
    assert second == SECOND
    held, runs = jobs.from_ads([first, second])
    assert (held.id, held.status, held.hold_code, held.is_placed) == ("12.3", codes.HELD, 13, False)
    assert (runs.id, runs.status, runs.is_placed) == ("12.4", codes.RUNNING, True)


@pytest.mark.parametrize("raw", [b"", b"\n", b"[\n]\n", b"<classads></classads>", b"[]"])
def test_no_ads_are_no_ads(raw: bytes) -> None:
    assert not [one for one in ads.parse(raw) if one]


@pytest.mark.parametrize(
    "raw",
    [
        b"Error: can't find address of schedd", b"[ ClusterId = 12; ProcId", b"<c><a", b"[1, 2]",
        b'<!DOCTYPE c [<!ENTITY a "b">]><c><a n="x"><s>&a;</s></a></c>', b"[" * 100_000,
        b"{" * 100_000, b'{"a":' * 50_000,
    ],
)  # fmt: skip
def test_what_is_no_ad_is_refused(raw: bytes) -> None:
    with pytest.raises(OutputRefused):
        ads.parse(raw)


@given(st.binary(max_size=200))
def test_any_bytes_give_ads_or_a_refusal(raw: bytes) -> None:
    for read in (ads.parse, lambda one: list(event_log.events(one))):
        with contextlib.suppress(OutputRefused):
            read(raw)


def test_an_ad_without_a_job_in_it_is_no_job() -> None:
    for ad in ({}, {"ClusterId": 1}, {"ClusterId": "x", "ProcId": 0}, {"ClusterId": True}):
        with pytest.raises(OutputRefused):
            jobs.from_ad(ad)


@pytest.mark.parametrize(
    ("said", "state"),
    [(1, codes.IDLE), ("2", codes.RUNNING), ("H", codes.HELD), (">", codes.SENDING), (0, 0),
     (8, None), (99, None), (-1, None), ("Q", None), (None, None), (True, None), (2.0, None)],
)  # fmt: skip
def test_a_state_never_seen_is_none(said: object, state: int | None) -> None:
    assert codes.status(said) == state


def test_a_hold_for_the_walltime_ends_a_pilot_and_a_persons_does_not() -> None:
    assert codes.over(47, 0) is codes.over(3, codes.WALLTIME_SUBCODE) is Ending.TIME_LIMIT
    assert codes.over(34, 102) is Ending.OUT_OF_MEMORY
    assert codes.over(1, 0) is codes.over(3, 0) is codes.over(4747, 4747) is None


LOG = b"""000 (017.000.000) 2026-01-02 03:04:05 Job submitted from host: <10.0.0.1:9618?addrs=x>
    DAG Node: a
...
001 (017.000.000) 2026-01-02 03:04:06 Job executing on host: <10.0.0.2:9618>
\tSlotName: slot1@node
...
012 (017.000.000) 2026-01-02 03:04:07 Job was held.
\tvia condor_hold (by user alice)
\tCode 1 Subcode 0
...
013 (017.000.000) 01/02 03:04:08 Job was released.
...
001 (017.000.000) 01/02/26 03:04:09 Job executing on host: <10.0.0.2:9618>
...
005 (017.000.000) 2026-01-02T03:04:10.123+01:00 Job terminated.
\t(1) Normal termination (return value 3)
\t\tUsr 0 00:00:00, Sys 0 00:00:00  -  Run Remote Usage
...
001 (017.001.000) 2026-01-02 03:04:11Z Job executing on host: <10.0.0.2:9618>
...
005 (017.001.000) 2026-01-02 03:04:12 Job terminated.
\t(0) Abnormal termination (signal 9)
...
009 (017.002.000) 2026-01-02 03:04:13 Job was aborted.
\tvia condor_rm (by user alice)
...
047 (-01.-01.-01) 2026-01-02 03:04:13 An event of a kind that comes one day
...
004 (017.003.000) 2026-01-02 03:04:14 Job was evic"""


def test_an_event_log_is_read_up_to_what_is_still_being_written() -> None:
    found = list(event_log.events(LOG))
    assert [one.number for one in found] == [0, 1, 12, 13, 1, 5, 1, 5, 9, 47]
    assert event_log.hold_of(found[2]) == (1, "via condor_hold (by user alice)")
    assert (found[0].text[:13], found[0].lines) == ("Job submitted", ("DAG Node: a",))
    over = event_log.ended(found)
    assert {at: (job.status, job.exit_code, job.exit_signal) for at, job in over.items()} == {
        (17, 0): (codes.COMPLETED, 3, None),
        (17, 1): (codes.COMPLETED, None, 9),
        (17, 2): (codes.REMOVED, None, None),
    }
    assert (over[17, 0].starts, over[17, 2].remove_reason) == (2, "via condor_rm (by user alice)")


def test_a_log_that_is_none_is_refused() -> None:
    with pytest.raises(OutputRefused):
        list(event_log.events(b"Submitting job(s).\n...\n"))


def test_slots_are_counted_whole_and_parts_of_them_are_not() -> None:
    whole = {"Name": "slot1@a", "Machine": "a", "SlotType": "Partitionable", "Cpus": 1,
             "TotalSlotCpus": 64, "Memory": 10, "TotalSlotMemory": 256_000, "TotalSlotGPUs": 4,
             "CUDADeviceName": "A100"}  # fmt: skip
    part = whole | {"Name": "slot1_1@a", "SlotType": "Dynamic", "TotalSlotCpus": 999}
    fixed = {"Name": "slot2@b", "Machine": "b", "SlotType": "Static", "Cpus": 8, "Memory": 16_000}
    found = slots.from_ads([whole, part, fixed, {"Cpus": "many", "Memory": -1}])
    limits = slots.limits(found, 60)
    assert (limits.nodes, limits.cpus, limits.memory_mib, limits.walltime_s) == (3, 64, 256_000, 60)
    assert limits.gpus == (("A100", 4),)
    assert slots.limits([], 0).gpus is None
    assert slots.version("$CondorVersion: 25.14.1 2026-09-24 $") == "25.14.1"
    assert slots.version(None) == slots.version("of late") == "unknown"


@pytest.fixture
def theirs() -> Path:
    folder = SHARED_DATA / "batch_outputs" / "condor"
    if not folder.is_dir():
        pytest.skip("the real outputs (../shared/data/batch_outputs) are not here")
    return folder


def test_ads_of_real_sites_are_read(theirs: Path) -> None:
    count = {
        "glideinwms--cq.fixture.xml": 13,
        "glideinwms--cs.fixture.xml": 7,
        "hepcloud--cq.fixture.pyrepr.txt": 4,
        "htcondor--condor_status_long_first.ads": 8,
        "htcondor--jobad_old_syntax.ad": 1,
    }
    found = {name: ads.parse((theirs / name).read_bytes()) for name in count}
    assert {name: len(rows) for name, rows in found.items()} == count
    queued = jobs.from_ads(found["glideinwms--cq.fixture.xml"])
    assert {job.status for job in queued} == {codes.IDLE, codes.RUNNING}
    assert jobs.from_ads(found["htcondor--jobad_old_syntax.ad"])[0].id == "15.0"
    assert jobs.from_ads(found["hepcloud--cq.fixture.pyrepr.txt"])[0].id == "4.0"
    machines = slots.from_ads(found["htcondor--condor_status_long_first.ads"])
    assert slots.limits(machines, 0).nodes == 8


def test_the_states_of_real_dags_are_read(theirs: Path) -> None:
    for path in (theirs / "lsst_bps").glob("*.node_status"):
        first, *nodes, last = ads.parse(path.read_bytes())
        assert (first["Type"], last["Type"]) == ("DagStatus", "StatusEnd")
        assert len(nodes) == first["NodesTotal"]


def test_real_event_logs_are_read_as_htcondors_own_reader_reads_them(theirs: Path) -> None:
    htcondor = pytest.importorskip("htcondor2", reason="no Python package htcondor")
    logs = [*theirs.glob("htcondor--*.log"), *(theirs / "lsst_bps").glob("*.log")]
    assert len(logs) >= 12
    for path in logs:
        found = list(event_log.events(path.read_bytes()))
        own = list(htcondor.JobEventLog(str(path)).events(0))
        assert [one.number for one in found] == [int(one.type) for one in own], path
        assert [(one.cluster, one.proc) for one in found] == [(o.cluster, o.proc) for o in own]
