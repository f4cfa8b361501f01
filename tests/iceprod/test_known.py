"""The configs of ../shared/data/iceprod: what jobs 0, 1 and 999 run, worked out by hand."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

import pytest

from bundle.dataset import macros
from bundle.dataset.spec import Command
from central import document
from central.iceprod.load import load
from central.iceprod.stand_in import stand_in
from central.iceprod.translate import Imported, Wanted, translate
from tests.conftest import SHARED_DATA
from tests.loop.conftest import assert_sound, rehearse

FOLDER = SHARED_DATA / "iceprod"
KNOWN = (
    *("corsika_he", "corsika_le", "corsika_v2_5task_gpu", "numu_he", "numu_me"),
    *("unit_v3_configs_expansion", "unit_v3_iterations_expansion", "unit_v3_token_transfer"),
)
JOBS = (0, 1, 999)


@lru_cache
def imported(name: str, jobs: int = 1000, number: int | None = None) -> Imported:
    path = FOLDER / f"{name}.json"
    if not path.is_file():
        pytest.skip("the configs (../shared/data/iceprod) are not here")
    return translate(load(path), Wanted(jobs, "", number))


def runs(made: Imported, step: str, job: int) -> str:
    """Return the script of a step in a job."""
    index = [one.name for one in made.dataset.steps].index(step)
    command = made.dataset.steps[index].run
    assert isinstance(command, Command)
    return macros.expand(command.argv[-1], made.dataset, index, job)


def given(script: str, place: int = 0) -> dict[str, object]:
    """Return what the class at a place in the script is given."""
    found = script.split("json.loads('''")[place + 1].partition("''')")[0]
    values: dict[str, object] = json.loads(found)
    return values


@pytest.mark.parametrize("name", KNOWN)
def test_every_config_becomes_a_document_that_is_read_back_as_it_was(name: str) -> None:
    dataset = imported(name).dataset
    assert document.parse(document.render(dataset), None, "again") == dataset


@pytest.mark.parametrize("job", JOBS)
def test_the_background_of_numu_me(job: int) -> None:
    """Dataset 30006: 30006 * 100000 + job, modulo 10^8, is 600000 + job."""
    script = runs(imported("numu_me"), "background", job)
    seeds = {0: 600000, 1: 600001, 999: 600999}
    assert "/py2-v2/icetray-env simulation/V05-01-00 python - <<____HERE\n" in script
    assert "from icecube.simprod.modules import CorsikaGenerator\n" in script
    assert given(script) == {
        "corsikaName": "dcorsika",
        "CORSIKAseed": seeds[job],
        "corsikaVersion": "v6960-5comp",
        "EnableHistogram": True,
        "eprimarymax": 1e11,
        "eprimarymin": 600,
        "gcdfile": "/cvmfs/icecube.opensciencegrid.org/data/GCD/"
        "GeoCalibDetectorStatus_2016.57531_V0.i3.gz",
        "HistogramFilename": "histo.pkl",
        "MakeFIFO": False,
        "nproc": 1000,
        "nshowers": 450,
        "outputfile": "corsika_bg.i3.gz",
        "oversampling": 4,
        "procnum": job,
        "PropagateMuons": False,
        "ranpri": 2,
        "seed": 30006,
        "skipoptions": ["compress"],
        "summaryfile": "bgsummary.xml",
        "UsePipe": False,
    }


@pytest.mark.parametrize("job", JOBS)
def test_the_four_ice_models_of_numu_me(job: int) -> None:
    """A tray with four iterations of two classes; `IceModelTarball::$(iter)` names the model."""
    script = runs(imported("numu_me"), "hits", job)
    models = ("base", "ellipse-scat.1", "ellipse-abs.1", "ellipse-abs-scat.m071")
    for turn, model in enumerate(models):
        hits, merge = given(script, 2 * turn), given(script, 2 * turn + 1)
        for one in (hits, merge):
            place = "/cvmfs/icecube.opensciencegrid.org/data/icevariations/clsim-4.0.5/"
            assert one["IceModelLocation"] == place + model
            assert (one["procnum"], one["nproc"], one["seed"]) == (job, 1000, 30006)
        assert hits["inputfilelist"] == ["nugen.i3.gz"]
        assert (merge["inputfile"], merge["outputfile"]) == ("signalhits.i3", f"hits_{turn}.i3.gz")


@pytest.mark.parametrize("job", JOBS)
def test_the_showers_of_corsika_le(job: int) -> None:
    """Dataset 30004: 30004 * 100000 + job, modulo 10^8; "1e5" is a number when it stands alone."""
    found = given(runs(imported("corsika_le"), "generate", job))
    wanted = {
        "CORSIKAseed": {0: 400000, 1: 400001, 999: 400999}[job],
        "corsikaVersion": 75600,
        "eprimarymax": 100000.0,
        "nshowers": 5000,
        "pgam": [2.65, 2.6, 2.6, 2.6, 2.6],
        "procnum": job,
        "seed": 30004,
    }
    assert {key: found[key] for key in wanted} == wanted


@pytest.mark.parametrize("job", JOBS)
def test_the_filters_of_the_chain_of_five(job: int) -> None:
    """Given the number 21002; names have six digits of dataset and job, folders are thousands."""
    made = imported("corsika_v2_5task_gpu", jobs=2000, number=21002)
    name = f"IC86.2023_corsika.021002.{ {0: '000000', 1: '000001', 999: '000999'}[job] }.i3.zst"
    lines = runs(made, "filtering", job).splitlines()
    cvmfs = "/cvmfs/icecube.opensciencegrid.org"
    gcd = f"--gcd={cvmfs}/data/GCD/GeoCalibDetectorStatus_2020.Run134142.Pass2_V0.i3.gz"
    scripts = f"{cvmfs}/py3-v4.1.1/metaprojects/icetray/v1.3.3/filterscripts/resources/scripts"
    tables = f"--photonicsdir={cvmfs}/data/photon-tables"
    commands = [one.partition(" python ")[2] for one in lines if " python " in one]
    assert commands == [
        f"{scripts}/SimulationFiltering.py --output=PFFilt_{name} {tables} {gcd}"
        f" --needs_wavedeform_spe_corr --input={name} --MinBiasPrescale=1000",
        f"{scripts}/offlineL2/process.py --output=Level2_{name} {tables} {gcd}"
        f" --input=PFFilt_{name} --simulation",
    ]
    first = given(runs(made, "generate", job))
    assert first["CORSIKAseed"] == {0: 200000, 1: 200001, 999: 200999}[job]  # 2100200000 + job


@pytest.mark.programs
@pytest.mark.parametrize("name", ["corsika_v2_5task_gpu", "numu_me"])
def test_one_of_them_is_rehearsed_with_stand_ins(tmp_path: Path, name: str) -> None:
    dataset = tmp_path / "dataset.json"
    made = stand_in(imported(name, jobs=3).dataset)
    dataset.write_text(json.dumps(document.render(made)))
    summary = rehearse(dataset, tmp_path / "rehearsal")
    assert_sound(summary)
    assert summary["done"] == 3 * len(made.steps)
