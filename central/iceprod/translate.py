"""From the model of a config to a Dataset for all its jobs, and what became otherwise.

Commands are expanded once with stand-ins for the job's number, then compared with what IceProd's
rules give for single jobs: where they differ the task is remarked, never passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import count

from bundle.dataset import graph, macros, seeds
from bundle.dataset.asks import Account, Requires
from bundle.dataset.names import STEP_NAME
from bundle.dataset.refusals import DatasetRefused, meant
from bundle.dataset.spec import Command, Dataset, Step
from bundle.limits import NAME_CHARS_MAX
from central.iceprod import movement
from central.iceprod.expand import Expander
from central.iceprod.fields import refused
from central.iceprod.holes import Hole, Holes
from central.iceprod.model import Config, Remark, Task, Weight
from central.iceprod.movement import Movement, Movements
from central.iceprod.options import options_of
from central.iceprod.read import IN_DESCRIPTION
from central.iceprod.requirements import Asked, asked
from central.iceprod.script import HOME, OS_ARCH, Script, script
from central.iceprod.unused import unused

SAMPLES = (0, 1, 2, 3, 7, 9, 10, 11, 99, 100, 101, 999, 1000, 1001, 12_345, 999_999)
DESCRIPTION_CHARS_MAX = 8000
JOBS_ASKED_MAX = 2000  # more are not looked at for what they ask of a node
IDS = {"dataset_id": "$PULK_DATASET", "task_id": "$PULK_TASK"}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a config does not say: how many jobs, and under which name and number."""

    jobs: int = 1
    name: str = ""
    number: int | None = None


@dataclass(frozen=True, slots=True)
class Imported:
    """A checked dataset, and a remark for everything that is not simply the same."""

    dataset: Dataset
    remarks: tuple[Remark, ...]

    def lost(self) -> bool:
        """Return whether anything was not carried over."""
        return any(one.weight is Weight.LOST for one in self.remarks)


def translate(config: Config, wanted: Wanted) -> Imported:
    """Return the dataset of a config. Raises IceprodRefused, DatasetRefused."""
    try:
        return _Translation(config, wanted).imported()
    except RecursionError:
        raise refused("", "it is nested too deep", "flatten it") from None


def commands(config: Config, wanted: Wanted, job: int) -> dict[str, tuple[str, ...]]:
    """Return the commands of each task of one job, by IceProd's rules alone.

    `$choice` draws by the seed that Pulk gives to the task. Raises IceprodRefused.
    """
    translation = _Translation(config, wanted)
    return {
        task.name: translation.of_job(index, job).commands
        for index, task in enumerate(config.tasks)
    }


