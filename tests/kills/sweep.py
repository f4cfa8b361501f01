"""Running acts in a child that is struck at one system call, and judging what is left."""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from bundle.errors import PulkError
from tests.kills.acts import ACTS, Act
from tests.kills.plant import Place, Plant
from tests.testbed.tracer import Call, Watch

PAUSE_S = 0.2  # between tries
Point = tuple[str, str, int]  # system call, act, which of that name in it
Strike = Callable[[Call], int]


@dataclass(slots=True)
class Ran:
    """What a run came to. `answers`: what it told, each before anything else happened."""

    calls: list[Call] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)
    status: int = 0


@dataclass(slots=True)
class Started:
    """An act and the central that it starts from."""

    name: str
    act: Act
    template: Plant
    place: Place

    @classmethod
    def at(cls, place: Place, name: str) -> Started:
        template = place.plant()
        act = ACTS[name](template)
        if template.opened is not None:
            template.close()
        return cls(name, act, template, place)

    def points(self) -> list[Point]:
        """All calls of a run that nothing strikes, which must be right itself."""
        copy = self.place.copy(self.template)
        ran = run(copy, self.act, lambda _: 0)
        assert ran.status == 0 and len(ran.answers) == 1, ran
        self.judge(copy, ran)
        return named(self.name, ran.calls)

    def judge(self, plant: Plant, ran: Ran) -> None:
        """What was told is true after a new start, what was not can be done; nothing is double."""
        act = self.act
        plant.open()
        if ran.answers:
            act.check(plant)
            assert plant.counts() == act.counts
        answers = {*ran.answers, act.do(plant), act.do(plant)}
        assert len(answers) == 1, answers
        act.check(plant)
        assert plant.counts() == act.counts
        assert not list(plant.home.uploads.iterdir())
        plant.close()
        found = plant.examine()
        assert (found["attempts"], found["wall_ms"]) == (act.attempts, act.wall_ms)
        assert not [one for one in plant.home.archive.rglob("*") if one.name.startswith(".")]
        self.place.drop(plant)


def named(act: str, calls: Iterable[Call]) -> list[Point]:
    """Return calls as points."""
    return named_calls(act, (one.name for one in calls))


def named_calls(act: str, names: Iterable[str]) -> list[Point]:
    """Return calls, by their names, as points."""
    seen: Counter[str] = Counter()
    found = []
    for name in names:
        found.append((name, act, seen[name]))
        seen[name] += 1
    return found


def killed_at(started: Started, number: int) -> Point | None:
    """Kill central right before its n-th call, and judge; return which that was."""
    copy = started.place.copy(started.template)
    ran = run(copy, started.act, killing(number))
    if len(ran.calls) < number:
        assert ran.status == 0, ran.troubles
    else:
        assert os.WIFSIGNALED(ran.status), ran
    started.judge(copy, ran)
    return named(started.name, ran.calls)[-1] if len(ran.calls) == number else None


def killing(number: int) -> Strike:
    """Kill at the n-th call, once."""
    seen = 0

    def strike(call: Call) -> int:
        nonlocal seen
        seen += 1
        if seen == number:
            os.kill(call.pid, signal.SIGKILL)
        return 0

    return strike


def run(plant: Plant, act: Act, strike: Strike, tries: int = 1) -> Ran:
    """Do an act in a child, as often as it takes to be answered but for `tries` times at most."""
    told, tell = os.pipe()
    wait, go = os.pipe()
    child = os.fork()
    if child == 0:
        _be_central(plant, act, tell, wait, tries)
    os.close(tell)
    os.close(wait)
    ran = Ran()

    def at_call(call: Call) -> int:
        ran.calls.append(call)
        return strike(call)

    if not act.opens:
        os.read(told, 1)
    watch = Watch(child, at_call)
    os.write(go, b"g")
    ran.status = watch.until_end(alone=True)
    os.close(go)
    with os.fdopen(told, "rb") as file:
        for line in file.read().splitlines():
            word, _, text = line.decode().partition(" ")
            (ran.answers if word == "told" else ran.troubles).append(text)
    return ran


def _be_central(plant: Plant, act: Act, tell: int, wait: int, tries: int) -> None:
    try:
        if not act.opens:
            plant.open()
            os.write(tell, b".")
        os.read(wait, 1)
        for _ in range(tries):
            try:
                answer = act.do(plant)
            except (PulkError, OSError) as error:  # a server answers 503 or 500: told nobody
                if isinstance(error, PulkError) and not error.transient:
                    raise
                os.write(tell, f"trouble {error!r}\n".encode())
                time.sleep(PAUSE_S if tries > 2 else 0)
            else:
                os.write(tell, f"told {answer}\n".encode())
                break
        if plant.opened is not None:
            plant.close()
        os._exit(0)
    except BaseException as error:
        traceback.print_exc()
        sys.stderr.flush()
        os.write(tell, f"trouble {error!r}\n".encode())
        os._exit(1)
