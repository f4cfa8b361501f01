"""Finding the key that a person means: by role, site, file, or hex digits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from bundle.ids import SITE_NAME
from bundle.trust import describe, survey
from bundle.trust.errors import MalformedTrust, UnknownKeyName
from bundle.trust.trust_file import Trust

DIGITS_MIN = 8
_HEX = frozenset("0123456789abcdef")


def resolve(
    names: Iterable[str],
    trust: Trust,
    folder: Path,
    files: Sequence[Path],
    *,
    revoked: bool = False,
) -> list[bytes]:
    """Return the keys that names stand for, each once. Raises UnknownKeyName.

    Args:
        names: `central`, `next`, `registrar`: those of the trust file; a site's name: the key of
            its bundles; a file with a key in it; hex digits.
        trust: the version in force.
        folder: central's folder, where files are looked for too.
        files: the bundles that lie there.
        revoked: of a site with several keys the revoked one is meant, else the one in force.
    """
    keys = []
    for name in names:
        key = _one(name, trust, folder)
        keys.append(_of_site(name, trust, files, revoked) if key is None else key)
    return list(dict.fromkeys(keys))


def one_of(name: str, keys: Iterable[bytes]) -> bytes:
    """Return the one key whose hex digits start so. Raises UnknownKeyName."""
    digits = name.lower()
    found = [key for key in dict.fromkeys(keys) if key.hex().startswith(digits)]
    if len(digits) < DIGITS_MIN or len(found) != 1:
        raise UnknownKeyName(
            name=name, found=len(found) if len(digits) >= DIGITS_MIN else "too many"
        )
    return found[0]


def _one(name: str, trust: Trust, folder: Path) -> bytes | None:
    roles = {
        "central": trust.current_central,
        "next": trust.next_central,
        "registrar": trust.current_registrar,
    }
    if name in roles:
        key = roles[name]
        if key is None:
            raise UnknownKeyName(name=name, found=0)
        return key
    for path in (Path(name), folder / name):
        if path.is_file():
            return _in_file(path)
    if len(name) >= DIGITS_MIN and _HEX.issuperset(name.lower()):
        if len(name) == 64:
            return bytes.fromhex(name)
        known = [one.key for one in trust.revocations]
        return one_of(name, [*trust.centrals, *trust.registrars, *known])
    return None


def _of_site(name: str, trust: Trust, files: Sequence[Path], revoked: bool) -> bytes:
    found = survey.keys_of_site(name, files) if SITE_NAME.fullmatch(name) else frozenset()
    meant = [key for key in found if bool(trust.revocation_of(key)) is revoked]
    if len(meant) != 1:
        raise UnknownKeyName(name=name, found=len(meant))
    return meant[0]


def _in_file(path: Path) -> bytes:
    about: dict[str, Any] = describe.describe(path)
    key = about.get("key")
    if not isinstance(key, dict):
        raise MalformedTrust(where=str(path), part=about["type"], reason="it is not about one key")
    return bytes.fromhex(key["hex"])