class _Translation:
    """One import: the config, what was wanted, and the remarks so far."""

    def __init__(self, config: Config, wanted: Wanted) -> None:
        self._config, self._wanted = config, wanted
        self._holes = Holes()
        self._parameters: dict[str, str] = {}
        self._unsayable: dict[int, list[str]] = {}
        number = config.number if wanted.number is None else wanted.number
        if number is None:
            stated = config.options.get("dataset")
            number = stated if isinstance(stated, int) and 0 <= stated < 2**62 else None
        self._has_number = number is not None
        self._number = number or 0
        if wanted.number is not None and "dataset" in config.top:
            self._config = replace(config, top=dict(config.top) | {"dataset": wanted.number})
        self._remarks = list(config.remarks)
        self._noted: set[tuple[str, str]] = set()

    def imported(self) -> Imported:
        tasks = self._config.tasks
        scripts = [self._for_all(index) for index in range(len(tasks))]
        moving = Movements(tasks, scripts)
        asks = [self._asked(index) for index in range(len(tasks))]
        movements = moving.all()
        self._remarks += moving.remarks
        names = _names(tasks)
        steps = tuple(
            self._step(index, names[index], scripts[index], movements[index], asks[index])
            for index in range(len(tasks))
        )
        dataset = Dataset(
            name=_clean(self._wanted.name, NAME_CHARS_MAX) or f"iceprod-{self._number}",
            jobs=self._wanted.jobs,
            seed=self._number,
            steps=steps,
            description=self._description(),
            account=self._account(asks),
            parameters=tuple(sorted(self._parameters.items())),
        )
        try:
            graph.check(dataset)
        except DatasetRefused as error:
            where = re.sub(r"^steps\[(.*)\.needs\b", r"tasks[\1.depends", error.where)
            where = re.sub(r"^steps\[", "tasks[", where)
            raise type(error)(where=where, **error.fields) from None
        for index in range(len(tasks)):
            self._compare(dataset, index, scripts[index])
        self._remarks += unused(self._config, self._noted)
        if not self._has_number and "(dataset)" in str(self._config):
            words = "no number is stated: $(dataset) is 0, unless --number gives one"
            self._remarks.append(Remark("dataset", Weight.CHANGED, words))
        return Imported(dataset, tuple(dict.fromkeys(self._remarks)))

    def of_job(self, index: int, job: int) -> Script:
        """Return what one task of one job does, by IceProd's rules."""
        seed = seeds.seed(self._number, job, index)
        expander = self._expander(index, job, self._wanted.jobs)
        turns = count(1)
        expander.draw = lambda _text, among: _drawn(next(turns), seed) % among
        return script(self._config, self._config.tasks[index], expander)

    def _for_all(self, index: int) -> Script:
        """Return what one task does in every job, with holes where it depends on the job."""
        task = self._config.tasks[index]
        job = int(self._holes.text(Hole("job")))
        jobs = int(self._holes.text(Hole("jobs", is_varying=False)))
        expander = self._expander(index, job, jobs)
        expander.holes = self._holes
        turns = count(1)
        expander.draw = lambda text, _among: self._draw(text, next(turns))
        made = script(self._config, task, expander)
        for words in dict.fromkeys(expander.doubtful):
            self._lose(task.path, f"{self._shown(words)} may differ from what IceProd would make")
        self._unsayable[index] = list(dict.fromkeys(map(self._shown, expander.unsayable)))
        for path, file in made.passed_over:
            words = f"transfer says no: {file} is left out"
            self._remarks.append(Remark(path, Weight.CHANGED, words))
        self._noted |= made.noted
        return made

    def _draw(self, text: str, turn: int) -> str:
        words = "the choice follows the task's seed, so a second try chooses the same"
        self._remarks.append(
            Remark("$choice", Weight.CHANGED, f"{self._shown(text)[:100]}: {words}")
        )
        return f"seed*{_factor(turn)}%2147483647//64"

    def _expander(self, index: int, job: int, jobs: int) -> Expander:
        options = options_of(self._config, self._config.tasks[index], self._number, job, jobs)
        return Expander(self._config, options, lambda _text, _count: 0)

    def _unresolved(self, path: str, macro: str) -> None:
        name = macro.partition("(")[2].rstrip(")")
        if name in IDS:
            words = f"{macro} is an id of IceProd's: write {IDS[name]}, which the node fills in"
            self._lose(path, words)
            return
        known = {*self._config.parameters, *self._config.options, "job", "jobs_submitted", "iter"}
        by_case = [one for one in known if one.lower() == name.lower()]
        hint = f"did you mean {by_case[0]}?" if by_case else meant(name, known, "define it")
        words = f"{macro} names nothing and stays as text, as in IceProd: {hint}"
        self._lose(path, words)

    def _step(self, index: int, name: str, made: Script, moves: Movement, ask: Asked) -> Step:
        lines = ["set -e", HOME, *movement.before_lines(moves), *made.commands]
        if any("$OS_ARCH" in one for one in made.commands):
            lines.insert(1, OS_ARCH)
        text = "\n".join([*lines, *movement.after_lines(moves)])
        return Step(
            name=name,
            run=Command(("sh", "-c", self._holes.said(text, self._choose))),
            needs=moves.needs,
            inputs=moves.inputs,
            outputs=moves.outputs,
            request=ask.request,
            requires=Requires(os=ask.os),
            container=self._config.tasks[index].container,
        )

    def _choose(self, hole: Hole) -> str:
        """Return the macro of a choice; each text becomes a parameter of the dataset."""
        names = []
        for text in hole.choices:
            said = self._holes.said(text, self._choose)
            known = {value: name for name, value in self._parameters.items()}
            name = known.get(said, f"text{len(self._parameters)}")
            self._parameters[name] = said
            names.append(name)
        return f"$(={hole.expression}?{' '.join(names)})"

    def _compare(self, dataset: Dataset, index: int, made: Script) -> None:
        """Remark a task that is not in every job that is tried what IceProd makes of it."""
        task = self._config.tasks[index]
        text = self._holes.said(_all_of(made), self._choose)
        unresolved: dict[str, str] = {}
        for job in dict.fromkeys((*SAMPLES, dataset.jobs - 1)):
            single = self.of_job(index, job)
            self._noted |= single.noted
            unresolved = dict(single.unresolved) | unresolved
            if macros.expand(text, dataset, index, job) != _all_of(single):
                why = "; ".join(self._unsayable[index][:5]) or "types that differ from job to job"
                words = f"what job {job} runs differs from what IceProd would run: {why}"
                self._lose(task.path, words)
                break
        for path, macro in unresolved.items():
            self._unresolved(path, macro)

    def _asked(self, index: int) -> Asked:
        task, jobs = self._config.tasks[index], self._wanted.jobs
        if not any("$" in str(one) for one in task.requirements.values()):
            return asked(task, [dict(task.requirements)], self._remarks)
        tried = dict.fromkeys((*range(min(jobs, JOBS_ASKED_MAX)), jobs - 1))
        expanders = [self._expander(index, job, jobs) for job in tried]
        found = [one.object(dict(task.requirements), {}) for one in expanders]
        self._noted.update(*(one.noted for one in expanders))
        return asked(task, found, self._remarks)

    def _account(self, asks: Iterable[Asked]) -> Account:
        sites = {one.site for one in asks}
        if len(sites) == 1 and all(sites):
            return Account(allow=tuple(sites))
        for task, one in zip(self._config.tasks, asks, strict=True):
            if one.site:
                words = f"sites hold for all steps of a dataset, so {one.site!r} was left out"
                self._lose(f"{task.path}.requirements.site", words)
        return Account()

    def _description(self) -> str:
        rows = [_clean(self._config.description, DESCRIPTION_CHARS_MAX)]
        for key in IN_DESCRIPTION:
            if found := self._config.top.get(key):
                rows.append(f"IceProd {key.removesuffix('_id')}: {_clean(str(found), 500)}")
        return "\n".join(one for one in rows if one)

    def _shown(self, text: str) -> str:
        return self._holes.said(text, lambda hole: f"$(={hole.expression}?...)").replace("$$", "$")

    def _lose(self, path: str, words: str) -> None:
        self._remarks.append(Remark(path, Weight.LOST, words))


def _all_of(script: Script) -> str:
    """Return commands and files of a task as one text, to be compared."""
    moved = (f"{one.url}\n{one.local}\n{one.is_output}" for one in script.moved)
    return "\n".join((*script.commands, *moved))


def _drawn(turn: int, seed: int) -> int:
    """Return what the seed draws at a turn: each choice of a task by itself."""
    return seed * _factor(turn) % 2147483647 // 64


def _factor(turn: int) -> int:
    return pow(48271, turn, 2147483647)


def _names(tasks: tuple[Task, ...]) -> list[str]:
    """Return a step's name for each task: its own, as far as it is one."""
    made: list[str] = []
    for task in tasks:
        word = re.sub(r"[^A-Za-z0-9_.+-]+", "_", task.name)[:120]
        first = name = word if STEP_NAME.fullmatch(word) else f"_{word}"
        number = 2
        while name in made:
            name, number = f"{first}-{number}", number + 1
        made.append(name)
    return made


def _clean(text: str, chars_max: int) -> str:
    return re.sub(r"[\x00-\x1f\x7f\ud800-\udfff]+", " ", text)[:chars_max].strip()
