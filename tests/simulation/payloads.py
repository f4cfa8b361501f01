"""What payloads do: most succeed, some fail, a few always, some write other bytes each time."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from bundle.dataset.spec import Dataset
from bundle.dataset.spec_hash import spec_hash
from bundle.fates import Fate
from bundle.records.segment import SegmentHeader
from pilot.core.agenda import Start
from tests.simulation.faults import Fault

if TYPE_CHECKING:
    from tests.simulation.world import World

FAILURES = (Fate.PAYLOAD_ERROR, Fate.OOM, Fate.TIME_LIMIT, Fate.NODE_FAILURE, Fate.STAGE_OUT)


class Payloads:
    """The payloads of one world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._chance = world.machine.chance("payloads")
        self._datasets: dict[bytes, Dataset] = {}
        self._loose: set[tuple[bytes, int]] = set()  # steps whose output differs between runs
        self._poison: set[tuple[bytes, int, int]] = set()

    def know(self, digest: bytes, dataset: Dataset) -> None:
        """Decide how a dataset's payloads behave."""
        if digest in self._datasets:
            return
        self._datasets[digest] = dataset
        for step in range(len(dataset.steps)):
            if self._chance.random() < self._world.plan.differing:
                self._loose.add((digest, step))
            for job in range(dataset.tasks_of(step)):
                if self._chance.random() < self._world.plan.poison:
                    self._poison.add((digest, step, job))

    def run(
        self, header: SegmentHeader, start: Start, inputs_are_here: bool
    ) -> tuple[Fate, list[bytes]]:
        """Return how a payload ended and the content of its outputs."""
        digest, (step, job) = header.dataset_digest, start.place
        if not inputs_are_here:
            return Fate.STAGE_IN, []
        if (digest, step, job) in self._poison:
            self._world.fire(Fault.POISON)
            return Fate.PAYLOAD_ERROR, []
        if self._world.faulty and self._chance.random() < self._world.plan.failing:
            self._world.fire(Fault.PAYLOAD_FAILED)
            return self._chance.choice(FAILURES), []
        salt = b""
        if (digest, step) in self._loose:
            salt = self._chance.randbytes(4)
            self._world.fire(Fault.PAYLOAD_DIFFERS)
        name = f"{header.dataset}/{job}/{step}/{start.generation}/{self._computes(digest, step)}"
        running = hashlib.sha256(name.encode() + salt + b"".join(start.consumed))
        count = len(self._datasets[digest].steps[step].outputs)
        return Fate.SUCCESS, [
            hashlib.sha256(running.digest() + bytes([number])).hexdigest().encode()
            for number in range(count)
        ]

    def _computes(self, digest: bytes, step: int) -> str:
        """Return what tells apart what documents of one dataset compute."""
        dataset = self._datasets[digest]
        return f"{dataset.seed} {dataset.steps[step].environment}"

    def spec_hash(self, document: bytes, step: int) -> bytes:
        """Return what tells what a step of a document computes."""
        return spec_hash(self._datasets[document], step)
