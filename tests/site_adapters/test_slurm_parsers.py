"""What Slurm prints, 21.08 to 25.05, text and JSON: small outputs in the shapes of sites."""

from __future__ import annotations

import json
import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundle.intervals import IntervalSet
from site_adapters.contract import Ending, PilotState
from site_adapters.errors import OutputRefused
from site_adapters.slurm import job_ids, jobs, nodes, tables, values, words
from site_adapters.slurm.job_ids import JobId
from site_adapters.slurm.values import UNLIMITED, Device

UNIT, RECORD = tables.UNIT, tables.RECORD


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("10:36", 636), ("0:00", 0), ("10:00:00", 36_000), ("3-00:00:00", 259_200), ("60", 3_600),
        ("7-12", 648_000), ("1-2:03", 93_780), ("00:05.908", 5), ("6-12:31:48", 563_508),
        ("UNLIMITED", UNLIMITED), ("infinite", UNLIMITED), ("N/A", None), ("INVALID", None),
        ("", None), ("Partition_Limit", None), ("NOT_SET", None),
    ],
)  # fmt: skip
def test_a_duration_is_read(text: str, seconds: int | None) -> None:
    assert values.duration_s(text) == seconds


@pytest.mark.parametrize(
    ("text", "mib"),
    [
        ("3000Mc", 3000), ("100Gn", 102_400), ("7996M", 7996), ("12756K", 13), ("0", 0), ("0n", 0),
        ("62.50G", 64_000), ("2T", 2 << 20), ("500", 500), ("4G?", "error"), ("", None),
        ("UNLIMITED", UNLIMITED), ("(null)", None),
    ],
)  # fmt: skip
def test_an_amount_of_memory_is_read(text: str, mib: int | str | None) -> None:
    if mib == "error":
        with pytest.raises(ValueError, match="no amount"):
            values.memory_mib(text)
    else:
        assert values.memory_mib(text) == mib


def test_generic_resources_are_read() -> None:
    assert values.devices("gpu:tesla:8(S:0-7)") == (Device("gpu", "tesla", 8),)
    assert values.devices("gpu:4") == (Device("gpu", "", 4),)
    assert values.devices("gpu") == (Device("gpu", "", 1),)
    assert values.devices("gpu:a100:4(S:0,2),nvme:1K,gres/gpu:1") == (
        Device("gpu", "a100", 4), Device("nvme", "", 1024), Device("gpu", "", 1),
    )  # fmt: skip
    assert values.devices("(null)") == values.devices("") == values.devices("N/A") == ()
    assert values.tres("cpu=12,mem=62.50G,gres/gpu=2")["gres/gpu"] == "2"


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (7, 7), ("7", 7), (None, None), ({"set": True, "infinite": False, "number": 9}, 9),
        ({"set": False, "infinite": False, "number": 0}, None), (-2, None), (4294967294, None),
        ({"set": False, "infinite": True, "number": 0}, UNLIMITED), (4294967295, UNLIMITED),
        ("UNLIMITED", UNLIMITED), ("", None),
    ],
)  # fmt: skip
def test_a_number_of_json_is_read_in_every_shape(value: Any, number: int | None) -> None:
    assert values.number(value) == number


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("123", JobId(123)),
        ("123_4", JobId(123, 4)),
        ("123_[1-3,7]", JobId(123, tasks=IntervalSet.of([1, 2, 3, 7]))),
        ("123_[0-9%2]", JobId(123, tasks=IntervalSet.of(range(10)))),
        ("123_[0-10:5%1]", JobId(123, tasks=IntervalSet.of([0, 5, 10]))),
        ("123_[1,3,5-...]", JobId(123, tasks=IntervalSet.of([1, 3, 5]), is_cut=True)),
        ("123+1", JobId(123, part=1)),
        ("123.batch", JobId(123, step="batch")),
        ("123_4.extern", JobId(123, 4, step="extern")),
        ("123_4.0", JobId(123, 4, step="0")),
        ("123;north", JobId(123, cluster="north")),
    ],
)
def test_an_id_is_read(text: str, expected: JobId) -> None:
    assert job_ids.job_id(text) == expected


@given(st.text(max_size=30) | st.from_regex(r"\A\d{1,5}[_+.;\[\]0-9a-z,%:-]{0,12}\Z"))
def test_whatever_stands_for_an_id_is_read_or_a_value_error(text: str) -> None:
    for read in (job_ids.job_id, values.duration_s, values.memory_mib, values.devices):
        try:
            read(text)
        except ValueError:
            continue


