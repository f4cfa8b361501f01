"""What lies in central's folder that rests on a key: read from the files, without the database."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from bundle.errors import PulkError
from bundle.ids import StreamId
from bundle.limits import BUNDLE_BYTES_MAX
from bundle.trust import revocation, signed
from bundle.trust.errors import DraftImpossible, TrustRefused
from bundle.trust.keys import verify
from bundle.trust.revocation import KEPT_IDS_MAX, Kept, Revocation
from bundle.trust.trust_file import Trust
from bundle.wire import manifest as manifests
from bundle.wire.admit import read_signatures
from bundle.wire.manifest import Kind
from bundle.wire.preauth import CERTIFICATE_TYPE, bundle_type, pae
from bundle.wire.read import open_plain, read_parts

ARCHIVE, PARKED = "archive", "parked"
ALL, NONE = "all", "none"
ID_DIGITS_MIN = 8


@dataclass(frozen=True, slots=True)
class Sent:
    """One bundle that a key signed, or a site whose certificate is by the key."""

    key: bytes
    producer: str
    kind: Kind
    stream: StreamId
    sequence: int
    id: bytes  # 32 bytes
    created_us: int
    is_parked: bool


def files_of(folder: Path, *, parked: bool) -> list[Path]:
    """Return the bundle files of a central's folder (or of an archive alone), sorted."""
    archive = folder / ARCHIVE if (folder / ARCHIVE).is_dir() else folder
    found = sorted(archive.glob("??/*.pulk"))
    return [*found, *sorted((folder / PARKED).glob("*.pulk"))] if parked else found


def survey(
    keys: frozenset[bytes], files: Iterable[Path], advance: Callable[[int], None] = lambda _: None
) -> list[Sent]:
    """Return what rests on the keys, each bundle once; files that are no bundles are passed over.

    Signatures are verified, content is not looked at. `advance` is called for each file.
    """
    certified: dict[bytes, frozenset[bytes]] = {}
    found: dict[tuple[bytes, bytes], Sent] = {}
    for path in files:
        advance(1)
        try:
            kind, manifest_bytes, signatures = _parts(path)
            for one in signatures:
                if not verify(one.key, pae(bundle_type(kind), manifest_bytes), one.signature):
                    continue
                for key in keys & {one.key, *_registrars(one.certificate, keys, certified)}:
                    sent = _sent(key, kind, manifest_bytes, path.parent.name == PARKED)
                    found.setdefault((key, sent.id), sent)
        except (PulkError, OSError):
            continue
    return sorted(found.values(), key=lambda one: (one.key, one.stream, one.sequence, one.id))


def keys_of_site(site: str, files: Iterable[Path]) -> frozenset[bytes]:
    """Return the keys with which a site signed bundles among the files; nothing is verified."""
    found: set[bytes] = set()
    for path in files:
        try:
            _, manifest_bytes, signatures = _parts(path)
            if manifests.decode(manifest_bytes).producer == site:
                found.update(one.key for one in signatures if one.certificate)
        except (PulkError, OSError):
            continue
    return frozenset(found)


def choose(sent: Sequence[Sent], words: Sequence[str]) -> list[Sent]:
    """Return what is to be kept.

    Args:
        sent: what there is.
        words: `all`; `none`; `STREAM:N`, the numbers up to N of a stream; or a bundle's id. Streams
            and ids may be given by their first digits.

    Raises DraftImpossible for a word that fits nothing.
    """
    chosen: dict[tuple[bytes, bytes], Sent] = {}
    for word in words:
        fitting = list(_fitting(sent, word))
        if not fitting and word not in (ALL, NONE):
            raise DraftImpossible(reason=f"--keep {word} fits nothing that lies here")
        chosen.update(((one.key, one.id), one) for one in fitting)
    return [one for one in sent if (one.key, one.id) in chosen]


def revocations_of(keys: Iterable[bytes], chosen: Sequence[Sent], trust: Trust) -> list[Revocation]:
    """Return the keys' revocations that keep what is chosen, besides what was kept before.

    Every bundle is pinned by its id; where these are too many for a trust file, each stream is kept
    from the first to the last number, and that one is pinned.
    """
    room = KEPT_IDS_MAX - sum(one.ids() for one in trust.revocations)
    made = []
    for key in keys:
        one = _revocation(key, chosen, trust.revocation_of(key), room)
        before = trust.revocation_of(key)
        room -= one.ids() - (before.ids() if before else 0)
        made.append(one)
    return made


def _revocation(
    key: bytes, chosen: Iterable[Sent], before: Revocation | None, room: int
) -> Revocation:
    kept = list(before.kept) if before else []
    fresh = [
        one
        for one in chosen
        if one.key == key and not (before and before.keeps(one.stream, one.sequence, one.id))
    ]
    is_small = len(fresh) <= min(room, KEPT_IDS_MAX // 2)
    make = revocation.pinned if is_small else revocation.headed
    for stream, ones in groupby(fresh, key=lambda one: one.stream):
        kept += make(stream, [(one.sequence, one.id) for one in ones])
    return Revocation(key, tuple(kept))


def is_pinned(kept: Kept) -> bool:
    """Return whether each kept number is pinned by its id."""
    return len(kept.ids) == 32 * kept.count


def _fitting(sent: Iterable[Sent], word: str) -> Iterator[Sent]:
    stream, colon, last = word.partition(":")
    for one in sent:
        if (
            word == ALL
            or (
                (colon and last.isdecimal() and _starts(one.stream, stream, 1))
                and one.sequence <= int(last)
            )
            or (not colon and _starts(one.id, word, ID_DIGITS_MIN))
        ):
            yield one


def _starts(full: bytes, digits: str, least: int) -> bool:
    return len(digits) >= least and full.hex().startswith(digits.lower())


def _parts(path: Path) -> tuple[Kind, bytes, tuple[signed.Signature, ...]]:
    descriptor, size = open_plain(path, BUNDLE_BYTES_MAX)
    try:
        head, parts = read_parts(descriptor, size, str(path), frozenset(Kind))
        return head.kind, parts[0], read_signatures(parts[1], str(path))
    finally:
        os.close(descriptor)


def _sent(key: bytes, kind: Kind, manifest_bytes: bytes, is_parked: bool) -> Sent:
    m = manifests.decode(manifest_bytes)
    own = bytes.fromhex(manifests.bundle_id(manifest_bytes))
    return Sent(key, m.producer, kind, m.stream, m.sequence, own, m.created_us, is_parked)


def _registrars(
    raw: bytes, keys: frozenset[bytes], known: dict[bytes, frozenset[bytes]]
) -> frozenset[bytes]:
    if not raw:
        return frozenset()
    if raw not in known:
        try:
            known[raw] = signed.decode(raw, "certificate").signers(CERTIFICATE_TYPE, keys)
        except TrustRefused:
            known[raw] = frozenset()
    return known[raw]


__all__ = [
    "ALL", "NONE", "Sent", "choose", "files_of", "is_pinned", "keys_of_site",
    "revocations_of", "survey",
]  # fmt: skip
