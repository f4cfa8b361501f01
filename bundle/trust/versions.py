"""The trust file on disk, and every version that was ever taken: `trusts/<version>` beside it.

Taking a version: `trusts/<version>` is written and synced, file and folder, before `trust` is
replaced by one synced rename. After a crash in between the old version is in force and the same
file can be taken again; what lies in `trusts/` beyond `trust` was never in force.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

from bundle import canonical
from bundle.limits import MANIFEST_BYTES_MAX
from bundle.spool import publish
from bundle.trust import trust_file
from bundle.trust.errors import (
    ForkedTrust,
    MalformedTrust,
    TrustBusy,
    TrustRefused,
    WrongTrustVersion,
)
from bundle.trust.quickstart import TRUST_MODE, save_trust
from bundle.trust.trust_file import Trust

FOLDER = "trusts"
NO_LOCKS = frozenset({errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK})  # some shared filesystems
LOOKS, LOOK_S = 40, 0.05  # for a lock that another process holds, before it is left to later


def path_of(trust: Path, version: int) -> Path:
    """Return where a version lies beside the trust file."""
    return trust.with_name(FOLDER) / str(version)


def keep(trust: Path, version: Trust) -> None:
    """Keep a verified version beside the trust file, durably, where it is not kept yet."""
    target = path_of(trust, version.version)
    publish.make_folder(target.parent)
    try:
        if trust_file.read(target.read_bytes()).says_same(version):
            return
    except (OSError, TrustRefused):
        pass
    publish.write_file(target.parent, target, version.raw, mode=TRUST_MODE)


def take(trust: Path, files: list[bytes], *, where: str = "") -> Trust:
    """Follow trust files from the version in force, keep each, put the last one in force.

    The version in force may be among them and stays; so may earlier ones, which are passed over.

    Raises:
        WrongTrustVersion: all are older than the version in force, or one in between is missing.
        ForkedTrust: another file of the version in force.
        MalformedTrust, WeakKey, ThresholdNotMet: of any of them; then nothing is taken.
        TrustBusy: another process is at it, for seconds.
    """
    with _alone(trust):
        current = trust_file.load(trust)
        newest = max((trust_file.read(raw, where=where).version for raw in files), default=0)
        if newest < current.version:
            raise WrongTrustVersion(where=where, found=newest, current=current.version)
        steps = [current]
        for raw in files:
            found = trust_file.advance(steps[-1], trust_file.encode_chain([raw]), where=where)
            steps += [found] if found.version > steps[-1].version else []
        for step in steps:
            keep(trust, step)
        if len(steps) > 1:
            save_trust(trust, steps[-1].raw)
        return steps[-1]


def chain(trust: Path, since: int = 0) -> list[bytes]:
    """Return the kept trust files after a version up to the one in force, in ascending order.

    What is missing or damaged, and all before it, is left out: nobody could follow a chain over it.
    """
    current = trust_file.load(trust)
    found: list[bytes] = []
    for number in range(current.version, max(0, since), -1):
        raw = current.raw if number == current.version else _kept(trust, number)
        if raw is None:
            break
        found.append(raw)
    return found[::-1]


def problems(trust: Path) -> list[str]:
    """Return what is wrong with the kept versions, in words."""
    current = trust_file.load(trust)
    steps: list[Trust] = []
    found: list[str] = []
    for number in range(1, current.version + 1):
        raw = _kept(trust, number)
        if raw is None:
            found.append(f"version {number} is missing or damaged in {FOLDER}/")
        else:
            steps.append(trust_file.read(raw))
    for before, after in pairwise(steps):
        try:
            if after.version == before.version + 1:
                trust_file.verify_next(before, after.raw)
        except TrustRefused as error:
            found.append(error.text())
    if steps and steps[-1].version == current.version and not steps[-1].says_same(current):
        found.append(ForkedTrust(where=str(trust), version=current.version).text())
    return found


def beyond(trust: Path) -> int:
    """Return the version after the one in force where it lies in `trusts/`, else 0.

    So it is after a crash while it was taken, or where an old trust file was put back.
    """
    current = trust_file.load(trust)
    raw = _kept(trust, current.version + 1)
    try:
        return trust_file.verify_next(current, raw).version if raw else 0
    except TrustRefused:
        return 0


def read_files(path: Path) -> list[bytes]:
    """Return the trust files in a file: one, a chain, or a draft. Raises MalformedTrust."""
    raw = read_bytes(path)
    return split(raw, where=str(path))


def split(raw: bytes, *, where: str = "") -> list[bytes]:
    """Return the trust files in some bytes, nothing of them verified. Raises MalformedTrust."""
    try:
        is_chain = isinstance(canonical.decode(raw, trust_file.CHAIN_LIMITS, where=where), list)
    except canonical.NotCanonical as error:
        raise MalformedTrust(where=where, part="trust file", reason=error.text()) from error
    return trust_file.decode_chain(raw, where=where) if is_chain else [raw]


def read_bytes(path: Path) -> bytes:
    """Return the content of a small file of trust. Raises MalformedTrust."""
    try:
        with path.open("rb") as file:
            raw = file.read(MANIFEST_BYTES_MAX + 1)
    except OSError as error:
        reason = error.strerror or str(error)
        raise MalformedTrust(where=str(path), part="file", reason=reason) from error
    if len(raw) > MANIFEST_BYTES_MAX:
        raise MalformedTrust(where=str(path), part="file", reason="it is too large for that")
    return raw


def _kept(trust: Path, number: int) -> bytes | None:
    try:
        raw = path_of(trust, number).read_bytes()
        return raw if trust_file.verify(raw).version == number else None
    except (OSError, TrustRefused):
        return None


@contextmanager
def _alone(trust: Path) -> Iterator[None]:
    """Let one process at a time take a version, where the filesystem can lock; who dies lets go.

    One that stands still (a hung mount) must not hold up a tick for ever. Raises TrustBusy.
    """
    publish.make_folder(trust.with_name(FOLDER))
    descriptor = os.open(trust.with_name(FOLDER), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for _ in range(LOOKS):
            if _locks(descriptor):
                break
            time.sleep(LOOK_S)
        else:
            raise TrustBusy(where=str(trust), seconds=LOOKS * LOOK_S)
        yield
    finally:
        os.close(descriptor)


def _locks(descriptor: int) -> bool:
    """Lock a folder; False while another process has it locked."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
    return True
