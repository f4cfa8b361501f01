"""What breaks beside the facts: fsck names it, and nothing is refused or lost for it."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bundle.fates import Fate
from bundle.ids import Task
from central.core import state_byte
from central.errors import ArchiveIncomplete, BlockDamaged
from central.fsck import fsck
from central.state.blocks import packed_block, states_of
from central.store.sqlite.library import sqlite3
from tests.central.conftest import Central, chain
from tests.central.scripted_site import ScriptedSite
from tests.central.test_edit import bring, leased


def eventful(central: Central) -> ScriptedSite:
    """Jobs that are done, one that failed, one with a row, some leased, some never begun."""
    north = central.site("north")
    central.submit(chain(jobs=60, fan_in=False))
    (held,) = leased(central, north, 20)
    central.clock.pass_hours(100)
    south = central.site("south")
    south.clock_us = north.clock_us = central.clock.now_us
    again = leased(central, south, 20)
    bring(central, south, again, salt="south", fate=lambda place, _: fails(place))
    bring(central, north, [held], salt="north")
    assert leased(central, south, 10)
    return north


def fails(place: tuple[int, int]) -> Fate:
    return Fate.PAYLOAD_ERROR if place == (0, 3) else Fate.SUCCESS


def repack(change: Callable[[np.ndarray[Any, Any]], None]) -> Callable[[sqlite3.Connection], None]:
    """Change the states of the first block of the first step, with its numbers as they are."""

    def tamper(database: sqlite3.Connection) -> None:
        where = "WHERE step = 0 AND block = 0"
        (raw,) = database.execute(f"SELECT state FROM block {where}").fetchone()  # noqa: S608
        states = states_of(raw).copy()
        change(states)
        fresh = packed_block(states, *struct.unpack_from("<II", raw))
        database.execute(f"UPDATE block SET state = ? {where}", (fresh,))  # noqa: S608

    return tamper


def sql(text: str) -> Callable[[sqlite3.Connection], None]:
    def tamper(database: sqlite3.Connection) -> None:
        assert database.execute(text).rowcount > 0, text

    return tamper


def flip(database: sqlite3.Connection) -> None:
    (raw,) = database.execute("SELECT state FROM block WHERE step = 0").fetchone()
    torn = raw[:12] + bytes([raw[12] ^ 0xFF]) + raw[13:]
    database.execute("UPDATE block SET state = ? WHERE step = 0", (torn,))


def tear(database: sqlite3.Connection) -> None:
    database.execute("UPDATE block SET state = substr(state, 1, length(state) - 3) WHERE step = 0")


def not_done(states: np.ndarray[Any, Any]) -> None:
    plain = (states & (state_byte.ROW | state_byte.DONE)) == state_byte.DONE
    states[np.flatnonzero(plain)[:1]] ^= state_byte.DONE


def no_row(states: np.ndarray[Any, Any]) -> None:
    states[np.flatnonzero(states & state_byte.ROW)[:1]] ^= state_byte.ROW


def leased_bit(states: np.ndarray[Any, Any]) -> None:
    states[np.flatnonzero(states & state_byte.DONE)[:1]] ^= state_byte.LEASED


def not_leased(states: np.ndarray[Any, Any]) -> None:
    states[np.flatnonzero(states & state_byte.LEASED)[:1]] ^= state_byte.LEASED


DAMAGE = {
    "a flipped byte of a block": (flip, "step 0"),
    "a torn block": (tear, "damaged"),
    "a task that is not done": (repack(not_done), "done"),
    "a task that lost its row's mark": (repack(no_row), "rows"),
    "a lease that covers nothing": (repack(leased_bit), "no live lease covers them"),
    "a lease that is not marked": (repack(not_leased), "covered by a live lease"),
    "a lost block": (sql("DELETE FROM block WHERE step = 1 AND block = 0"), "should be"),
    "a counter": (sql("UPDATE step SET done = done + 1 WHERE step = 0"), "counters"),
    "usage": (sql("UPDATE step SET wall_ms = wall_ms - 1 WHERE step = 0"), "usage"),
    "how many are ready": (sql("UPDATE block SET ready = ready + 1"), "noted as ready"),
    "how many failed": (sql("UPDATE block SET failed = failed + 1"), "noted as failed"),
    "a lost segment": (sql("DELETE FROM segment WHERE no = 1"), "segments"),
    "a lost span": (sql("DELETE FROM span WHERE segment = 1 AND step = 0"), "segments"),
    "a lost pin": (sql("DELETE FROM pin"), "pins"),
    "a lost row": (sql("DELETE FROM task WHERE step = 0"), "has row None"),
    "a lost attempt": (
        sql("DELETE FROM attempt WHERE no = (SELECT min(no) FROM attempt)"),
        "attempts",
    ),
    "touched jobs": (sql("UPDATE dataset SET touched = x'90'"), "touched"),
    "a lost control's document": (sql("UPDATE dataset SET digest = zeroblob(32)"), "document"),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_fsck_names(central: Central, what: str) -> None:
    eventful(central)
    central.fsck()
    tamper, words = DAMAGE[what]
    central.authority.close()
    with sqlite3.connect(central.home.database) as database:
        tamper(database)
    database.close()
    found = fsck(central.home)
    assert not found["ok"]
    assert any(words in one for one in found["problems"]), found["problems"]


def test_a_damaged_block_is_told_and_not_taken_for_a_damaged_bundle(central: Central) -> None:
    north = central.site("north")
    dataset = central.submit(chain(jobs=4))
    held = leased(central, north)
    with sqlite3.connect(central.home.database) as database:
        tear(database)
    database.close()
    path = north.result([north.play(held[0], lease) for lease in held[0].leases])
    with pytest.raises(BlockDamaged):  # the site keeps it: it was not refused
        central.authority.absorb(path)
    with pytest.raises(BlockDamaged):
        central.authority.task(Task(dataset, 0, 0))
    assert not list(central.home.quarantine.glob("*"))


def test_results_wait_at_their_site_while_the_archive_lacks_what_they_rest_on(
    central: Central, tmp_path: Path
) -> None:
    north, south = central.site("north"), central.site("south")
    dataset = central.submit(chain(jobs=3, fan_in=False))
    (held,) = leased(central, north)
    central.clock.pass_hours(100)
    south.clock_us = north.clock_us = central.clock.now_us
    again = leased(central, south)
    bring(central, north, [held])
    played = [south.play(again[0], lease, salt="other") for lease in again[0].leases]
    path = south.result(played)
    archived = central.authority.task(Task(dataset, 0, 0))["attempts"][0]["result_bundle"]
    file = central.home.archive / archived[:2] / f"{archived}.pulk"
    aside = tmp_path / "aside"
    file.rename(aside)
    central.reopen()  # what was read before is forgotten; it starts all the same
    for damaged in (None, b"", aside.read_bytes()[:-1], b"\0" * 100):
        if damaged is not None:
            file.write_bytes(damaged)
        with pytest.raises(ArchiveIncomplete) as said:
            central.authority.absorb(path)
        assert archived in said.value.text()
        with pytest.raises(ArchiveIncomplete):
            central.authority.task(Task(dataset, 0, 0))
        assert not list(central.home.quarantine.glob("*"))
        file.unlink(missing_ok=True)
    other = central.submit(chain(jobs=2))
    assert south.work_all(central.authority)  # others are leased and merged meanwhile
    assert central.counts(other)[2] == {"done": 1}
    aside.rename(file)
    assert central.authority.absorb(path).outcome == "merged"
    assert central.counts(dataset) == [{"done": 3}, {"done": 3}]
    central.fsck()
