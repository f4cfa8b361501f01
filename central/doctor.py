"""A first look at what may go wrong at central; each line says what and what to do."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp

from bundle.errors import PulkError
from bundle.trust import audit, quickstart
from bundle.trust.trust_file import TrustView
from central import epochs, safety, silence
from central.config import Config
from central.home import Home, now_us
from central.store.opening import is_made, open_store
from central.store.protocol import Store
from central.store.sqlite.library import sqlite3
from central.workings import BEYOND

FREE_BYTES_MIN = 1 << 30
BACKUP_DAYS_MAX = 3


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `remedy` is empty where it is well."""

    name: str
    found: str
    remedy: str = ""


def examine(home: Home, config: Config) -> list[Finding]:
    """Look at copies, keys, modes, disk and versions; nothing is changed."""
    return [
        _copies(config),
        *_root_keys(home),
        *(_private(path) for path in (home.central_key, home.registrar_key, home.token)),
        _folder(home.root),
        _free(home.root),
        Finding("trust version", str(TrustView.load(home.trust).version)),
        *_keys(home),
        _database(config, home),
        *_stored(config, home, now_us()),
        Finding("pulk", pulk_version()),
        Finding("python", platform.python_version()),
        Finding("sqlite", sqlite3.sqlite_version),
        Finding("aiohttp", aiohttp.__version__),
    ]


def _copies(config: Config) -> Finding:
    copies = config.archive.copies
    if config.archive.url:
        return Finding("archive copies", f"{copies}: {config.archive.url} counts as one")
    if copies == 1:
        remedy = "a lost disk loses results that sites were told to delete: set copies to 2"
        return Finding("archive copies", "1: safe on a single disk", remedy)
    return Finding("archive copies", f"{copies}, {len(config.archive.mirrors)} mirrors")


def _root_keys(home: Home) -> list[Finding]:
    trust = TrustView.load(home.trust).trust
    found = [
        Finding(
            "root keys",
            f"{trust.threshold} of {len(trust.roots)}",
            "" if trust.threshold > 1 else "one stolen key is enough: sign trust with 2 of 3",
        )
    ]
    for place in (home.root / quickstart.ROOT_KEY, home.root_dir / quickstart.ROOT_KEY):
        if place.exists():
            remedy = "move it to a stick that is locked away; the server never reads it"
            found.append(Finding("root key", f"on this machine: {place}", remedy))
    return found


def _keys(home: Home) -> list[Finding]:
    """Return what `pulk keys check` finds wrong."""
    found = [one for one in audit.examine(home.root) if one.is_wrong]
    return [Finding(one.name, one.found, one.remedy) for one in found]


def _database(config: Config, home: Home) -> Finding:
    """Say which database it is; a password never stands in what is said."""
    if config.store.url_file:
        return Finding("database", f"the PostgreSQL server that {config.store.url_file} names")
    if config.store.url:
        parts = urlsplit(config.store.url)
        return Finding(
            "database", f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        )
    return Finding("database", str(home.database))


def _stored(config: Config, home: Home, now: int) -> list[Finding]:
    """Look into the database: silent sites, the newest backup, what a restore still waits for."""
    if not is_made(config, home):
        return []
    try:
        store = open_store(config, home, read_only=True)
    except PulkError as error:
        return [Finding("sites", error.text(), error.remedy)]
    try:
        return [*_sites(store, now), _backup(store, now), *_epoch(store)]
    finally:
        store.close()


def _sites(store: Store, now: int) -> list[Finding]:
    """Name the sites of which nothing new came for long."""
    found = []
    for one in store.bundles.sites():
        heard = silence.heard_s(store.people, one.name, now)
        if heard is not None and silence.is_silent(heard):
            said = f"heard {heard // 86_400} days ago by this clock"
            found.append(Finding(f"site {one.name}", said, "ask there; look after the carrier"))
    return found


def _backup(store: Store, now: int) -> Finding:
    """Say how old the newest finished backup is, and whether it lies on another device."""
    told = safety.newest_backup(store.people.meta(safety.BACKUP))
    if told is None:
        remedy = "the archive alone has no audit trail and no leases' ends: "
        remedy += "`pulk central backup DIR TO` nightly"
        return Finding("backup", "none", remedy)
    days = (now - int(told["made_us"])) // 86_400_000_000
    said = f"{days} days old, {told['where']}"
    if not told["apart"]:
        return Finding("backup", said, "it is on the archive's own device: write to another disk")
    return Finding("backup", said, "make one now, and nightly" if days >= BACKUP_DAYS_MAX else "")


def _epoch(store: Store) -> list[Finding]:
    """Say whether central was set back, or still recovers."""
    found = []
    if store.people.meta(BEYOND):
        remedy = "make sure that no other central runs, stop this, `pulk central take-over DIR`"
        found.append(Finding("set back", "a site proved it: nothing is said any more", remedy))
    recovering = epochs.recovering(store)
    if recovering is not None and recovering.waiting:
        said = f"waits for what {', '.join(sorted(recovering.waiting))} hold"
        remedy = "have them tick; `pulk central presume-lost DIR SITE` for one that is gone"
        found.append(Finding("recovering", said, remedy))
    return found


def _private(path: Path) -> Finding:
    try:
        mode = path.stat().st_mode & 0o777
    except OSError as error:
        return Finding(path.name, error.strerror or str(error), "put it back from the backup")
    return Finding(path.name, f"{mode:03o}", f"run chmod 600 {path}" if mode & 0o077 else "")


def _folder(path: Path) -> Finding:
    mode = path.stat().st_mode & 0o777
    return Finding("folder mode", f"{mode:03o}", f"run chmod 700 {path}" if mode & 0o077 else "")


def _free(path: Path) -> Finding:
    disk = os.statvfs(path)
    free = disk.f_bavail * disk.f_frsize
    return Finding("free bytes", str(free), "" if free > FREE_BYTES_MIN else "free space")


def pulk_version() -> str:
    """Return the version of Pulk, or that it runs from an unpacked tree."""
    try:
        return version("pulk")
    except PackageNotFoundError:
        return "from an unpacked tree"
