"""Central's private keys in its folder: fresh ones wait in `pending/` until their trust is taken.

Which key belongs under which name follows from the trust file alone, so that taking a version can
be repeated after a crash anywhere.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bundle.spool import publish
from bundle.trust.errors import KeyFileRefused, TrustRefused
from bundle.trust.keys import KeyFile, Role
from bundle.trust.quickstart import CENTRAL_KEY, CENTRAL_NEXT_KEY, REGISTRAR_KEY
from bundle.trust.trust_file import Trust

PENDING = "pending"
SUFFIX = ".key"


@dataclass(frozen=True, slots=True)
class Move:
    """One name in the folder: the file that is to have it, or None where it is to be empty."""

    name: str
    source: Path | None
    old: KeyFile | None  # what has the name now and loses it


def make_pending(folder: Path, role: Role) -> KeyFile:
    """Make a fresh private key that waits for its trust version. Raises KeyFileRefused."""
    return make_key(folder / PENDING, role)


def make_key(folder: Path, role: Role) -> KeyFile:
    """Make a private key under a name of its own in a folder (mode 0700). Raises KeyFileRefused."""
    publish.make_folder(folder)
    return KeyFile.create(folder / f"{role.value}-{os.urandom(4).hex()}{SUFFIX}", role)


def held(*folders: Path) -> dict[bytes, Path]:
    """Return the key files in some folders by public key; what can't be read is passed over."""
    found: dict[bytes, Path] = {}
    for path in _files(*folders):
        try:
            found.setdefault(KeyFile.load(path).public, path)
        except TrustRefused:
            continue
    return found


def plan(folder: Path, trust: Trust) -> list[Move]:
    """Return what must move so that each name in central's folder has the key that `trust` says.

    The next key's private half may be elsewhere. Raises KeyFileRefused where another is missing.
    """
    have = held(folder, folder / PENDING)
    wanted = (
        (CENTRAL_KEY, trust.current_central),
        (CENTRAL_NEXT_KEY, trust.next_central),
        (REGISTRAR_KEY, trust.current_registrar),
    )
    moves = []
    for name, public in wanted:
        path = folder / name
        source = have.get(public) if public else None
        old = _at(path, source)
        if old is not None and old.public == public:
            continue
        if source is None and name != CENTRAL_NEXT_KEY:
            reason = f"the private half of {public.hex() if public else '?'} is not in the folder"
            raise KeyFileRefused(where=str(path), reason=reason)
        if source is not None or old is not None:
            moves.append(Move(name, source, old))
    return moves


def _at(path: Path, source: Path | None) -> KeyFile | None:
    """Return the key that has a name now; a damaged one gives way to the one that is to have it."""
    try:
        return KeyFile.load(path) if path.exists() else None
    except KeyFileRefused:
        if source is None:
            raise
        return None


def carry_out(folder: Path, trust: Trust, moves: list[Move], retired: Path | None) -> list[str]:
    """Give each name its key; old keys go, or to the folder `retired`; return what was done.

    Each step is a rename; after a crash `plan` finds the rest. Raises KeyFileRefused.
    """
    done = []
    staying = {move.source for move in moves}
    for move in moves:
        path = folder / move.name
        if move.old is not None and path not in staying and retired is not None:
            publish.make_folder(retired)
            kept = retired / f"{path.stem}-{move.old.public.hex()[:8]}{SUFFIX}"
            if not kept.exists():
                move.old.copy_to(kept)
            done.append(f"{move.name}: the old key went to {kept}")
        if move.source is not None:
            os.replace(move.source, path)
            done.append(f"{move.name}: the new key is in its place")
        elif path not in staying:
            path.unlink(missing_ok=True)
            done.append(f"{move.name}: taken away, the next key's private half is elsewhere")
    publish.fsync_folder(folder)
    _drop_stale(folder, trust)
    return done


def _drop_stale(folder: Path, trust: Trust) -> None:
    """Remove fresh keys of drafts that can no longer be taken."""
    listed = {*trust.centrals, *trust.registrars}
    for public, path in held(folder / PENDING).items():
        if public not in listed:
            path.unlink()
    if (folder / PENDING).is_dir():
        publish.fsync_folder(folder / PENDING)


def _files(*folders: Path) -> Iterator[Path]:
    for folder in folders:
        if folder.is_dir():
            yield from sorted(folder.glob(f"*{SUFFIX}"))