@pytest.mark.parametrize(
    ("text", "reason", "state", "ending"),
    [
        ("PENDING", "Priority", "waiting", None), ("PD", "", "waiting", None),
        ("PENDING", "JobHeldUser", "held", None), ("PENDING", "JobHeldAdmin", "held", None),
        ("PENDING", "launch failed requeued held", "held", None),
        ("REQUEUE_HOLD", "", "held", None), ("SPECIAL_EXIT", "", "held", None),
        ("CONFIGURING", "", "waiting", None), ("REQUEUED", "", "waiting", None),
        ("RUNNING", "None", "running", None), ("COMPLETING", "", "running", None),
        ("COMPLETED,COMPLETING", "", "running", None), ("SUSPENDED", "", "running", None),
        ("STAGE_OUT", "", "running", None), ("COMPLETED", "", "absent", "completed"),
        ("CANCELLED by 102216", "", "absent", "cancelled"),
        ("CANCELLED+", "", "absent", "cancelled"),
        ("OUT_OF_ME+", "", "absent", "out-of-memory"), ("OOM", "", "absent", "out-of-memory"),
        ("TIMEOUT", "", "absent", "time-limit"), ("DEADLINE", "", "absent", "time-limit"),
        ("NODE_FAIL", "", "absent", "node-failure"), ("BF", "", "absent", "node-failure"),
        ("PREEMPTED", "", "absent", "preempted"), ("FAILED", "", "absent", "failed"),
        ("REVOKED", "", "unknown", None), ("HIBERNATING", "", "unknown", None),
        ("RUNNING,HIBERNATING", "", "unknown", None), ("", "", "unknown", None),
    ],
)  # fmt: skip
def test_a_state_is_understood(text: str, reason: str, state: str, ending: str | None) -> None:
    found = words.standing(words.states(text), reason)
    assert found == (PilotState(state), None if ending is None else Ending(ending))


@given(st.text(string.ascii_uppercase + "_ +,*", max_size=20))
def test_a_word_never_seen_is_unknown_and_never_an_error(text: str) -> None:
    said = words.states(text)
    if not set(said) <= words.STATES.keys():
        assert words.standing(said) == (PilotState.UNKNOWN, None)


def test_a_table_with_a_heading_is_read() -> None:
    raw = b"JOBID,NAME,STATE,TIME_LIMIT,START_TIME\n9,a b,RUNNING,10:00:00,2020-10-22T11:43:33\n"
    (job,) = jobs.from_table(raw, "squeue", separator=",")
    assert (job.id, job.name, job.states, job.limit_s) == (JobId(9), "a b", ("RUNNING",), 36_000)
    assert job.began_s is not None


def test_steps_and_waiting_ranges_of_an_array_are_read() -> None:
    raw = (
        b"JobID|ExitCode|State|MaxRSS|Elapsed\n7_1|0:0|RUNNING||00:06:45\n"
        b"7_1.batch|0:15|CANCELLED|1828196K|00:06:45\n7_[2-4]|0:0|PENDING||00:00:00\n"
    )
    whole, step, waits = jobs.from_table(raw, "sacct")
    assert (step.id.step, step.exit_code) == ("batch", (0, 15))
    assert waits.id.elements() == (2, 3, 4)
    assert whole.id.elements() == (1,)


def test_a_table_without_a_heading_and_a_name_with_the_separator_is_read() -> None:
    columns = ("JobID", "User", "Submit", "End", "ReqMem", "State", "JobName")
    raw = b"7|ann|2015-06-26T13:57:00|Unknown|31000Mn|CANCELLED by 7|a|b|c\n\n"
    (job,) = jobs.from_table(raw, "sacct", columns)
    assert (job.name, job.ended_s, job.memory_mib) == ("a|b|c", None, 31_000)


def test_marked_records_may_hold_line_ends_and_bytes_that_are_no_text() -> None:
    columns = ("JobArrayID", "State", "Comment", "Name")
    rows = [b"5_0\x1fRUNNING\x1f(null)\x1f\xef\xbf a\nb\x1e", b"\n6\x1fCD\x1fx\x1fplain\x1e\n"]
    first, second = jobs.from_table(b"".join(rows), "squeue", columns, UNIT)
    assert (first.id, first.comment, first.name) == (JobId(5, 0), "", "\ufffd a\nb")
    assert (second.states, second.comment) == (("COMPLETED",), "x")
    head = UNIT.join(("ARRAY_JOB_ID", "JOBID", "STATE", "JOBID", "ARRAY_TASK_ID", ""))
    row = UNIT.join(("5", "77", "CD", "5_9", "9", ""))  # the later column of a name is whole
    (job,) = jobs.from_table(f"{head}\n{row}\n".encode(), "squeue", separator=UNIT)
    assert job.id == JobId(5, 9)


