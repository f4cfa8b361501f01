"""Small configs in every shape that productions have: made up here, named after what they show."""

from __future__ import annotations

from typing import Any

from central.iceprod.read import read
from central.iceprod.translate import Imported, Wanted, translate

Values = dict[str, Any]
ENV = (
    "env -i PYTHONNOUSERSITE=1 SHELL=/bin/sh OPENCL_VENDOR_PATH=$OPENCL_VENDOR_PATH"
    " http_proxy=$http_proxy TMP=$TMP TMPDIR=$TMPDIR _CONDOR_SCRATCH_DIR=$_CONDOR_SCRATCH_DIR"
    " CUDA_VISIBLE_DEVICES=$CUDA_VISIBLE_DEVICES COMPUTE=$COMPUTE"
    " GPU_DEVICE_ORDINAL=$GPU_DEVICE_ORDINAL HOME=$HOME "
)


def one_module(parameters: Values | None = None, version: float = 3.2, **module: Any) -> Values:
    """A config with a single module."""
    return {
        "version": version,
        "description": "one module",
        "steering": {"parameters": parameters or {}},
        "tasks": [{"name": "only", "trays": [{"modules": [{"src": "run.py"} | module]}]}],
    }


def showers() -> Values:
    """Schema 3: classes, seeds out of the job's number, temporary files, a GPU at the end."""
    return {
        "version": 3,
        "dataset": 412,
        "parent_id": 17,
        "categories": [],
        "difplus": None,
        "description": "showers",
        "options": {},
        "steering": {
            "batchsys": None,
            "data": [],
            "resources": [],
            "system": {},
            "parameters": {
                "SHOWER::seed": "$eval($eval($(dataset)*1000 + $(job))%10000)",
                "count": 25,
                "hall": "/cvmfs/hall_$steering(day).gz",
                "day": 57531,
                "energy": "1e5",
            },
        },
        "tasks": [
            _task(
                "showers",
                _class(
                    "shower.modules.Generator",
                    {
                        "seed": "$steering(SHOWER::seed)",
                        "nproc": "$(jobs_submitted)",
                        "number": "$(job)",
                        "events": "$eval($steering(count)*3)",
                        "hall": "$(hall)",
                        "emax": "$steering(energy)",
                        "fast": True,
                        "weights": [2, 2.5],
                    },
                    [_temporary("showers.gz", "output")],
                ),
                requirements={"disk": 20, "memory": 2.5},
            ),
            _task(
                "light",
                _class(
                    "light.Tracker",
                    {"infiles": ["showers.gz"], "outfile": "light.gz"},
                    [_temporary("showers.gz", "input"), _temporary("light.gz", "output")],
                ),
                depends=["showers"],
                requirements={"gpu": 1, "memory": 4, "time": 2},
            ),
        ],
    }


def variations() -> Values:
    """A tray that runs several times, with parameters named after its turn."""
    return {
        "version": 3.1,
        "description": "variations",
        "dataset": 7,
        "steering": {
            "parameters": {
                "ice": "models/$steering(ice::$(iter))",
                "ice::0": "base",
                "ice::1": "scatter.1",
                "stem": "$sprintf('%s_%06d.%06d',$steering(kind),$(dataset),$(job))",
                "kind": "numu",
            }
        },
        "tasks": [
            {
                "name": "vary",
                "trays": [
                    {
                        "name": "ices",
                        "iterations": 2,
                        "modules": [
                            {
                                "src": "vary.sh",
                                "env_clear": False,
                                "args": "--ice $steering(ice) --out $steering(stem).$(iter).gz",
                            }
                        ],
                        "data": [
                            {
                                "type": "job_temp",
                                "movement": "output",
                                "local": "$steering(stem).$(iter).gz",
                            }
                        ],
                    }
                ],
            }
        ],
    }


def filters() -> Values:
    """Files by address from task to task, options without a value, a folder for each thousand."""
    folder = "$sprintf('%05d-%05d',$eval($(job)//1000*1000),$eval($(job)//1000*1000+999))"
    name = "$steering(out).gz"
    return {
        "version": 3.1,
        "description": "filters",
        "steering": {
            "batchsys": {"condor": {"rank": "1"}},
            "parameters": {
                "folder": folder,
                "TARGET": "gsiftp://far.example/sim/$(dataset)/$(folder)",
                "out": "$sprintf('det.%04d',$(job))",
                "MCType": "weighted",
            },
        },
        "tasks": [
            _task(
                "detect",
                {
                    "src": "/sw/detect.py",
                    "args": {"type": "$steering(mctype)", "out": name, "q": None},
                    "env_shell": "/sw/env.sh v1",
                    "data": [
                        _permanent(f"$(TARGET)/{name}", name, "output"),
                        _permanent("$(TARGET)/h_$(job).pkl", "h.pkl", "output", "exists"),
                    ],
                },
                requirements={"memory": "3"},
            ),
            _task(
                "filter",
                {
                    "src": "bin/filter",
                    "args": ["-i", name, "--keep=$(job)"],
                    "data": [_permanent(f"$steering(TARGET)/{name}", name, "input")],
                },
                depends=["detect"],
                batchsys={"condor": {"requirements": "!regexp(X)"}},
            ),
        ],
    }


def made(config: Values, **wanted: Any) -> Imported:
    """Return what the import makes of a config."""
    return translate(read(config), Wanted(**wanted))


def _task(name: str, module: Values, **more: Any) -> Values:
    return {"name": name, "trays": [{"name": "", "iterations": 1, "modules": [module]}]} | more


def _class(name: str, args: Values, data: list[Values]) -> Values:
    return {
        "name": "",
        "src": "",
        "running_class": name,
        "args": args,
        "data": data,
        "env_clear": True,
        "env_shell": "/cvmfs/env meta/1",
        "classes": [],
        "projects": [],
        "resources": [],
        "parameters": {},
    }


def _temporary(local: str, movement: str) -> Values:
    return {
        "type": "job_temp",
        "movement": movement,
        "local": local,
        "remote": "",
        "compression": False,
    }


def _permanent(remote: str, local: str, movement: str, transfer: Any = True) -> Values:
    return {
        "type": "permanent",
        "movement": movement,
        "local": local,
        "remote": remote,
        "transfer": transfer,
    }
