"""SIGKILL of a real pilot at its system calls: what finished counts, once, and nothing of it twice.

Each call that changes a file, or says something to a slot, is one point; a kill at it leaves the
calls before it done and it, with all after it, not. The relay salvages, another pilot goes on, and
a real central is brought what came of it.
"""

from __future__ import annotations

import random
import signal
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import pytest

from tests.kills.conftest import ENOUGH_BYTES, report
from tests.kills.plant import Place
from tests.kills.production import Production, frames
from tests.kills.sweep import Point
from tests.testbed import memory

pytestmark = [pytest.mark.programs, pytest.mark.timeout(1200)]

JOBS = 6
KILLS, NOTICES, CUTS = 50, 6, 6  # in `make test`
MANY_JOBS = 16
ENOUGH = 500  # distinct points in the campaign
NOTICES_MAX = 1000
AT_ONCE = 4  # productions side by side: they mostly wait
DRAWS_MAX = 150  # one in ten or so leaves such a journal
KILL, TERM = int(signal.SIGKILL), int(signal.SIGTERM)


Strikes = tuple[str, tuple[str, ...]]  # of which act, and where


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Production, int]]:
    """A production, and how many calls a pilot makes that ends it undisturbed."""
    on = memory.folder(ENOUGH_BYTES, tmp_path_factory.mktemp("kills"))
    with tempfile.TemporaryDirectory(dir=on, prefix="pulk-kills-") as name:
        production = Production.made(Place(Path(name), None), JOBS)
        yield production, calls_of(production)


def struck(production: Production, act: str, *strikes: str) -> Point | None:
    """Strike a pilot, judge what is left, and return the point; None where it ended before."""
    one = production.copy()
    died = one.pilot(*strikes)
    one.note_durable()
    try:
        one.judge()
    except Exception as error:
        error.add_note(f"{act}: {' '.join(strikes)}, {died.calls[-5:]}, kept in {one.keep()}")
        raise
    one.drop()
    return died.point(act)


def all_struck(production: Production, every: Iterable[Strikes]) -> list[Point]:
    """Strike pilots, several side by side, and return the points of those that were killed."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = list(pool.map(lambda one: struck(production, one[0], *one[1]), every))
    return [point for point in found if point is not None]


def calls_of(production: Production) -> int:
    """Count the calls of a pilot that nothing strikes, whose work must be right itself."""
    one = production.copy()
    died = one.pilot()
    assert died.signal == 0
    one.note_durable()
    assert len(one.durable) == 2 * one.jobs
    one.judge()
    one.drop()
    return len(died.calls)


@pytest.mark.sweeps
def test_a_pilot_killed_at_sampled_system_calls_loses_and_doubles_nothing(
    counted: tuple[Production, int], draw: random.Random
) -> None:
    production, calls = counted
    sample = sorted(draw.sample(range(1, calls + 1), KILLS))
    points = all_struck(production, (("kill", (f"{number}:{KILL}",)) for number in sample))
    assert len(points) > KILLS // 2


@pytest.mark.sweeps
def test_a_pilot_told_to_end_and_killed_before_it_has_loses_and_doubles_nothing(
    counted: tuple[Production, int], draw: random.Random
) -> None:
    production, calls = counted
    all_struck(production, [("notice", notice(draw, calls)) for _ in range(NOTICES)])


def notice(draw: random.Random, calls: int) -> tuple[str, str]:
    """Return a TERM at one call and the KILL at a later one, soon after or not."""
    first = draw.randrange(1, calls)
    return f"{first}:{TERM}", f"{first + draw.randint(1, draw.choice((10, 60)))}:{KILL}"


@pytest.mark.sweeps
def test_a_real_journal_cut_inside_its_last_record_loses_that_record_only(
    counted: tuple[Production, int], draw: random.Random
) -> None:
    dead, journal = with_attempts_journaled(*counted, draw)
    _, last = ends(journal.read_bytes())
    inner = draw.sample(range(1, last), CUTS - 2)
    for cut in (0, *inner, last):
        cut_and_judged(dead, journal, cut)


@pytest.mark.campaign
def test_a_real_journal_cut_at_every_byte_of_its_last_record(
    counted: tuple[Production, int], draw: random.Random
) -> None:
    dead, journal = with_attempts_journaled(*counted, draw)
    _, last = ends(journal.read_bytes())
    for cut in range(last + 1):
        cut_and_judged(dead, journal, cut)


def with_attempts_journaled(
    production: Production, calls: int, draw: random.Random
) -> tuple[Production, Path]:
    """Kill pilots until one leaves a journal that ends with an attempt's record."""
    for _ in range(DRAWS_MAX):
        one = production.copy()
        one.pilot(f"{draw.randrange(calls // 3, calls)}:{KILL}")
        for path in one.relay().spool.folder("claimed").glob("*/*.journal"):
            found = frames(path.read_bytes())
            if any(one.relay().spool.folder("sealed").glob(f"{path.stem}-*")):
                continue  # sealed already: nothing rests on the journal any more
            if found and found[-1]["kind"] == "attempt" and found[-1]["row"]["fate"] == 0:
                return one, path
        one.drop()
    raise AssertionError("no journal ended with an attempt")


def ends(raw: bytes) -> tuple[int, int]:
    """Return where the last record of a journal begins, and its length."""
    starts, at = [], 0
    while at < len(raw):
        starts.append(at)
        at += 8 + int.from_bytes(raw[at : at + 4], "big")
    assert at == len(raw)
    return starts[-1], len(raw) - starts[-1]


def cut_and_judged(dead: Production, journal: Path, cut: int) -> None:
    """Keep so many bytes of the last record: without it whole, only its attempt runs again."""
    raw = journal.read_bytes()
    begin, length = ends(raw)
    dead.note_durable()
    one = dead.copy()
    place = one.site / journal.relative_to(dead.site)
    place.write_bytes(raw[: begin + cut])
    one.note_durable()
    assert len(dead.durable) - len(one.durable) == (cut < length)
    one.judge()
    one.drop()


@pytest.mark.campaign
def test_kills_at_five_hundred_points(sqlite_place: Place, draw: random.Random) -> None:
    """Every call in turn, then notices with a kill after them, until there are enough points."""
    production = Production.made(sqlite_place, MANY_JOBS)
    calls = calls_of(production)
    every = [("kill", (f"{number}:{KILL}",)) for number in range(1, calls + 1)]
    for _ in range(NOTICES_MAX):
        strikes = notice(draw, calls)
        every.append((f"notice before {strikes[0].partition(':')[0]}", strikes))
    points: list[Point] = []
    left = iter(every)
    while len(set(points)) < ENOUGH and (some := list(islice(left, 4 * AT_ONCE))):
        points += all_struck(production, some)
        report("pilot", points)
    assert len(set(points)) >= ENOUGH
