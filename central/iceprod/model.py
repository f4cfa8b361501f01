"""A config of IceProd as frozen values, whichever schema it was written for.

`path` is where a thing stands in the file. Parameters, options and arguments stay as JSON gave
them: what they mean is decided when macros are expanded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

Values = Mapping[str, Any]


class Parameters(dict[str, Any]):
    """The parameters that hold somewhere; `places` are the paths they stand at in the config."""

    places: dict[str, str]


class Weight(StrEnum):
    """How grave a remark is: something is missing, or it is done in another way."""

    LOST = "not carried over"
    CHANGED = "carried over in another way"


@dataclass(frozen=True, slots=True, order=True)
class Remark:
    """What became of one place in a config, where it is not simply the same."""

    path: str
    weight: Weight
    words: str


@dataclass(frozen=True, slots=True)
class Data:
    """A file that is moved. `transfer` is as written: a flag, a number or a word."""

    path: str
    remote: str
    local: str
    kind: str
    movement: str
    transfer: bool | int | float | str


@dataclass(frozen=True, slots=True)
class Module:
    """One program of a tray; either `src` or `running_class` says which."""

    path: str
    name: str
    parameters: Values
    data: tuple[Data, ...]
    src: str
    running_class: str
    args: Any
    env_shell: str
    env_clear: bool
    configs: Values


@dataclass(frozen=True, slots=True)
class Tray:
    """Modules that run one after the other, `iterations` times."""

    path: str
    name: str
    parameters: Values
    data: tuple[Data, ...]
    iterations: int
    modules: tuple[Module, ...]


@dataclass(frozen=True, slots=True)
class Task:
    """What IceProd gives to a batch system; `depends` are places in the list of tasks."""

    path: str
    name: str
    parameters: Values
    data: tuple[Data, ...]
    depends: tuple[int, ...]
    requirements: Values
    trays: tuple[Tray, ...]
    container: str = ""


@dataclass(frozen=True, slots=True)
class Config:
    """The whole; `top` is what a bare macro finds beside the options, `number` the dataset's."""

    version: float
    description: str
    number: int | None
    top: Values
    options: Values
    parameters: Values
    system: Values | None
    metadata: Values
    data: tuple[Data, ...]
    tasks: tuple[Task, ...]
    remarks: tuple[Remark, ...]
