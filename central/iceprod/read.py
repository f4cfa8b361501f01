"""From the JSON of an IceProd config, schema 3, 3.1 or 3.2, to its model.

Whatever the model has no place for becomes a remark; a wrong type is refused with its path.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from bundle.dataset.refusals import meant
from central.iceprod.fields import Fields, refused
from central.iceprod.model import Config, Data, Module, Remark, Task, Tray, Weight
from central.iceprod.refusals import UnknownVersion

VERSIONS = (3.0, 3.1, 3.2)
UNSTATED_VERSION = 3.1  # the last that allows everything which 3.x knows
KINDS = ("permanent", "job_temp", "dataset_temp", "site_temp")
MOVEMENTS = ("input", "output", "both")
ITERATIONS_MAX = 10_000
OTHERS = "submit that one first, then write its step into needs, by hand"
OLD_LISTS = ("resources", "classes", "projects")  # of schema 3


def read(value: Any) -> Config:
    """Return the model of a config's JSON values. Raises IceprodRefused."""
    remarks: list[Remark] = []
    top = Fields(value, "", remarks)
    version = _version(top)
    steering = Fields(top.table("steering"), "steering", remarks)
    tasks = top.rows("tasks", least=1)
    names = [_task_name(one, path) for path, one in tasks]
    read_by = _Reader(names, remarks)
    config = Config(
        version=version,
        description=top.text("description"),
        number=_number(top),
        top=_top(value),
        options=top.table("options"),
        parameters=steering.table("parameters"),
        system=None if steering.get("system") is None else steering.table("system"),
        metadata=_metadata(top),
        data=read_by.data(steering),
        tasks=tuple(read_by.task(one, path) for path, one in tasks),
        remarks=(),
    )
    steering.lost("batchsys", "words for a batch system: [site] of relay.toml is the place")
    read_by.old_lists(steering)
    top.lost("difplus", "metadata have no place in a document; macros find them")
    for key in ("parent_id", "categories"):
        if top.get(key):
            words = "it stands in the description"
            remarks.append(Remark(top.at(key), Weight.CHANGED, words))
    steering.close()
    top.close()
    return replace(config, remarks=tuple(remarks))


