"""Root keys, each in a folder of its own so that it can go on a stick of its own.

`DIR/root-1/root.key`, ... are private; `DIR/roots` names the public halves and the threshold.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bundle import canonical, shape
from bundle.limits import SMALL_LIMITS
from bundle.spool import publish
from bundle.trust import fingerprint
from bundle.trust.errors import MalformedTrust
from bundle.trust.keys import KeyFile, Role, check_public

ROOT_KEY = "root.key"
ROOTS_FILE = "roots"
KEYS_MAX = 15  # so that all of them can sign a file that the one before them signed too
ROOTS_MODE = 0o644


@dataclass(frozen=True, slots=True)
class Roots:
    """The public halves of a set of root keys, and how many of them must sign."""

    keys: tuple[bytes, ...]
    threshold: int

    @property
    def fingerprint(self) -> str:
        """The words that sites' operators compare once this set is in force."""
        return fingerprint.of_root_keys(self.keys, self.threshold)


def make(folder: Path, keys: int, threshold: int) -> Roots:
    """Make root keys in a folder (mode 0700). Raises MalformedTrust, KeyFileRefused.

    Where a crash left a part of them they are kept and the rest is made.
    """
    if not 1 <= threshold <= keys <= KEYS_MAX:
        reason = f"{threshold} of {keys} keys; 1 to {KEYS_MAX} keys, at least 1 of them"
        raise MalformedTrust(where=str(folder), part="number of root keys", reason=reason)
    if (folder / ROOTS_FILE).exists():
        raise MalformedTrust(where=str(folder), part="folder", reason="there are root keys already")
    made = []
    for number in range(1, keys + 1):
        path = folder / f"root-{number}" / ROOT_KEY
        publish.make_folder(path.parent)
        made.append(
            KeyFile.load(path, Role.ROOT) if path.exists() else KeyFile.create(path, Role.ROOT)
        )
    roots = Roots(tuple(one.public for one in made), threshold)
    raw = canonical.encode({"roots": list(roots.keys), "threshold": threshold})
    publish.write_file(folder, folder / ROOTS_FILE, raw, mode=ROOTS_MODE)
    return roots


def decode(raw: bytes, *, where: str = "") -> Roots:
    """Read a file of public root keys. Raises MalformedTrust, WeakKey."""
    try:
        value = shape.Reader.of(canonical.decode(raw, SMALL_LIMITS, where=where), "roots")
        rows = shape.Reader(value.rows("roots"), "roots")
        keys = tuple(check_public(rows.bytes(n), where=where) for n in range(len(rows.value)))
        return Roots(keys, value.count("threshold"))
    except (canonical.NotCanonical, shape.WrongShape) as error:
        raise MalformedTrust(where=where, part="root keys", reason=error.text()) from error


def private_halves(folder: Path, roots: Roots) -> list[KeyFile]:
    """Return the key files of a set that lie below its folder. Raises KeyFileRefused."""
    found = [KeyFile.load(path, Role.ROOT) for path in sorted(folder.glob(f"*/{ROOT_KEY}"))]
    return [one for one in found if one.public in roots.keys]
