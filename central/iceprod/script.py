"""The commands of one task, as IceProd writes them into the script that a node runs.

Lines are put together without quoting, and the shell reads them: that is IceProd's way, and what
its users' arguments rely on.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from central.iceprod import calls
from central.iceprod.expand import Expander
from central.iceprod.fields import refused
from central.iceprod.holes import is_in
from central.iceprod.model import Config, Data, Module, Parameters, Task, Values
from central.iceprod.refusals import IceprodRefused

HOME = "HOME=${HOME:-$PWD}"
OS_ARCH = "OS_ARCH=$(/cvmfs/icecube.opensciencegrid.org/py3-v4.3.0/os_arch.sh)"
LINES_MAX = 20_000
_MACRO = re.compile(r"\$\w*\([^()]*\)")
_ADDRESS = re.compile(r"(?:file|https?|ftps?|gsiftp|pelican|osdf):")
_WRONG_WORDS = {False: ("n", "no", "not", "f", "false", "0"), True: ("y", "yes", "t", "true", "1")}


@dataclass(frozen=True, slots=True)
class Moved:
    """A file that the task fetches or delivers; all texts are expanded."""

    path: str
    url: str
    local: str
    kind: str
    is_output: bool
    is_optional: bool


@dataclass(frozen=True, slots=True)
class Scope:
    """What holds inside steering, a task, a tray or a module; names of files: inner ones first."""

    parameters: Values
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Script:
    """What a task does: its commands in order, files that move, and what stayed a macro."""

    commands: tuple[str, ...]
    moved: tuple[Moved, ...]
    unresolved: tuple[tuple[str, str], ...]
    passed_over: tuple[tuple[str, str], ...]
    noted: frozenset[tuple[str, str]]


def script(config: Config, task: Task, expander: Expander) -> Script:
    """Return what one task does. Raises IceprodRefused.

    Args:
        config: the whole config.
        task: one of its tasks.
        expander: made with `options_of` this task; its options change on the way.
    """
    return _Writer(config, task, expander).script()


class _Writer:
    """Goes through trays and modules as IceProd does, and keeps what they say."""

    def __init__(self, config: Config, task: Task, expander: Expander) -> None:
        self._config, self._task, self._expander = config, task, expander
        self._commands: list[str] = []
        self._moved: dict[tuple[str, str, bool], Moved] = {}
        self._unresolved: dict[tuple[str, str], None] = {}
        self._passed_over: dict[str, str] = {}
        # As IceProd does: what a tray's first turn made of these, its later turns begin with.
        self._written: dict[str, str] = {}
        self._before: list[str] = []

    def script(self) -> Script:
        steering = self._scope("steering", self._config.parameters, Scope({}), self._config.data)
        task = self._scope(self._task.path, self._task.parameters, steering, self._task.data)
        for place, tray in enumerate(self._task.trays):
            for iteration in range(tray.iterations):
                self._expander.options["iter"] = iteration
                self._commands.append(f"# tray {_line(tray.name or place)}, iteration {iteration}")
                inner = self._scope(tray.path, tray.parameters, task, tray.data)
                for module in tray.modules:
                    own = self._scope(module.path, module.parameters, inner, module.data)
                    self._module(module, own.parameters)
                    if len(self._commands) > LINES_MAX:
                        raise refused(tray.path, f"more than {LINES_MAX} commands")
        return Script(
            tuple(self._commands),
            tuple(self._moved.values()),
            tuple(self._unresolved),
            tuple(self._passed_over.items()),
            frozenset(self._expander.noted),
        )

    def _scope(self, path: str, own: Values, above: Scope, data: tuple[Data, ...]) -> Scope:
        """Return what holds inside, and note the files that move.

        `$(input)` and `$(output)` name the files of the scope that was entered last.
        """
        parameters = Parameters(dict(above.parameters) | dict(own))
        places = {name: f"{path}.parameters.{name}" for name in own}
        parameters.places = getattr(above.parameters, "places", {}) | places
        for name, value in own.items():
            self._expander.asking = places[name]
            if isinstance(value, str):  # lists and objects wait until a text names them
                parameters[name] = self._expanded(value, parameters, places[name])
        self._expander.asking = ""
        moved = [one for row in data for one in self._move(row, parameters)]
        inputs = *(one.local for one in moved if not one.is_output), *above.inputs
        outputs = *(one.local for one in moved if one.is_output), *above.outputs
        self._expander.options |= {"input": " ".join(inputs), "output": " ".join(outputs)}
        return Scope(parameters, inputs, outputs)

    def _move(self, data: Data, parameters: Values) -> list[Moved]:
        def text(value: Any, key: str) -> str:
            return self._text(value, parameters, f"{data.path}.{key}")

        word = str(self._expander.value(data.transfer, parameters)).lower()
        if word in _WRONG_WORDS[False]:
            self._passed_over[data.path] = f"{data.remote or data.local} as {data.local}"
            return []
        if is_in(word):
            reason = "it depends on the job, and all jobs of a document move the same files"
            raise refused(f"{data.path}.transfer", reason, "write maybe")
        if word not in (*_WRONG_WORDS[True], "maybe", "exists"):
            raise refused(f"{data.path}.transfer", f"{word!r} is none of true, false and maybe")
        remote, local = text(data.remote, "remote"), text(data.local, "local")
        url = remote
        if not _ADDRESS.match(remote):
            base = self._base(data.kind, parameters)
            url = posixpath.join(base, remote or local)
        local = local or posixpath.basename(remote)
        if not local:
            raise refused(data.path, f"{self._expander.shown(remote)!r} names no file")
        made = [
            Moved(data.path, url, local, data.kind, is_output, word[0] in "me")
            for is_output in (False, True)
            if data.movement in ("both", "output" if is_output else "input")
        ]
        for one in made:
            self._moved.setdefault((one.url, one.local, one.is_output), one)
        return made

    def _base(self, kind: str, parameters: Values) -> str:
        options = self._expander.options
        self._expander.note(f"options.{kind if kind in options else 'data_url'}")
        base = options.get(kind, options.get("data_url") if kind == "permanent" else "")
        return str(self._expander.value(base or "", parameters))

    def _module(self, module: Module, parameters: Values) -> None:
        source = self._written.get(f"{module.path}.src", module.src)
        source = self._text(source, parameters, f"{module.path}.src")
        args = self._expanded(module.args, parameters, f"{module.path}.args")
        path = f"{module.path}.configs"
        configs = self._expanded(dict(module.configs), parameters, path)
        configs = self._expanded(configs, parameters, path)
        self._look(configs, f"{module.path}.configs")
        for name, content in configs.items():
            file = _quoted(posixpath.basename(name))
            self._commands.append(
                f"cat > {file} <<'____CONFIG'\n{calls.as_json(content)}\n____CONFIG"
            )
        shell = self._text(
            self._written.get(f"{module.path}.env_shell", module.env_shell),
            parameters,
            f"{module.path}.env_shell",
        ).split()
        if shell:
            shell[0] = self._fetched(shell[0], f"{module.path}.env_shell", "./")
            self._written[f"{module.path}.env_shell"] = " ".join(shell)
        if module.src:
            fetched = self._fetched(source, f"{module.path}.src", "")
            if fetched != source:
                self._written[f"{module.path}.src"] = fetched
            words = calls.program(fetched) + self._arguments(args, module, parameters)
        else:
            args = self._expander.object(args, parameters)
            self._look(args, f"{module.path}.args")
            words = calls.running_class(*self._class(module, parameters), args)
        before = [*(calls.CLEARED if module.env_clear else ()), *shell]
        if shell:
            self._before = before
        if self._before and calls.OF_SHELL.search(" ".join(words)):
            self._commands.append(" ".join([*self._before, calls.FOUND_BY_SHELL]))
        if module.name:
            self._commands.append(f"# module {_line(module.name)}")
        self._commands.append(" ".join([*before, *words]))

    def _class(self, module: Module, parameters: Values) -> tuple[str, str]:
        name = self._text(module.running_class, parameters, f"{module.path}.running_class")
        package, _, last = name.rpartition(".")
        if not package or not last:
            shown = self._expander.shown(name)
            raise refused(f"{module.path}.running_class", f"{shown!r} is not module.Class")
        return package, last

    def _arguments(self, args: Any, module: Module, parameters: Values) -> list[str]:
        if isinstance(args, str) and args[:1] in ("{", "["):
            args = self._of_json(args, f"{module.path}.args")
        match args:
            case None | "":
                return []
            case {"args": list(first), "kwargs": dict(named)} if len(args) == 2:
                first = self._expander.object(first, parameters)
                named = self._expander.object(named, parameters)
            case str():
                first = [self._expander.value(one, parameters) for one in args.split()]
                named = {}
            case list():
                first, named = [self._expander.value(one, parameters) for one in args], {}
            case dict():
                first, named = [], self._expander.object(args, parameters)
            case _:
                first, named = [args], {}
        self._look(first[0] if len(first) == 1 else first, f"{module.path}.args")
        self._look(named, f"{module.path}.args")
        return [*map(calls.shown, first), *(calls.option(key, one) for key, one in named.items())]

    def _of_json(self, text: str, path: str) -> Any:
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            if is_in(text):
                self._expander.unsayable.append(f"{text}: it is no JSON for all jobs at once")
                return text
            reason = f"it begins like JSON and is none: {text[:80]}"
            hint = "IceProd stops there as well; write JSON, or a list of arguments"
            raise refused(path, reason, hint) from None

    def _fetched(self, source: str, path: str, before: str) -> str:
        """Note a program that is fetched from an address; return how it is called here."""
        if not _ADDRESS.match(source):
            return source
        name = posixpath.basename(source)
        moved = Moved(path, source, name, "permanent", is_output=False, is_optional=False)
        self._moved.setdefault((source, name, False), moved)
        return before + name

    def _expanded(self, value: Any, parameters: Values, path: str) -> Any:
        try:
            return self._expander.object(value, parameters)
        except IceprodRefused as error:
            raise type(error)(where=path, **error.fields) from None

    def _text(self, value: str, parameters: Values, path: str) -> str:
        found = self._expanded(value, parameters, path)
        self._look(found, path)
        return calls.shown(found) if found is not None else ""

    def _look(self, value: Any, path: str) -> None:
        """Note every macro that nothing resolved, with its place."""
        for where, text in _texts(value, path):
            for match in _MACRO.finditer(text):
                self._unresolved[(where, match.group())] = None


def _texts(value: Any, path: str) -> Iterator[tuple[str, str]]:
    match value:
        case str():
            yield path, value
        case list():
            for place, one in enumerate(value):
                yield from _texts(one, f"{path}[{place}]")
        case dict():
            for key, one in value.items():
                yield from _texts(one, f"{path}.{key}")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _line(text: Any) -> str:
    return re.sub(r"[\x00-\x1f\x7f]+", " ", str(text))