class _Reader:
    """Reads what nests; knows the names of all tasks."""

    def __init__(self, names: list[str], remarks: list[Remark]) -> None:
        self._names, self._remarks = names, remarks

    def task(self, value: Any, path: str) -> Task:
        row = Fields(value, path, self._remarks)
        name = row.text("name")
        if self._names.count(name) > 1:
            raise refused(row.at("name"), f"two tasks have the name {name!r}")
        task = Task(
            path=path,
            name=name,
            parameters=row.table("parameters"),
            data=self.data(row),
            depends=self._depends(row),
            requirements=row.table("requirements"),
            trays=tuple(self._tray(one, at) for at, one in row.rows("trays", least=1)),
        )
        row.lost("batchsys", "words for a batch system: [site] of relay.toml is the place")
        row.lost("container", "the commands run outside of it: name it in the command yourself")
        row.lost("task_files", "files that IceProd's API lists for each task are not known here")
        if row.get("token_scopes"):
            words = "not needed: files travel in bundles, not with tokens"
            row.remark(row.at("token_scopes"), words, Weight.CHANGED)
        self.old_lists(row)
        row.close()
        return task

    def data(self, row: Fields) -> tuple[Data, ...]:
        return tuple(self._data(one, path) for path, one in row.rows("data"))

    def old_lists(self, row: Fields) -> None:
        for key in OLD_LISTS:
            row.lost(key, "of schema 3: what it downloads or unpacks must be there already")

    def _depends(self, row: Fields) -> tuple[int, ...]:
        found: list[int] = []
        for path, one in row.rows("depends"):
            if isinstance(one, str) and one in self._names:
                found.append(self._names.index(one))
            elif isinstance(one, int) and 0 <= one < len(self._names):
                found.append(one)
            elif isinstance(one, str) and ":" in one:
                row.remark(path, f"{one!r} is a task of another dataset: {OTHERS}")
            else:
                hint = meant(str(one), self._names, "name one of the tasks")
                raise refused(path, f"there is no task {one!r}", hint)
        return tuple(dict.fromkeys(found))

    def _tray(self, value: Any, path: str) -> Tray:
        row = Fields(value, path, self._remarks)
        iterations = 1 if row.get("iterations") is None else row.get("iterations")
        if isinstance(iterations, bool) or not isinstance(iterations, int):
            raise refused(row.at("iterations"), "a whole number is wanted here")
        if not 0 <= iterations <= ITERATIONS_MAX:
            raise refused(row.at("iterations"), f"at most {ITERATIONS_MAX} are read")
        tray = Tray(
            path=path,
            name=row.text("name"),
            parameters=row.table("parameters"),
            data=self.data(row),
            iterations=iterations,
            modules=tuple(self._module(one, at) for at, one in row.rows("modules", least=1)),
        )
        self.old_lists(row)
        row.close()
        return tray

    def _module(self, value: Any, path: str) -> Module:
        row = Fields(value, path, self._remarks)
        module = Module(
            path=path,
            name=row.text("name"),
            parameters=row.table("parameters"),
            data=self.data(row),
            src=row.text("src"),
            running_class=row.text("running_class"),
            args=row.get("args"),
            env_shell=row.text("env_shell"),
            env_clear=row.flag("env_clear", True),
            configs=row.table("configs"),
        )
        if not module.src and not module.running_class:
            raise refused(path, "neither src nor running_class says what to run")
        if not module.src and "." not in module.running_class.strip("."):
            raise refused(row.at("running_class"), "write module.Class")
        self.old_lists(row)
        row.close()
        return module

    def _data(self, value: Any, path: str) -> Data:
        row = Fields(value, path, self._remarks)
        transfer = True if row.get("transfer") is None else row.get("transfer")
        if not isinstance(transfer, (bool, int, float, str)):
            raise refused(row.at("transfer"), "true, false or maybe is wanted here")
        data = Data(
            path=path,
            remote=row.text("remote"),
            local=row.text("local"),
            kind=_one_of(row, "type", KINDS),
            movement=_one_of(row, "movement", MOVEMENTS),
            transfer=transfer,
        )
        if not data.remote and not data.local:
            raise refused(path, "neither remote nor local says which file is meant")
        row.lost("compression", "nothing is packed or unpacked on the way: do it in the command")
        row.close()
        return data


def _one_of(row: Fields, key: str, known: tuple[str, ...]) -> str:
    word = row.text(key).lower() or known[0]
    if word not in known:
        hint = meant(word, known, f"one of {', '.join(known)}")
        raise refused(row.at(key), f"{word!r} is unknown", hint)
    return word


def _version(top: Fields) -> float:
    version = top.get("version")
    if version is None:
        words = f"no version is stated: read as {UNSTATED_VERSION}"
        top.remark("version", words, Weight.CHANGED)
        return UNSTATED_VERSION
    try:
        found = float(version)
    except (TypeError, ValueError):
        found = 0.0
    if found not in VERSIONS:
        reason = f"version {str(version)[:50]!r} is none of 3, 3.1 and 3.2"
        hint = "convert it with IceProd's own tools"
        raise UnknownVersion(where="version", reason=reason, hint=hint)
    return found


def _number(top: Fields) -> int | None:
    number = top.get("dataset")
    if isinstance(number, str) and number.isascii() and number.isdigit() and len(number) < 19:
        number = int(number)
    is_number = isinstance(number, int) and not isinstance(number, bool)
    return number if is_number and 0 <= number < 2**62 else None


def _metadata(top: Fields) -> dict[str, Any]:
    found = top.table("difplus")
    both = [found.get(key) for key in ("plus", "dif")]
    return {key: one for row in both if isinstance(row, dict) for key, one in row.items()}


def _top(value: dict[str, Any]) -> dict[str, Any]:
    """What a bare macro can find at the top: everything that is no object itself."""
    return {key: one for key, one in value.items() if not isinstance(one, dict)}


def _task_name(value: Any, path: str) -> str:
    row = Fields(value, path, [])
    name = row.text("name")
    if not name:
        raise refused(row.at("name"), "a task needs a name")
    return name
