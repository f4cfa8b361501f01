"""A first authority: root keys, central's keys, a registrar, trust version 1.

The root key lies in a folder of its own that the server never reads. It is 1 of 1, and `doctor`
nags until it is replaced by 2 of 3, unless the folder holds a set that `pulk keys root-init` made.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bundle.spool import publish
from bundle.trust import roots, trust_file
from bundle.trust.keys import KeyFile, Role
from bundle.trust.roots import ROOT_KEY
from bundle.trust.trust_file import Trust

CENTRAL_KEY = "central.key"
CENTRAL_NEXT_KEY = "central-next.key"
REGISTRAR_KEY = "registrar.key"
TRUST_FILE = "trust"
TRUST_MODE = 0o644


@dataclass(frozen=True, slots=True)
class Authority:
    """The keys and trust of a new central. `central_next` is published ahead for a rotation."""

    root: KeyFile  # the first one
    central: KeyFile
    central_next: KeyFile
    registrar: KeyFile
    trust: Trust


def make_authority(root_dir: Path, central_dir: Path) -> Authority:
    """Make all keys and `central_dir/trust`; folders are made with mode 0700 where missing.

    Root keys that `pulk keys root-init` made in `root_dir` are used.

    Raises:
        KeyFileRefused: a key is there already: keys are never replaced.
        ThresholdNotMet: too few of the prepared root keys lie below `root_dir`.
    """
    for folder in (root_dir, central_dir):
        publish.make_folder(folder)
    prepared = root_dir / roots.ROOTS_FILE
    if prepared.exists():
        chosen = roots.decode(prepared.read_bytes(), where=str(prepared))
        signers = roots.private_halves(root_dir, chosen)
    else:
        signers = [KeyFile.create(root_dir / ROOT_KEY, Role.ROOT)]
        chosen = roots.Roots((signers[0].public,), 1)
    central = KeyFile.create(central_dir / CENTRAL_KEY, Role.CENTRAL)
    central_next = KeyFile.create(central_dir / CENTRAL_NEXT_KEY, Role.CENTRAL)
    registrar = KeyFile.create(central_dir / REGISTRAR_KEY, Role.REGISTRAR)
    first = Trust(
        version=1,
        roots=chosen.keys,
        threshold=chosen.threshold,
        centrals=(central.public, central_next.public),
        registrars=(registrar.public,),
    )
    trust = trust_file.verify(trust_file.encode(first, signers))
    save_trust(central_dir / TRUST_FILE, trust.raw)
    return Authority(signers[0], central, central_next, registrar, trust)


def save_trust(path: Path, raw: bytes) -> None:
    """Replace a trust file by one that was verified before: whole and synced, or untouched."""
    publish.write_file(path.parent, path, raw, mode=TRUST_MODE)


__all__ = [
    "CENTRAL_KEY", "CENTRAL_NEXT_KEY", "REGISTRAR_KEY", "ROOT_KEY", "TRUST_FILE", "TRUST_MODE",
    "Authority", "make_authority", "save_trust",
]  # fmt: skip
