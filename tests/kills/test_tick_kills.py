"""SIGKILL of a relay at the system calls of a tick: the next one goes on, nothing lost or twice.

A site with a stick, a pilot that sealed and one that died in the middle of a shard. Killed is the
tick that takes work, the one that collects, salvages and packs, the one that hears receipts and
retires, and the rebuilding of a lost memory. What is left must come to its end by ticks alone.
"""

from __future__ import annotations

import itertools
import os
import random
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from relay import lock
from relay.home import make_spool, open_home
from relay.rebuild import rebuild
from tests.kills.conftest import report
from tests.kills.sweep import Point, named_calls
from tests.relay.test_crash import Site
from tests.testbed.tracer import Call, Watch

pytestmark = [pytest.mark.programs, pytest.mark.timeout(1800)]

KILLS = 5  # of each act in `make test`
ENOUGH = 500  # distinct points in the campaign
Act = Callable[[Site], None]


def remember(site: Site) -> None:
    """`pulk relay doctor --rebuild`."""
    home = open_home(site.world.home.folder)
    make_spool(home.spool)
    with lock.held(home):
        rebuild(home)


def to_accept(site: Site) -> None:
    site.send_work()


def to_collect(site: Site) -> None:
    site.send_work()
    site.relay()
    site.pilots()


def to_retire(site: Site) -> None:
    to_collect(site)
    site.relay()
    site.central()


def to_remember(site: Site) -> None:
    to_collect(site)
    site.relay()
    for name in ("state", "streams"):
        shutil.rmtree(site.world.spool.root / name)


def go_on(site: Site) -> None:
    site.relay()
    site.pilots()


def nothing(site: Site) -> None:
    """The next tick is all."""


# What comes before, what is killed, and what must then be done before all else.
ACTS: dict[str, tuple[Act, Act, Act]] = {
    "accept": (to_accept, Site.relay, go_on),
    "collect": (to_collect, Site.relay, nothing),
    "retire": (to_retire, Site.relay, nothing),
    "rebuild": (to_remember, remember, remember),
}


def struck(root: Path, name: str, number: int) -> tuple[list[str], bool]:
    """Kill an act right before its n-th call and judge; return its calls and whether it was."""
    before, act, after = ACTS[name]
    site = Site(root)
    before(site)
    calls, was_killed = killed(lambda: act(site), number)
    after(site)
    try:
        site.finish()
        site.check()
    except BaseException as error:
        error.add_note(f"{name} before call {number}: {calls[-5:]}, in {root}")
        raise
    shutil.rmtree(root)
    return calls, was_killed


def killed(work: Callable[[], object], number: int) -> tuple[list[str], bool]:
    """Do some work in a child that is killed right before its n-th call that changes a file."""
    wait, go = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.read(wait, 1)
            work()
            os._exit(0)
        except BaseException as error:
            sys.stderr.write(f"{error!r}\n")
            os._exit(1)
    calls: list[str] = []

    def strike(call: Call) -> int:
        calls.append(call.name)
        if len(calls) == number:
            os.kill(child, signal.SIGKILL)
        return 0

    watch = Watch(child, strike)
    os.write(go, b"g")
    status = watch.until_end(alone=True)
    os.close(go)
    os.close(wait)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return calls, os.WIFSIGNALED(status)


@pytest.mark.sweeps
@pytest.mark.parametrize("name", ACTS)
def test_a_tick_killed_at_sampled_system_calls_loses_and_doubles_nothing(
    folder: Path, draw: random.Random, name: str
) -> None:
    calls, was_killed = struck(folder / "whole", name, 0)
    assert not was_killed and len(calls) > 2 * KILLS
    for number in sorted(draw.sample(range(1, len(calls) + 1), KILLS)):
        struck(folder / f"at-{number}", name, number)


@pytest.mark.campaign
def test_a_tick_killed_at_every_system_call(folder: Path) -> None:
    """At least five hundred of them."""
    points: list[Point] = []
    for name in ACTS:
        for number in itertools.count(1):
            calls, was_killed = struck(folder / f"{name}-{number}", name, number)
            if not was_killed:
                break
            points.append(named_calls(name, calls)[-1])
        report("tick", points)
    assert len(set(points)) >= ENOUGH
