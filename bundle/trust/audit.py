"""What is wrong, or could be better, with the keys and trust in a central's or relay's folder."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bundle.errors import PulkError
from bundle.spool.layout import FOLDERS
from bundle.trust import certificate, fingerprint, trust_file, versions
from bundle.trust.errors import MalformedTrust, TrustRefused
from bundle.trust.keyring import PENDING
from bundle.trust.keys import KeyFile, Role
from bundle.trust.quickstart import (
    CENTRAL_KEY,
    CENTRAL_NEXT_KEY,
    REGISTRAR_KEY,
    ROOT_KEY,
    TRUST_FILE,
)
from bundle.trust.trust_file import Trust, TrustView

RELAY_CONFIG = "relay.toml"
SITE_KEY, SITE_CERTIFICATE = "site.key", "site.certificate"
KEY_FILES_MAX = 10_000
SKIPPED = frozenset({"archive", "parked", "quarantine", "uploads", "pilots", *FOLDERS})  # no keys


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `remedy` is empty where it is well; `is_wrong`: not just so."""

    name: str
    found: str
    remedy: str = ""
    is_wrong: bool = False


def is_relay(folder: Path) -> bool:
    """Return whether a folder is a relay's."""
    return (folder / RELAY_CONFIG).exists()


def trust_path(folder: Path) -> Path:
    """Return where the trust file of a central's or relay's folder lies. Raises MalformedTrust."""
    if not is_relay(folder):
        return folder / TRUST_FILE
    path = folder / RELAY_CONFIG
    try:
        spool = tomllib.loads(path.read_text()).get("spool", {}).get("path", ".")
        return folder / str(spool) / TRUST_FILE
    except (OSError, ValueError, AttributeError) as error:
        raise MalformedTrust(where=str(path), part="configuration", reason=str(error)) from error


def examine(folder: Path) -> list[Finding]:
    """Look at modes, keys, trust versions and thresholds; nothing is changed."""
    try:
        path = trust_path(folder)
        trust = trust_file.load(path)
    except TrustRefused as error:
        return [Finding("trust", error.text(), "put it back from the backup", True)]
    found = [
        Finding("trust version", str(trust.version)),
        Finding("root fingerprint", fingerprint.of_roots(trust)),
        *_modes(folder),
        *_roots(folder, trust),
    ]
    found += _relay(folder, trust) if is_relay(folder) else _central(folder, path, trust)
    return found


def _modes(folder: Path) -> Iterator[Finding]:
    """Every private key must be its owner's alone, and so must the folder."""
    mode = folder.stat().st_mode & 0o777
    if mode & 0o077:
        yield Finding("folder mode", f"{mode:03o}", f"run chmod 700 {folder}", True)
    for path in _key_files(folder):
        state = path.lstat()
        mode = state.st_mode & 0o777
        if path.is_symlink():
            yield Finding(path.name, "a link", "put the key file itself there", True)
        elif mode & 0o077:
            remedy = f"run chmod 600 {path}; whoever could read it may have: rotate the key"
            yield Finding(path.name, f"{mode:03o}: others can read it", remedy, True)
        elif state.st_uid != os.geteuid():
            remedy = f"let its program's account own {path}"
            yield Finding(path.name, f"belongs to uid {state.st_uid}", remedy, True)
        else:
            yield Finding(str(path.relative_to(folder)), f"{mode:03o}")


def _roots(folder: Path, trust: Trust) -> Iterator[Finding]:
    count = f"{trust.threshold} of {len(trust.roots)}"
    remedy = ""
    if trust.threshold == 1:
        remedy = "one stolen key is enough: `pulk keys root-init`, then `pulk keys rotate --roots`"
    elif trust.threshold == len(trust.roots):
        remedy = "one lost key is enough to lock you out: add one with `pulk keys rotate`"
    yield Finding("root keys", count, remedy)
    for path in _key_files(folder):
        try:
            role = KeyFile.load(path).role
        except TrustRefused:
            role = Role.ROOT if path.name == ROOT_KEY else Role.CENTRAL
        if role is Role.ROOT:
            remedy = "move it to a stick that is locked away"
            yield Finding("root key", f"inside the folder: {path}", remedy, True)
    beside = folder.with_name(f"{folder.name}-root")
    if not is_relay(folder) and any(beside.rglob(ROOT_KEY)):
        yield Finding(
            "root key", f"on this machine: {beside}", "move it to a stick that is locked away"
        )


def _central(folder: Path, path: Path, trust: Trust) -> Iterator[Finding]:
    problems = versions.problems(path)
    for problem in problems:
        yield Finding("trust versions", problem, "put it back from the backup", True)
    if newer := versions.beyond(path):
        remedy = f"`pulk keys take {folder} {versions.path_of(path, newer)}`, then look again"
        yield Finding("trust versions", f"version {newer} lies here, not in force", remedy, True)
    elif not problems:
        yield Finding("trust versions", f"1 to {trust.version}, each follows the one before")
    yield _private("central key", folder / CENTRAL_KEY, Role.CENTRAL, trust.current_central)
    if trust.next_central is None:
        yield Finding("next central key", "none is published", "run `pulk keys rotate`", True)
    elif not (folder / CENTRAL_NEXT_KEY).exists():
        yield Finding("next central key", "published, its private half is elsewhere")
    else:
        yield _private(
            "next central key", folder / CENTRAL_NEXT_KEY, Role.CENTRAL, trust.next_central
        )
    yield _private("registrar key", folder / REGISTRAR_KEY, Role.REGISTRAR, trust.current_registrar)
    waiting = list((folder / PENDING).glob("*.key"))
    if waiting:
        remedy = "have the draft signed and take it, or remove them"
        yield Finding("keys under way", f"{len(waiting)} in {PENDING}/", remedy)


def _private(name: str, path: Path, role: Role, public: bytes) -> Finding:
    try:
        found = KeyFile.load(path, role).public
    except TrustRefused as error:
        return Finding(name, error.text(), "put it back from the backup, or rotate", True)
    if found != public:
        reason = f"{path.name} is {found.hex()[:16]}, the trust file says {public.hex()[:16]}"
        return Finding(name, reason, "take the trust version again: `pulk keys take`", True)
    return Finding(name, public.hex()[:16])


def _relay(folder: Path, trust: Trust) -> Iterator[Finding]:
    view = TrustView(trust)
    try:
        key = KeyFile.load(folder / SITE_KEY, Role.SITE).public
        raw = versions.read_bytes(folder / SITE_CERTIFICATE)
        site, certified = view.site_of(raw, where=SITE_CERTIFICATE)
    except PulkError as error:
        yield Finding("site key", error.text(), "enrol again: `pulk relay init`", True)
        return
    if certified != key:
        yield Finding("certificate", "it is for another key", "enrol again", True)
    elif view.revocation_of(key):
        yield Finding("site key", f"{key.hex()[:16]} is revoked", "enrol with a new key", True)
    elif view.revoked_registrar(raw):
        remedy = "enrol again with the same request: `pulk central enrol`"
        yield Finding("certificate", "its registrar is revoked", remedy, True)
    else:
        issued = certificate.verify(raw, trust).issued_us
        yield Finding("site key", f"{key.hex()[:16]} of {site}, certified at {issued} us")


def _key_files(folder: Path) -> Iterator[Path]:
    """Yield what may be private keys in a folder, but for the places where others' files lie."""
    count = 0
    for inside, names, files in os.walk(folder):
        names[:] = [name for name in names if name not in SKIPPED]
        for name in sorted(files):
            count += 1
            if name.endswith(".key") and count <= KEY_FILES_MAX:
                yield Path(inside, name)
