"""Work bundles that come without what this site has: completed here, or asked for whole.

A site tells in its reports which documents and files it has; central leaves these out of what it
sends. Documents are kept in `state/documents/`, the newest `DOCUMENTS_MAX` of them.
"""

from __future__ import annotations

import contextlib
import heapq
import re
from pathlib import Path

from bundle.digest import chunk_digest, file_digest
from bundle.ids import BundleId
from bundle.records.report import HAS_MAX
from bundle.spool import publish
from bundle.spool.layout import Spool
from bundle.wire import thin
from bundle.wire.entries import PIECE, ChunkEntry, piece_of
from bundle.wire.errors import AbsentChunk
from bundle.wire.files import files_of
from bundle.wire.read import OpenBundle
from relay import state, works
from relay.home import Home
from relay.listing import names
from relay.works import Work

DATASET = "dataset"
DOCUMENTS_MAX = 256
_DIGEST = re.compile(r"[0-9a-f]{64}")


def check(home: Home, bundle: OpenBundle) -> None:
    """Verify what is in a copy of a bundle, and that all that is absent is here.

    Raises AbsentChunk, which names the first chunk that is nowhere, and what damage raises.
    """
    bundle.check_present()
    sound: set[bytes] = set()
    sizes = {file.digest: file.size_bytes for file in files_of(bundle.manifest).values()}
    for place in bundle.absent():
        entry = bundle.manifest.chunks[place]
        if entry.kind == DATASET:
            is_here = _document(home.spool, entry) is not None
        else:
            file = piece_of(entry)[0] if entry.kind == PIECE else entry.digest
            is_here = file in sound or is_whole(home.spool.data(file), file, sizes.get(file))
            sound.add(file)
        if not is_here:
            raise AbsentChunk(where=str(bundle.path), place=place, kind=entry.kind, name=entry.name)


def document(home: Home, bundle: OpenBundle, place: int) -> bytes:
    """Return a dataset document of a bundle that `check` found complete here."""
    if bundle.present(place):
        return bundle.chunk(place)
    found = _document(home.spool, bundle.manifest.chunks[place])
    if found is None:
        bundle.check_chunk(place)  # raises AbsentChunk
    return found or b""


def keep_documents(home: Home, bundle: OpenBundle) -> None:
    """Keep a bundle's documents, so that central need not send them again."""
    folder = _folder(home.spool)
    publish.make_folder(folder)
    for place in bundle.find(DATASET):
        path = folder / bundle.manifest.chunks[place].digest.hex()
        if bundle.present(place) and _document(home.spool, bundle.manifest.chunks[place]) is None:
            publish.write_file(home.tmp, path, bundle.chunk(place))
    paths = [folder / name for name in _documents(home.spool)]
    for old in heapq.nsmallest(len(paths) - DOCUMENTS_MAX, paths, key=_age):
        old.unlink(missing_ok=True)


def write_complete(home: Home, bundle: OpenBundle, to: Path) -> None:
    """Write the bundle with its documents; files that are absent lie in `data/` anyway."""
    bodies = {
        place: document(home, bundle, place)
        for place in bundle.find(DATASET)
        if not bundle.present(place)
    }
    thin.fill(bundle.path, to, bodies)


def has(home: Home, live: list[Work]) -> tuple[bytes, ...]:
    """Return the digests of documents and files that central need not send."""
    documents = [bytes.fromhex(name) for name in _documents(home.spool)]
    files = {file for work in live for file in (*work.data, *works.outputs(home.spool, work.id))}
    here = [file for file in sorted(files) if home.spool.data(file).exists()]
    return tuple(sorted((documents + here)[:HAS_MAX]))


def want_whole(home: Home, bundle: BundleId) -> None:
    """Ask central, from the next report on, to send a bundle whole."""
    state.append_rows(_wanted(home.spool), [bytes.fromhex(bundle)])


def wanted_whole(spool: Spool) -> tuple[BundleId, ...]:
    """Return the bundles that central must send whole and that have not come yet."""
    with contextlib.suppress(FileNotFoundError):
        data = _wanted(spool).read_bytes()
        ids = [BundleId(data[at : at + 32].hex()) for at in range(0, len(data) - 31, 32)]
        return tuple(one for one in dict.fromkeys(ids) if not state.is_seen(spool, one))
    return ()


def is_whole(path: Path, file: bytes, size: int | None) -> bool:
    """Return whether a file here has the size and digest that it should have."""
    try:
        return path.stat().st_size == size and file_digest(path) == file
    except OSError:
        return False


def _document(spool: Spool, entry: ChunkEntry) -> bytes | None:
    try:
        raw = (_folder(spool) / entry.digest.hex()).read_bytes()
    except OSError:
        return None
    return raw if chunk_digest(DATASET, raw) == entry.digest else None


def _documents(spool: Spool) -> list[str]:
    """Return the names of the kept documents; what else lies there is left alone."""
    return [name for name in names(_folder(spool)) if _DIGEST.fullmatch(name)]


def _folder(spool: Spool) -> Path:
    return state.folder(spool) / "documents"


def _wanted(spool: Spool) -> Path:
    return state.folder(spool) / "wanted-whole"


def _age(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
