"""After central began a new epoch: it was set back, so it is told again all that it may not know.

What is not safe goes back to `out/`, and bundles that only introduce say again what every work
bundle here rests on. So a central with an old backup learns leases that it gave and forgot, before
it reads results that refer to them. That this is owed is a file: a crash only repeats it.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from bundle.digest import chunk_digest
from bundle.errors import PulkError
from bundle.ids import BundleId
from bundle.spool import publish
from bundle.spool.layout import Spool
from bundle.wire.manifest import Kind, Manifest
from bundle.wire.read import OpenBundle
from bundle.wire.write import ChunkSource, write_bundle
from relay import custody, state, stream, works
from relay.core.custody import NO_EPOCH
from relay.home import Home
from relay.results import draft_of
from relay.sources import Sources
from relay.stream import Record

CHUNKS_MAX = 8192  # of one bundle that introduces; more than one work bundle may need
_LOG = logging.getLogger(__name__)
_EXPLAINED = ("lease", "dataset")


@dataclass(frozen=True, slots=True)
class _Said:
    """One chunk that is said again, and the work bundle that it is of."""

    work: BundleId
    digest: bytes
    source: ChunkSource


def note(spool: Spool, manifest: Manifest) -> None:
    """Remember that a resync is owed, where a work bundle is the first of a later epoch."""
    epoch, known = manifest.epoch or NO_EPOCH, state.read_central(spool).epoch
    if known != NO_EPOCH and epoch.counter > known.counter:
        publish.write_file(spool.folder("tmp"), _owed(spool), b"")


def resync(home: Home) -> int:
    """Do what is owed; return how many bundles were made. Under the tick's lock."""
    if not _owed(home.spool).exists():
        return 0
    _LOG.warning("central began a new epoch: all that is not safe is sent again")
    custody.take_back(home)
    live = works.ids(home.spool)
    for work in live:
        stream.forget_told(home.spool, work)
    made = 0
    with Sources(home.spool, home.trust(), home.site) as sources:
        for said in _portions(_explained(sources, live)):
            made += stream.publish_next(home.spool, _Draft(home, said)) is not None
    publish.remove(_owed(home.spool))
    return made


@dataclass(frozen=True, slots=True)
class _Draft:
    """Writes the chunks as a result bundle without results, of whatever number is free."""

    home: Home
    said: list[_Said]

    def __call__(self, sequence: int, previous: bytes) -> tuple[Path, Record]:
        number = stream.current(self.home.spool)
        chunks = {one.digest: one.source for one in self.said}
        draft = draft_of(self.home, Kind.RESULT, number, sequence, previous)
        path = self.home.tmp / f"bundle-{os.getpid()}-{os.urandom(6).hex()}"
        made = write_bundle(
            path, replace(draft, introduces=tuple(chunks)), chunks.values(), self.home.signer
        )
        works_of = tuple(sorted({one.work for one in self.said}))
        introduces = tuple((one.work, one.digest) for one in self.said)
        return path, Record(number, sequence, made, Kind.RESULT, works_of, introduces=introduces)


def _explained(sources: Sources, live: list[BundleId]) -> Iterator[_Said]:
    """Yield what the work bundles here rest on, each one's manifest before its leases."""
    for work in live:
        with contextlib.suppress(FileNotFoundError):
            try:
                yield from _of_work(work, sources.bundle(work))
            except PulkError as error:
                # Its key was revoked since, or another tick retires it: nothing to be said.
                _LOG.warning("work not explained", extra={"work": work, "reason": error.text()})


def _of_work(work: BundleId, bundle: OpenBundle) -> Iterator[_Said]:
    raw = bundle.envelope()
    digest = chunk_digest("work-manifest", raw)
    yield _Said(work, digest, ChunkSource("work-manifest", work, 1, raw))
    for kind in _EXPLAINED:
        for place in bundle.find(kind):
            entry = bundle.manifest.chunks[place]
            source = ChunkSource(kind, entry.name, entry.records, bundle.chunk(place))
            yield _Said(work, entry.digest, source)


def _portions(said: Iterator[_Said]) -> Iterator[list[_Said]]:
    """Cut into bundles; a portion begins with the manifest that its leases are listed in."""
    portion: list[_Said] = []
    manifest: _Said | None = None
    for one in said:
        if one.source.kind == "work-manifest":
            manifest = one
        if len(portion) >= CHUNKS_MAX:
            yield portion
            portion = [manifest] if manifest is not None and manifest is not one else []
        portion.append(one)
    if portion:
        yield portion


def _owed(spool: Spool) -> Path:
    return state.folder(spool) / "resync"