@pytest.mark.parametrize(
    ("raw", "where"),
    [
        (b"7|RUNNING\n8\n", "line 2"),
        (b"seven|RUNNING\n", "line 1"),
        (b"7|\n", "line 1"),
        (b"squeue: warning: something\n7|RUNNING\n", "line 1"),
    ],
)
def test_a_malformed_table_is_refused_with_its_place(raw: bytes, where: str) -> None:
    with pytest.raises(OutputRefused) as caught:
        jobs.from_table(raw, "squeue", ("JobID", "State"))
    assert caught.value.where == where
    assert caught.value.fields["program"] == "squeue"
    assert "by hand" in caught.value.text()


def test_scontrol_is_read_on_one_line_or_several() -> None:
    text = (
        "JobId=1 JobName=sh\n   UserId=nobody(65535) Priority=0\n"
        "   JobState=PENDING Reason=JobHeldAdmin Dependency=(null)\n"
        "   Requeue=1 Restarts=2 ExitCode=0:0\n   RunTime=00:00:00 TimeLimit=7-00:00:00\n"
        "   SubmitTime=2020-12-15T16:44:08 StartTime=Unknown EndTime=Unknown\n"
        "   MinCPUsNode=1 MinMemoryCPU=2G\n   Power=\n   TresPerNode=gpu:titanxp:1\n\n"
    )
    array = text.replace("JobId=1 ", "JobId=9 ArrayJobId=8 ArrayTaskId=0-3%2 ")
    line = " ".join(text.split()) + "\n"
    one, other, third = jobs.from_scontrol((text + array + line).encode())
    assert one == third
    assert (one.states, one.reason, one.restarts) == (("PENDING",), "JobHeldAdmin", 2)
    assert words.standing(one.states, one.reason)[0] is PilotState.HELD
    assert (one.limit_s, one.began_s) == (604_800, None)
    assert other.id.elements() == (0, 1, 2, 3)
    with pytest.raises(OutputRefused):
        jobs.from_scontrol(b"what is this\n")
    assert jobs.from_scontrol(b"No jobs in the system\n") == []


def number(value: int | None) -> dict[str, Any]:
    return {"set": value is not None, "infinite": False, "number": value or 0}


OLD = {
    "job_id": 55, "array": {"job_id": 0, "task_id": None, "task": None}, "name": "one",
    "comment": {"administrator": None, "job": None}, "state": {"current": "NODE_FAIL",
    "reason": "Prolog"}, "exit_code": {"status": "SUCCESS", "return_code": 0},
    "time": {"limit": 1440, "submission": 5, "start": 6, "end": 0}, "user": "ann",
    "required": {"memory": 40960},
}  # fmt: skip
NEW = {
    "job_id": 55, "array": {"job_id": 50, "task_id": number(3), "task": ""}, "name": "one",
    "comment": {"administrator": "", "job": "said"}, "state": {"current": ["FAILED"],
    "reason": "None"}, "restart_cnt": 1,
    "exit_code": {"status": ["ERROR"], "return_code": number(3),
    "signal": {"id": number(None), "name": ""}},
    "time": {"limit": number(60), "submission": 5, "start": 6, "end": 9}, "user": "ann",
    "required": {"memory_per_node": number(8192)},
}  # fmt: skip
QUEUED = {
    "job_id": 60, "array_job_id": number(60), "array_task_id": number(None),
    "array_task_string": "1-10", "job_state": ["PENDING"], "state_reason": "Dependency",
    "submit_time": number(7), "time_limit": {"set": False, "infinite": True, "number": 0},
    "exit_code": 768, "comment": "", "user_name": "ann", "name": "some name",
}  # fmt: skip


def document(**lists: Any) -> bytes:
    return json.dumps({"meta": {"plugin": {"type": "any"}}, "errors": [], **lists}).encode()


def test_json_of_every_version_is_read() -> None:
    old, new, queued = jobs.from_json(document(jobs=[OLD, NEW, QUEUED]), "sacct")
    assert (old.id, old.states, old.limit_s, old.ended_s) == (
        JobId(55),
        ("NODE_FAIL",),
        86_400,
        None,
    )
    assert (old.memory_mib, old.exit_code, old.comment) == (40_960, (0, 0), "")
    assert (new.id, new.states, new.exit_code) == (JobId(50, 3), ("FAILED",), (3, 0))
    assert (new.restarts, new.ended_s, new.comment, new.memory_mib) == (1, 9, "said", 8192)
    assert queued.id.elements() == tuple(range(1, 11))
    assert (queued.limit_s, queued.exit_code) == (UNLIMITED, (3, 0))


