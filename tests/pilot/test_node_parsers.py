"""What tools, kernels and schedulers print is read as it is, and nothing strange makes a crash."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilot.core import node as facts
from pilot.core.node import Batch, Core, Gpu
from pilot.discovery import parse_gpus, parse_scheduler, parse_system
from pilot.discovery.parse_gpus import Refused

SAMPLES = Path(__file__).parent / "node_samples"
A100 = "GPU-513536b6-7d19-9063-b049-1e69664bb298"
INSTANCE = "MIG-5b1f5a4e-0001-5c5e-9d4e-00000000000"
GEFORCE = ("GPU-df6e7a7c-7314-46f8-abc4-b88b36dcf3aa", "GPU-04757e3e-3077-4e2e-b988-7e2d647b52e9")
SLURM = {"SLURM_JOB_ID": "77", "SLURM_JOB_END_TIME": "1800000000"}
END_US = 1_800_000_000_000_000


def sample(name: str) -> bytes:
    return (SAMPLES / name).read_bytes()


def gpus(count: int) -> tuple[Gpu, ...]:
    return tuple(Gpu(f"GPU-{place}aaaaaaa-bbbb", "A", index=place) for place in range(count))


# -- GPUs


def test_the_csv_of_a_data_centre_gpu_gives_uuid_model_memory_and_place() -> None:
    (seen,) = parse_gpus.query_csv(sample("h200.csv"))
    assert seen.gpu == Gpu("GPU-00000000-0000-0000-0000-000000000000", "NVIDIA H200", 143_771)
    assert seen.bus == "0000:83:00.0" and not seen.mig


def test_columns_that_are_missing_or_in_another_order_leave_what_is_there() -> None:
    seen = parse_gpus.query_csv(sample("geforce.csv"))
    assert [one.gpu.uuid for one in seen] == list(GEFORCE)
    assert [one.gpu.index for one in seen] == [0, 1] and seen[0].gpu.memory_mib == 0


@pytest.mark.parametrize(
    ("name", "uuid", "model", "memory_mib"),
    [
        ("gtx-1070-ti.xml", "GPU-f9ba66fc-a7f5-94c5-da19-019ef2f9c665", "GTX 1070 Ti", 4096),
        ("tesla-t4.xml", "GPU-d37e67a5-91dd-3774-a5cb-99096249601a", "Tesla T4", 15_360),
        ("a100-mig.xml", A100, "NVIDIA A100-SXM4-80GB", 81_920),
    ],
)
def test_the_xml_of_several_drivers_is_read_and_a_gpu_without_a_uuid_passed_over(
    name: str, uuid: str, model: str, memory_mib: int
) -> None:
    (seen,) = parse_gpus.query_xml(sample(name))
    assert (seen.gpu.uuid, seen.gpu.memory_mib) == (uuid, memory_mib)
    assert seen.gpu.model.endswith(model)


def test_a_gpu_in_mig_mode_is_replaced_by_its_instances_with_their_memory() -> None:
    seen = parse_gpus.query_xml(sample("a100-mig.xml"))
    _, listed = parse_gpus.listing(sample("a100-mig.list"))
    found, notes = parse_gpus.cut_into_instances(seen, listed)
    told = [(one.uuid, one.mig, one.memory_mib) for one in found]
    assert told == [
        (f"{INSTANCE}0", "1g.20gb", 19_968),
        (f"{INSTANCE}1", "1g.20gb", 19_968),
        (f"{INSTANCE}2", "2g.40gb", 40_960),  # the XML does not know it: by its profile's name
    ]
    assert notes == ()


def test_a_gpu_in_mig_mode_without_instances_is_not_used_and_that_is_said() -> None:
    seen = parse_gpus.query_xml(sample("a100-mig.xml"))
    found, notes = parse_gpus.cut_into_instances(seen, ())
    assert found == () and "MIG" in notes[0]


def test_rocm_smi_gives_uuids_as_a_mask_takes_them() -> None:
    seen = parse_gpus.rocm_json(b"WARNING: low power\n" + sample("mi100.json"))
    assert [one.gpu.uuid for one in seen] == ["GPU-79ccd55167a2124a", "GPU-1b9dd972253c3736"]
    assert {(one.gpu.vendor, one.gpu.memory_mib, one.gpu.numa) for one in seen} == {
        ("amd", 32_752, 1)
    }
    assert [one.gpu.index for one in seen] == [0, 3]


@pytest.mark.parametrize("name", ["h200.csv", "a100-mig.xml", "a100-mig.list", "mi100.json"])
def test_a_text_cut_anywhere_gives_devices_or_a_refusal(name: str) -> None:
    whole = sample(name)
    for size in range(0, len(whole), 7):
        for read in READERS:
            _tried(read, whole[:size])


def test_xml_that_declares_entities_is_refused() -> None:
    bomb = (
        b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><nvidia_smi_log>&b;</nvidia_smi_log>'
    )
    with pytest.raises(Refused, match="entities"):
        parse_gpus.query_xml(bomb)


def test_xml_nested_without_end_is_refused() -> None:
    with pytest.raises(Refused, match="deep"):
        parse_gpus.query_xml(b"<nvidia_smi_log>" + b"<gpu>" * 100_000)


READERS = (
    parse_gpus.query_csv,
    parse_gpus.query_xml,
    parse_gpus.listing,
    parse_gpus.rocm_json,
)


def _tried(read: object, raw: bytes) -> None:
    with contextlib.suppress(Refused):
        read(raw)  # type: ignore[operator]


PIECES = [sample(one.name) for one in sorted(SAMPLES.iterdir())] + [b"\0\xff", b",,\n", b"-", b"[]"]
mixed = st.lists(st.sampled_from(PIECES), max_size=3).map(b"".join)


@given(st.one_of(st.binary(max_size=300), mixed, st.binary(max_size=40).map(PIECES[0].__add__)))
def test_any_bytes_give_values_or_a_refusal(raw: bytes) -> None:
    for read in READERS:
        _tried(read, raw)
    for parse in (
        parse_system.number,
        parse_system.cpu_list,
        parse_system.quota_milli,
        parse_system.limit_bytes,
        parse_system.meminfo_bytes,
        parse_system.groups,
        parse_system.mounts,
        parse_system.cpu_model,
        parse_system.classad,
    ):
        parse(raw)
    parse_system.quota_v1_milli(raw, raw[:2])
    parse_scheduler.batch({"_CONDOR_JOB_AD": "x"}, raw, raw)


_NAMES = ("SLURM_JOB_ID", "SLURM_CPUS_ON_NODE", "SLURM_MEM_PER_CPU", "SLURM_JOB_END_TIME")
_NAMES += ("CUDA_VISIBLE_DEVICES", "SLURM_JOB_GPUS", "_CONDOR_MACHINE_AD", "OMP_NUM_THREADS")
_VALUES = st.one_of(st.text(max_size=20), st.sampled_from(["0,1", "-1", "9" * 30, "1.5", "GPU-a"]))


@given(st.dictionaries(st.sampled_from(_NAMES), _VALUES))
def test_any_environment_gives_a_batch_job(environment: dict[str, str]) -> None:
    batch = parse_scheduler.batch(environment)
    assert batch.end_us >= 0 and batch.cpus >= 0 and batch.batch_id.isprintable()


# -- schedulers


def test_slurm_tells_cores_memory_restarts_and_the_end() -> None:
    told = {"SLURM_CPUS_ON_NODE": "16", "SLURM_MEM_PER_CPU": "2000", "SLURM_RESTART_COUNT": "2"}
    batch = parse_scheduler.batch(SLURM | told)
    assert (batch.scheduler, batch.batch_id, batch.restarts) == ("slurm", "77", 2)
    assert (batch.cpus, batch.memory_mib, batch.end_us) == (16, 32_000, END_US)
    assert batch.gpus is None and batch.notes == ()


def test_memory_per_node_goes_before_memory_per_cpu_and_arrays_have_two_numbers() -> None:
    told = {"SLURM_MEM_PER_NODE": "4096", "SLURM_MEM_PER_CPU": "1", "SLURM_CPUS_ON_NODE": "2"}
    array = {"SLURM_ARRAY_JOB_ID": "70", "SLURM_ARRAY_TASK_ID": "7"}
    batch = parse_scheduler.batch(SLURM | told | array)
    assert (batch.memory_mib, batch.batch_id) == (4096, "70_7")


@pytest.mark.parametrize("word", ["", "soon", "0", "-5", "12", "99999999999999", "1.5e9"])
def test_an_end_that_is_no_date_is_unknown_and_that_is_said(word: str) -> None:
    batch = parse_scheduler.batch(SLURM | {"SLURM_JOB_END_TIME": word})
    assert batch.end_us == 0 and any(parse_scheduler.END_S in one for one in batch.notes)


def test_the_earlier_of_two_ends_counts() -> None:
    told = SLURM | {parse_scheduler.END_S: "1799999999"}
    assert parse_scheduler.batch(told).end_us == END_US - 1_000_000


def test_htcondor_tells_by_its_two_ads() -> None:
    told = {"_CONDOR_MACHINE_AD": "m", "_CONDOR_JOB_AD": "j", "_CONDOR_SCRATCH_DIR": "/scratch/x"}
    batch = parse_scheduler.batch(told, sample("machine.ad"), sample("job.ad"))
    assert (batch.scheduler, batch.batch_id, batch.restarts) == ("htcondor", "15.0", 2)
    assert (batch.cpus, batch.memory_mib, batch.disk_bytes) == (4, 1957, 16_190_387 * 1024)
    assert batch.end_us == (1_357_311_628 + 3600) * 1_000_000  # before the glidein's end
    assert batch.gpus == ("GPU-df6e7a7c", "GPU-04757e3e") and batch.scratch == ("/scratch/x",)


def test_without_a_readable_ad_htcondors_number_of_threads_counts_and_else_does_not() -> None:
    threads = {"OMP_NUM_THREADS": "3"}
    assert parse_scheduler.batch({"_CONDOR_JOB_AD": "j"} | threads).cpus == 3
    assert parse_scheduler.batch(SLURM | threads).cpus == 0
    assert parse_scheduler.batch(threads) == Batch()


# -- the assignment narrows


def test_without_a_scheduler_and_a_mask_every_gpu_is_ours() -> None:
    assert facts.narrowed(gpus(3), None, "") == (gpus(3), ())


def test_what_no_scheduler_assigned_is_not_taken() -> None:
    kept, notes = facts.narrowed(gpus(3), None, "slurm")
    assert kept == () and "slurm" in notes[0]


@pytest.mark.parametrize(
    ("environment", "indexes"),
    [
        ({"CUDA_VISIBLE_DEVICES": "2,0"}, [2, 0]),
        ({"CUDA_VISIBLE_DEVICES": "1,-1,0"}, [1]),  # CUDA reads no further
        ({"CUDA_VISIBLE_DEVICES": "NoDevFiles"}, []),
        ({"CUDA_VISIBLE_DEVICES": ""}, []),
        ({"CUDA_VISIBLE_DEVICES": "GPU-1aaaaaaa-bbbb"}, [1]),
        ({"NVIDIA_VISIBLE_DEVICES": "all"}, [0, 1, 2]),
        ({"NVIDIA_VISIBLE_DEVICES": "void"}, []),
        ({"ROCR_VISIBLE_DEVICES": "0"}, [0]),
        (SLURM | {"SLURM_JOB_GPUS": "0,2"}, [0, 2]),
        (SLURM | {"SLURM_JOB_GPUS": "0,2", "SLURM_STEP_GPUS": "2"}, [2]),
        (SLURM | {"SLURM_JOB_GPUS": "4,5", "CUDA_VISIBLE_DEVICES": "0,1"}, [0, 1]),
        (SLURM | {"SLURM_JOB_GPUS": "5,6,7"}, [0, 1, 2]),  # a control group shows only these three
        (SLURM | {"SLURM_JOB_GPUS": "6,7"}, []),  # which of the three? none is surely ours
        ({"_CONDOR_JOB_AD": "j", "_CONDOR_AssignedGPUs": "CUDA1"}, [1]),
        ({"_CONDOR_JOB_AD": "j", "_CONDOR_AssignedGPUs": "GPU-2aaaaaaa"}, [2]),
        ({"_CONDOR_JOB_AD": "j", "CUDA_VISIBLE_DEVICES": "10000"}, []),
    ],
)
def test_masks_and_assignments_choose_devices(
    environment: dict[str, str], indexes: list[int]
) -> None:
    batch = parse_scheduler.batch(environment)
    kept, _ = facts.narrowed(gpus(3), batch.gpus, batch.scheduler)
    assert [one.index for one in kept] == indexes


def test_a_number_does_not_choose_among_mig_instances_and_a_uuid_does() -> None:
    seen = parse_gpus.query_xml(sample("a100-mig.xml"))
    _, listed = parse_gpus.listing(sample("a100-mig.list"))
    found, _ = parse_gpus.cut_into_instances(seen, listed)
    assert facts.narrowed(found, (f"{INSTANCE}1",), "slurm")[0] == (found[1],)
    kept, notes = facts.narrowed(found, ("0", "1"), "slurm")
    assert kept == () and notes


words = st.lists(st.sampled_from(["0", "1", "2", "7", "GPU-1aaaaaaa", "GPU-", "MIG-x"]), max_size=4)


@given(st.integers(0, 4), words)
def test_an_assignment_never_gives_more_devices_than_it_names(count: int, named: list[str]) -> None:
    kept, _ = facts.narrowed(gpus(count), tuple(named), "slurm")
    assert len(kept) <= len(named) and len(set(kept)) == len(kept)


# -- the kernel


def test_lists_of_cpus_are_read_as_the_kernel_writes_them() -> None:
    assert parse_system.cpu_list(b"0-2,8,10-11\n") == (0, 1, 2, 8, 10, 11)
    assert parse_system.cpu_list(b"5-2,x,,-3,99999999999,1") == (1,)


@given(st.sets(st.integers(0, 300)))
def test_a_list_of_cpus_comes_back(numbers: set[int]) -> None:
    text = ",".join(map(str, sorted(numbers)))
    assert parse_system.cpu_list(text.encode()) == tuple(sorted(numbers))


def test_quotas_and_limits_of_both_versions_are_read_and_no_limit_is_none() -> None:
    assert parse_system.quota_milli(b"250000 100000\n") == 2500
    assert parse_system.quota_milli(b"max 100000\n") == 0
    assert parse_system.quota_v1_milli(b"-1\n", b"100000\n") == 0
    assert parse_system.quota_v1_milli(b"50000\n", b"100000\n") == 500
    assert parse_system.limit_bytes(b"9223372036854771712\n") == 0
    assert parse_system.limit_bytes(b"max\n") == 0 and parse_system.limit_bytes(b"4096\n") == 4096


def test_a_path_lies_on_the_deepest_mount_and_of_two_on_the_later() -> None:
    rows = (
        b"22 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
        b"23 22 0:21 / /tmp rw shared:1 - tmpfs tmpfs rw\n"
        b"24 22 0:22 / /my\\040scratch rw - lustre mds@o2ib:/x rw\n"
        b"25 22 0:23 / /tmp rw - xfs /dev/sdb1 rw\n"
        b"nonsense\n"
    )
    mounts = parse_system.mounts(rows)
    kinds = [
        parse_system.mount_of(p, mounts).filesystem for p in ("/tmp/a", "/my scratch", "/tmpx")
    ]
    assert kinds == ["xfs", "lustre", "ext4"]


def test_the_least_of_affinity_quota_and_hint_is_used_and_unbound_cores_are_not_pinned() -> None:
    cores = tuple(Core(number) for number in range(8))
    assert facts.cpu_milli(cores, (), 0) == 8000 and facts.may_pin(cores, 8000)
    assert facts.cpu_milli(cores, (2500, 4000), 6) == 2500
    assert facts.cpu_milli(cores, (), 4) == 4000 and not facts.may_pin(cores, 4000)
    assert facts.cpu_milli(cores, (), 64) == 8000
