"""Everything of a central or a relay that a refused bundle must leave as it was."""

from __future__ import annotations

from pathlib import Path

from bundle.spool.layout import FOLDERS
from central.store.sqlite.library import sqlite3
from relay.accept import Accepted, accept_all
from tests.central.conftest import Central
from tests.relay.world import World, make_world

COUNTED = frozenset({"tally"})  # how many were refused may be counted
SET_ASIDE = frozenset({"in", "quarantine", "tmp"})
TOLD = frozenset({"refusals", "wanted-whole"})  # that it was refused is told in the next report


def central_state(central: Central) -> dict[str, object]:
    """Return the state hash, every row of the database, and the archive's files."""
    found: dict[str, object] = {"hash": central.fsck()["state_hash"]}
    with sqlite3.connect(f"file:{central.home.database}?mode=ro", uri=True) as database:
        names = [
            row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type='table'")
        ]
        for name in sorted(set(names) - COUNTED):
            found[name] = sorted(map(repr, database.execute(f'SELECT * FROM "{name}"')))  # noqa: S608
    database.close()
    return found | files(central.home.archive) | files(central.home.trust)


def settled_world(folder: Path) -> World:
    """Return a world whose relay has looked into its inbox once, so that its notes are there."""
    world = make_world(folder)
    assert accept_all(world.home) == Accepted()
    return world


def relay_state(world: World) -> dict[str, object]:
    """Return the content of every file of the spool, but for what was set aside or is told."""
    kept = [name for name in (*FOLDERS, "state", "trust") if name not in SET_ASIDE]
    found: dict[str, object] = {}
    for name in kept:
        found |= files(world.spool.root / name)
    return {path: raw for path, raw in found.items() if Path(path).name not in TOLD}


def files(root: Path) -> dict[str, object]:
    """Return the content of each file below a folder, or of a file."""
    return {str(path): path.read_bytes() for path in [root, *root.rglob("*")] if path.is_file()}
