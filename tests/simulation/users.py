"""People: they submit, change their minds, repeat what was not answered, and keep a journal."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from bundle.dataset import spec
from bundle.dataset.spec import Command, Dataset, Input, Output, Per, Request, Step
from bundle.ids import DatasetId
from bundle.intervals import IntervalSet
from central.core.edit import Size, resized
from central.core.facts import ControlWord
from central.core.selection import ALL, Only
from tests.simulation.faults import Fault
from tests.simulation.machine import HOUR_US

if TYPE_CHECKING:
    from tests.simulation.world import World

RUN = Command(("/bin/true",))
AWAY = {
    ControlWord.SUSPEND: Fault.SUSPENDED,
    ControlWord.CANCEL: Fault.CANCELLED,
    ControlWord.RESET: Fault.RESET,
    ControlWord.TOMBSTONE: Fault.DELETED,
    ControlWord.EDIT: Fault.EDITED,
    ControlWord.ADOPT: Fault.ADOPTED,
}
EVERYTHING = frozenset({ControlWord.TOMBSTONE, ControlWord.EDIT})  # never of some tasks


@dataclass(frozen=True, slots=True)
class Asked:
    """One request of the client's journal, by the number of its submission."""

    key: str
    raw: bytes = b""
    submission: int = 0
    word: ControlWord | None = None
    jobs: IntervalSet | None = None
    steps: tuple[int, ...] | None = None
    size: Size | None = None  # in place of an edit's document
    only: Only = ALL


