"""relay.toml says how batch jobs are, the scheduler how nodes are: both reach who needs them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bundle.records.profile import Gpu
from relay import config as configs
from relay.errors import ConfigRefused
from relay.home import open_home
from relay.profile import profile
from site_adapters.contract import Carrying, Limits
from site_adapters.htcondor.adapter import HTCondorAdapter
from site_adapters.local import LocalAdapter
from site_adapters.psij.adapter import PsijAdapter
from site_adapters.slurm.adapter import SlurmAdapter
from tests.relay.world import make_world

LIMITS = Limits(12, 64, 256_000, (("a100", 4),), 86_400)


def read(folder: Path, text: str) -> configs.Config:
    path = folder / "relay.toml"
    path.write_text(f'[site]\nname = "north"\n{text}')
    return configs.load(path)


def test_a_relay_starts_pilots_by_the_adapter_that_its_file_names(tmp_path: Path) -> None:
    assert isinstance(make_world(tmp_path / "a").home.adapter, LocalAdapter)
    text = '[pilots]\ncount = 8\nslots = 3\n[batch]\nadapter = "slurm"\nnodes = 4\n'
    home = make_world(tmp_path / "b", text).home
    assert isinstance(home.adapter, SlurmAdapter)
    assert (home.adapter.pilots_each, home.slots) == (4, 3)
    text = '[pilots]\nslots = 2\n[batch]\nadapter = "htcondor"\npool = "c:9618"\n'
    home = make_world(tmp_path / "c", text).home
    assert isinstance(home.adapter, HTCondorAdapter)
    assert isinstance(home.adapter, Carrying)
    folder = make_world(tmp_path / "d").home.folder
    file = folder / "relay.toml"
    text = '[batch]\nadapter = "psij"\nscheduler = "pbs"\noptions = ["pbs.l=x=1"]\n'
    file.write_text(file.read_text().replace("[spool]", "walltime_hours = 12\n[spool]") + text)
    home = open_home(folder)
    assert isinstance(home.adapter, PsijAdapter)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('[batch]\nadapter = "pbs"\n', "batch.adapter"),
        ('[batch]\nadapter = "slurm"\nqueue = "long"\n', "batch.queue"),
        ('[pilots]\ncount = 3\n[batch]\nadapter = "slurm"\nnodes = 4\n', ""),
        ("[pilots]\ncount = 3\n[batch]\nnodes = 2\n", ""),
        ('[pilots]\ncount = 3\n[batch]\nadapter = "htcondor"\nnodes = 2\n', ""),
        ('[batch]\nadapter = "htcondor"\nshared_filesystem = false\n', ""),
        ('walltime_hours = 1\n[batch]\nadapter = "psij"\n', ""),
        ('[batch]\nadapter = "psij"\nscheduler = "pbs"\n', ""),
        ('[batch]\nadapter = "psij"\nscheduler = "flux"\n', "batch.scheduler"),
        ('walltime_hours = 1\n[batch]\nadapter = "psij"\nscheduler = "pbs"\noptions = ["x"]\n', ""),
        ('[pilots]\nfolder = "p"\n[batch]\nadapter = "slurm"\nshared_filesystem = false\n', ""),
        ('[batch]\nadapter = "htcondor"\nshards = 0\n', "batch.shards"),
    ],
)
def test_what_would_start_no_batch_job_is_refused(tmp_path: Path, text: str, key: str) -> None:
    with pytest.raises(ConfigRefused) as caught:
        read(tmp_path, text)
    assert caught.value.fields["key"] == key


def test_the_profile_takes_from_the_scheduler_what_the_operator_does_not_say(
    tmp_path: Path,
) -> None:
    told = profile(read(tmp_path, "cpus = 8\ngpus = []\nwalltime_hours = 2\n"), LIMITS)
    assert (told.cpu_milli, told.gpus, told.walltime_ms) == (8000, (), 7_200_000)
    assert told.memory_mib == 256_000
    assert told.margin_ms == told.walltime_ms - told.task_ms == 120_000
    text = "walltime_hours = 2\n[pilots]\nstarting_s = 1\njitter_s = 30\nstop_s = 4\n"
    assert profile(read(tmp_path, text), LIMITS).margin_ms == 35_000
    found = profile(read(tmp_path, ""), LIMITS)
    assert (found.cpu_milli, found.walltime_ms) == (64_000, 86_400_000)
    assert profile(read(tmp_path, ""), None).margin_ms == 0  # of nothing
    assert found.gpus == (Gpu("a100", 0, 4),)
    unnamed = profile(read(tmp_path, ""), replace(LIMITS, gpus=()))
    assert unnamed.gpus is None  # sites need not name their GPUs to Slurm
    assert profile(read(tmp_path, "")).cpu_milli == 0
