"""A first authority: a 1-of-1 root, central's keys, a registrar, trust version 1.

The root key lies in a folder of its own that the server never reads; `doctor` nags until it is
replaced by 2 of 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bundle.spool import publish
from bundle.trust import trust_file
from bundle.trust.keys import KeyFile, Role
from bundle.trust.trust_file import Trust

ROOT_KEY = "root.key"
CENTRAL_KEY = "central.key"
CENTRAL_NEXT_KEY = "central-next.key"
REGISTRAR_KEY = "registrar.key"
TRUST_FILE = "trust"


@dataclass(frozen=True, slots=True)
class Authority:
    """The keys and trust of a new central. `central_next` is published ahead for a rotation."""

    root: KeyFile
    central: KeyFile
    central_next: KeyFile
    registrar: KeyFile
    trust: Trust


def make_authority(root_dir: Path, central_dir: Path) -> Authority:
    """Make all keys and `central_dir/trust`; folders are made with mode 0700 where missing.

    Raises KeyFileRefused where a key is there already: keys are never replaced.
    """
    for folder in (root_dir, central_dir):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    root = KeyFile.create(root_dir / ROOT_KEY, Role.ROOT)
    central = KeyFile.create(central_dir / CENTRAL_KEY, Role.CENTRAL)
    central_next = KeyFile.create(central_dir / CENTRAL_NEXT_KEY, Role.CENTRAL)
    registrar = KeyFile.create(central_dir / REGISTRAR_KEY, Role.REGISTRAR)
    first = Trust(
        version=1,
        roots=(root.public,),
        threshold=1,
        centrals=(central.public, central_next.public),
        registrars=(registrar.public,),
    )
    raw = trust_file.encode(first, [root])
    save_trust(central_dir / TRUST_FILE, raw)
    return Authority(root, central, central_next, registrar, trust_file.verify(raw))


def save_trust(path: Path, raw: bytes) -> None:
    """Replace a trust file by one that was verified before: whole and synced, or untouched."""
    publish.write_file(path.parent, path, raw, mode=0o644)
