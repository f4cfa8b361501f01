"""All rows of many bundle files: copies of one bundle, and a chunk in several, count once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bundle.errors import PulkError
from bundle.look.inspect import Advance, file_bytes, silent
from bundle.look.opened import open_to_look
from bundle.look.signers import signatures
from bundle.look.tables import Named, chunk_rows, manifest_rows
from bundle.look.words import time
from bundle.trust.trust_file import TrustView
from bundle.wire.files import files_of
from bundle.wire.manifest import Manifest
from bundle.wire.read import OpenBundle

COPIES_OPEN_MAX = 64  # of one bundle; parts beyond are passed over and named


def rows_of(
    paths: Iterable[Path], trust: TrustView | None, advance: Advance = silent
) -> Iterator[Named]:
    """Yield the rows of every table, bundle by bundle; what cannot be read is in `problems`.

    `advance` is told how many files are done.
    """
    copies: dict[str, list[Path]] = {}
    for path in paths:
        try:
            with open_to_look(path, trust) as bundle:
                copies.setdefault(bundle.id, []).append(path)
        except PulkError as error:
            yield _problem(str(path), None, error)
            advance(1)
    seen: set[tuple[str, str, bytes]] = set()
    for number, group in enumerate(copies.values(), start=1):
        yield from _bundle_rows(number, group, trust, seen)
        advance(len(group))


def _bundle_rows(
    number: int, paths: list[Path], trust: TrustView | None, seen: set[tuple[str, str, bytes]]
) -> Iterator[Named]:
    with ExitStack() as stack:
        bundles: list[OpenBundle] = []
        for path in paths[:COPIES_OPEN_MAX]:
            try:
                one = stack.enter_context(open_to_look(path, trust))
            except PulkError as error:  # gone or exchanged since it was first looked at
                yield _problem(str(path), None, error)
                continue
            if not bundles or one.id == bundles[0].id:
                bundles.append(one)
        for path in paths[COPIES_OPEN_MAX:]:
            what = f"more than {COPIES_OPEN_MAX} copies of one bundle"
            yield "problems", (str(path), None, "too-many-copies", what)
        if bundles:
            yield from _head(number, bundles, trust)
            yield from _records(number, bundles, seen)


def _head(number: int, bundles: list[OpenBundle], trust: TrustView | None) -> Iterator[Named]:
    first = bundles[0]
    manifest = first.manifest
    holders = [_holder(bundles, place) for place in range(len(first.places))]
    present = sum(one is not None for one in holders)
    believed = (None, "") if trust is None else (1, first.site or manifest.producer)
    facts = (*_facts(manifest), len(holders), present, *believed)
    yield "bundles", (number, first.id, *facts)
    for one in bundles:
        there = len(one.places) - len(one.absent())
        yield "copies", (number, str(one.path), file_bytes(one), there)
    for place, (entry, holder) in enumerate(zip(manifest.chunks, holders, strict=True)):
        stored = (holder or first).places[place]
        sizes = (entry.records, entry.raw_bytes, stored.stored_bytes, stored.codec.name.lower())
        has = int(holder is not None)
        yield "chunks", (number, place, entry.kind, entry.name, *sizes, has, entry.digest.hex())
    for file in files_of(manifest).values():
        has = int(all(holders[place] for place in file.places))
        yield "files", (number, file.digest.hex(), file.size_bytes, len(file.places), has)
    for row in signatures(first, trust):
        yield "signatures", (number, *row.values())
    yield from manifest_rows(number, manifest)


def _records(
    number: int, bundles: list[OpenBundle], seen: set[tuple[str, str, bytes]]
) -> Iterator[Named]:
    for place, entry in enumerate(bundles[0].manifest.chunks):
        key = (entry.kind, entry.name, entry.digest)
        if key in seen:
            continue
        for copy in bundles:
            if not copy.present(place):
                continue
            try:
                yield from chunk_rows(number, entry.kind, entry.name, copy.chunk(place))
                seen.add(key)
                break
            except PulkError as error:  # damaged; another copy may hold it whole
                yield _problem(str(copy.path), place, error)


def _holder(bundles: list[OpenBundle], place: int) -> OpenBundle | None:
    return next((one for one in bundles if one.present(place)), None)


def _facts(manifest: Manifest) -> tuple[Any, ...]:
    rules = manifest.rules
    return (
        manifest.kind.value,
        manifest.producer,
        manifest.audience,
        manifest.stream.hex(),
        manifest.sequence,
        manifest.previous.hex(),
        manifest.created_us,
        time(manifest.created_us),
        manifest.format,
        manifest.epoch.counter if manifest.epoch else None,
        manifest.commit,
        manifest.lifetime_ms,
        rules.network if rules else None,
        rules.node_hours_max_milli if rules else None,
        manifest.raw_bytes(),
    )


def _problem(path: str, place: int | None, error: PulkError) -> Named:
    return "problems", (path, place, error.code, error.text())