@pytest.mark.parametrize(
    "raw",
    [
        b"{", b"[]", b"slurm_load_jobs error: Unable to contact slurm controller", b'{"jobs": 3}',
        b'{"jobs": [], "errors": [{"error": "Protocol authentication error"}]}',
        document(jobs=[OLD | {"job_id": "some id"}]), document(jobs=[OLD | {"state": {}}]),
        document(jobs=[{"job_id": 1, "job_state": [{}]}]), document(jobs=[{}]),
        document(jobs=[OLD | {"time": {"limit": []}}]), b"[" * 100_000,
    ],
)  # fmt: skip
def test_json_that_is_no_answer_is_refused(raw: bytes) -> None:
    with pytest.raises(OutputRefused):
        jobs.from_json(raw, "squeue")


NODE = (
    "NodeName=n1 Arch=x86_64 CoresPerSocket=20 \n   CPUAlloc=28 CPUEfctv=10 CPUTot=80\n"
    "   Gres=gpu:rtx8000:8(S:0-1)\n   OS=Linux 4.15.0-99 #100 SMP Wed Apr 22 20:32:56 UTC 2020 \n"
    "   RealMemory=386619 AllocMem=1\n   State={state} ThreadsPerCore=2\n"
    "   Partitions=main,long \n\n"
)


def test_nodes_are_read_and_limits_are_those_of_the_largest_that_can_be_had() -> None:
    raw = NODE.format(state="MIXED") + NODE.replace("n1", "n2").format(state="DOWN*+DRAIN")
    first, second = nodes.from_scontrol(raw.encode())
    assert (first.cpus, first.memory_mib, first.is_usable) == (80, 386_619, True)
    assert (second.states, second.is_usable) == (("DOWN", "NOT_RESPONDING", "DRAIN"), False)
    shown = (
        "PartitionName=main Default=YES MaxNodes=UNLIMITED MaxTime=5-00:00:00 State=UP "
        "TotalNodes=2\n"
        "PartitionName=tiny Default=NO MaxNodes=1 MaxTime=UNLIMITED State=DOWN TotalNodes=1\n"
    )
    main, tiny = nodes.partitions(shown.encode())
    assert (main.limit_s, main.nodes_max, tiny.is_up, tiny.nodes_max) == (
        432_000,
        UNLIMITED,
        False,
        1,
    )
    found = nodes.limits([first, second], [main, tiny], "")
    assert (found.nodes, found.cpus, found.walltime_s) == (1, 80, 432_000)
    assert found.gpus == (("rtx8000", 8),)
    assert nodes.limits([second], [main], "long").cpus == 0


def test_sinfo_is_read_as_text_and_json() -> None:
    raw = b"n1,idle\nn2,down*\nn3,drained*\nn4,mix-\nn5,alloc\nn6,fail*\n"
    found = nodes.from_table(raw, "sinfo", ("NodeList", "State"), ",")
    assert [one.is_usable for one in found] == [True, False, False, True, True, False]
    wide = nodes.from_table(b"n1|gpu:tesla:8(S:0-7)|64+|257000+|mixed\n", "sinfo",
                            ("NodeHost", "Gres", "CPUs", "Memory", "State"))  # fmt: skip
    assert (wide[0].cpus, wide[0].memory_mib, wide[0].devices[0].count) == (64, 257_000, 8)
    marked = nodes.from_table(f"{RECORD}28{UNIT}o1{UNIT}cpu,eth\n".encode(), "sinfo",
                              ("CPUs", "NodeList", "Features"), UNIT)  # fmt: skip
    assert (marked[0].name, marked[0].cpus) == ("o1", 28)
    old = {"name": "a", "state": "down", "state_flags": ["DRAIN"], "cpus": 2, "real_memory": 1800,
           "gres": "gpu:1", "partitions": ["debug"]}  # fmt: skip
    new = {"name": "b", "state": ["IDLE"], "cpus": 8, "real_memory": 7, "partitions": ["debug"]}
    first, second = nodes.from_json(document(nodes=[old, new]), "sinfo")
    assert (first.states, first.is_usable, second.is_usable) == (("DOWN", "DRAIN"), False, True)
    part = {"name": "debug", "maximums": {"time": number(1440), "nodes": {"infinite": True}},
            "partition": {"state": ["UP"]}, "nodes": {"total": 2}}  # fmt: skip
    (known,) = nodes.partitions_from_json(document(partitions=[part]), "scontrol")
    assert (known.limit_s, known.nodes_max) == (86_400, UNLIMITED)
    with pytest.raises(OutputRefused):
        nodes.from_json(document(nodes=[{"name": "a", "cpus": "many"}]), "sinfo")
