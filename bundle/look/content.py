"""One chunk's content: which chunk a person means, and its records or bytes."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

from bundle.digest import PLAIN_KINDS
from bundle.errors import PulkError
from bundle.look.errors import AmbiguousChunk, PiecesMismatch
from bundle.look.records import KNOWN_KINDS, records_of
from bundle.wire.errors import NoSuchChunk
from bundle.wire.files import FileChunks, files_of
from bundle.wire.read import OpenBundle

HEX_CHARS_MIN = 6  # of an abbreviated digest: fewer look like a place
FITS_SHOWN = 8
_HEX = re.compile(rf"[0-9a-f]{{{HEX_CHARS_MIN},64}}")


@dataclass(frozen=True, slots=True)
class Chosen:
    """What was meant: a whole file, or chunks of records or bytes by their places."""

    file: FileChunks | None
    places: tuple[int, ...]


def choose(bundle: OpenBundle, given: str) -> Chosen:
    """Return what `given` means: a place, a kind, `kind:name`, or a digest; names may be cut short.

    A kind of records stands for all its chunks. Raises NoSuchChunk, AmbiguousChunk.
    """
    chunks = bundle.manifest.chunks
    if given.isascii() and given.isdecimal() and len(given) <= 5 and int(given) < len(chunks):
        return Chosen(None, (int(given),))
    if _HEX.fullmatch(given):
        return _by_digest(bundle, given)
    kind, colon, name = given.partition(":")
    of_kind = bundle.find(kind)
    if not colon:
        if len(of_kind) > 1 and kind in PLAIN_KINDS:
            raise _ambiguous(bundle, given, of_kind)
        return Chosen(None, tuple(of_kind)) if of_kind else _nothing(bundle, given)
    exact = [place for place in of_kind if chunks[place].name == name]
    fits = exact or [place for place in of_kind if name and chunks[place].name.startswith(name)]
    return Chosen(None, (_only(bundle, given, fits),))


def records(bundle: OpenBundle, place: int) -> Any:
    """Return a chunk's records as plain values, or None where it holds bytes.

    Raises BundleRefused, and PulkError where a known kind of records is not well-formed.
    """
    kind = bundle.manifest.chunks[place].kind
    if kind in PLAIN_KINDS:
        return None
    raw = bundle.chunk(place)
    if kind in KNOWN_KINDS:
        return records_of(kind, raw)
    try:
        return records_of(kind, raw)
    except PulkError:
        return None  # a kind of later versions that is no msgpack


def pieces(bundle: OpenBundle, chosen: Chosen) -> Iterator[bytes]:
    """Yield raw bytes, each chunk verified before any byte of it comes out.

    Raises BundleRefused; PiecesMismatch at the end, where all pieces are right but not the file's.
    """
    whole = hashlib.sha256()
    for place in chosen.places:
        raw = bundle.chunk(place)
        whole.update(raw)
        yield raw
    if chosen.file is not None and whole.digest() != chosen.file.digest:
        raise PiecesMismatch(where=str(bundle.path), file=chosen.file.digest.hex())


def is_text(raw: bytes) -> bool:
    """Return whether bytes are text that a terminal shows and does not obey."""
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return False
    return all(one.isprintable() or one in "\n\t" for one in text)


def _by_digest(bundle: OpenBundle, given: str) -> Chosen:
    files = [one for key, one in files_of(bundle.manifest).items() if key.hex().startswith(given)]
    if len(files) == 1:
        return Chosen(files[0], files[0].places)
    if files:
        raise _ambiguous(bundle, given, [one.places[0] for one in files])
    rows = list(enumerate(bundle.manifest.chunks))
    fits = [place for place, entry in rows if entry.digest.hex().startswith(given)]
    fits = fits or [place for place, entry in rows if entry.name.startswith(given)]
    return Chosen(None, (_only(bundle, given, fits),))


def _only(bundle: OpenBundle, given: str, fits: list[int]) -> int:
    if len(fits) > 1:
        raise _ambiguous(bundle, given, fits)
    return fits[0] if fits else _nothing(bundle, given)


def _nothing(bundle: OpenBundle, given: str) -> NoReturn:
    kind, _, name = given.rpartition(":")
    raise NoSuchChunk(where=str(bundle.path), kind=kind or "that is", name=name)


def _ambiguous(bundle: OpenBundle, given: str, fits: list[int]) -> AmbiguousChunk:
    chunks = bundle.manifest.chunks
    shown = [f"{place} {chunks[place].kind}:{chunks[place].name[:16]!r}" for place in fits]
    more = ["..."] if len(fits) > FITS_SHOWN else []
    return AmbiguousChunk(
        where=str(bundle.path),
        given=given,
        count=len(fits),
        fits=", ".join(shown[:FITS_SHOWN] + more),
    )