class User:
    """One person at a client that keeps a journal."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._chance = world.machine.chance("user")
        self.journal: list[Asked] = []
        self.datasets: dict[int, DatasetId] = {}  # by number of the submission
        self.shapes: dict[int, list[Dataset]] = {}  # every document it had, the newest last
        self._waiting: list[Asked] = []

    def begin(self, count: int) -> None:
        """Submit datasets and change minds over the faulty time."""
        machine = self._world.machine
        for number in range(count):
            machine.after(
                self._chance.uniform(0, self._world.faulty_us / 3), lambda n=number: self._submit(n)
            )
        for _ in range(self._world.plan.controls):
            machine.after(self._chance.uniform(4 * HOUR_US, self._world.faulty_us), self._change)

    def calm(self) -> None:
        """Resume and uncancel at last, so that what is left can end."""
        for number, dataset in list(self.datasets.items()):
            standing = self._world.center.standing(dataset)
            if self.shapes[number][-1].open:
                self._ask(self._resize(number, Size(open=False)))
            for word in (ControlWord.RESUME, ControlWord.UNCANCEL):
                opposite = ControlWord.SUSPEND if word is ControlWord.RESUME else ControlWord.CANCEL
                if opposite in standing and self._chance.random() < 0.8:
                    self._ask(Asked(f"calm {number} {word}", submission=number, word=word))

    def replay(self) -> None:
        """Say everything in the journal again: central was restored."""
        self._waiting = []
        for one in self.journal:
            self._send(one)

    def retry(self) -> None:
        """Say again what had no answer."""
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            self._send(one)

    def _submit(self, number: int) -> None:
        dataset = self._draw(number)
        raw = spec.encode(dataset)
        self.shapes[number] = [dataset]
        self._world.payloads.know(spec.dataset_digest(raw), dataset)
        self._ask(Asked(f"submit {number}", raw=raw, submission=number))

    def _change(self) -> None:
        if not self.datasets or not self._world.faulty:
            return
        number = self._chance.choice(sorted(self.datasets))
        shape = self.shapes[number][-1]
        words = (*ControlWord,) if self._chance.random() < 0.25 else (*ControlWord,)[:-1]
        word = self._chance.choice(words)
        if word is ControlWord.EDIT and self._chance.random() < 0.5:
            if self._world.center.leased(self.datasets[number]):
                self._world.fire(Fault.RESIZED)
            self._ask(self._resize(number, self._size(shape)))
            return
        jobs = steps = None
        raw = self._edited(number) if word is ControlWord.EDIT else b""
        if word not in EVERYTHING and self._chance.random() < 0.5:
            some = self._chance.sample(range(shape.jobs), self._chance.randint(1, shape.jobs))
            jobs = IntervalSet.of(some)
        if word not in EVERYTHING and self._chance.random() < 0.5:
            steps = (self._chance.randrange(len(shape.steps)),)
        if word in AWAY and self._world.center.leased(self.datasets[number]):
            self._world.fire(AWAY[word])
        only = ALL
        if word is ControlWord.RESET and self._chance.random() < 0.3:
            only = Only(soft=True)
        name = f"control {len(self.journal)}"
        self._ask(Asked(name, raw, number, word, jobs, steps, only=only))

    def _size(self, shape: Dataset) -> Size:
        """Draw a size: longer, shorter, open or closed."""
        match self._chance.choice(("more", "jobs", "open")):
            case "more":
                return Size(more=self._chance.randint(1, 3))
            case "jobs":
                return Size(jobs=self._chance.randint(1, 6))
            case _:
                return Size(open=not shape.open)

    def _resize(self, number: int, size: Size) -> Asked:
        """Return the question for a size; who answers makes the document."""
        known = self.shapes[number]
        known.append(resized(known[-1], size))
        return Asked(
            f"size {len(self.journal)}", submission=number, word=ControlWord.EDIT, size=size
        )

    def _edited(self, number: int) -> bytes:
        """Draw another document for a dataset, or one that it had; return its bytes."""
        chance, known = self._chance, self.shapes[number]
        shape, at = known[-1], chance.randrange(len(known[-1].steps))
        match chance.choice(("seed", "step", "request", "cap", "back")):
            case "seed":
                shape = replace(shape, seed=shape.seed + chance.randint(1, 3))
            case "step":
                shape = _with(shape, at, environment=(("TRY", str(chance.randint(1, 3))),))
            case "request":
                shape = _with(shape, at, request=Request(memory_mib=chance.choice((256, 1024))))
            case "cap":
                shape = _with(shape, at, failures_max=chance.randint(1, 4))
            case _:
                shape = chance.choice(known)
        known.append(shape)
        raw = spec.encode(shape)
        self._world.payloads.know(spec.dataset_digest(raw), shape)
        return raw

    def _ask(self, asked: Asked) -> None:
        self.journal.append(asked)
        self._world.machine.tell("user asks", asked.key, asked.word or "")
        self._send(asked)
        if self._world.faulty and self._chance.random() < 0.15:
            self._world.fire(Fault.REPEATED)
            self._send(asked)

    def _send(self, asked: Asked) -> None:
        center = self._world.center
        if asked.word is None:
            found = center.submit(asked.raw, asked.key)
            if found is not None:
                known = self.datasets.setdefault(asked.submission, found)
                if known != found:
                    assert center.restores, f"one request, two datasets: {known}, {found}"
                    self.datasets[asked.submission] = found
                return
        else:
            dataset = self.datasets.get(asked.submission)
            ask = center.edit if asked.word is ControlWord.EDIT else center.control
            if dataset is not None and ask(dataset, asked):
                return
        self._waiting.append(asked)

    def _draw(self, number: int) -> Dataset:
        """Return a small dataset: a chain, a fork, or a fan-in over all jobs."""
        chance, jobs = self._chance, self._chance.randint(1, 6)
        failures_max = chance.randint(1, 3)
        steps = [_step("generate", failures_max)]
        for name in ("propagate", "filter")[: chance.randint(0, 2)]:
            steps.append(_step(name, failures_max, chance.randrange(len(steps))))
        if chance.random() < 0.5:
            steps.append(_step("spectrum", failures_max, len(steps) - 1, per=Per.DATASET))
            if chance.random() < 0.3:
                steps.append(_step("plot", failures_max, len(steps) - 1))
        return Dataset(f"dataset-{number}", jobs, number, tuple(steps))


def _with(shape: Dataset, step: int, **changes: Any) -> Dataset:
    steps = list(shape.steps)
    steps[step] = replace(steps[step], **changes)
    return replace(shape, steps=tuple(steps))


def _step(name: str, failures_max: int, parent: int | None = None, per: Per = Per.JOB) -> Step:
    needs = () if parent is None else (parent,)
    inputs = () if parent is None else (Input(parent, 0, "in"),)
    return Step(
        name, RUN, per=per, needs=needs, inputs=inputs, outputs=(Output("out"),),
        failures_max=failures_max,
    )  # fmt: skip
