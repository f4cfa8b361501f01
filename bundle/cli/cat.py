"""How `pulk bundle cat` writes one chunk: records as JSON, files and raw chunks as bytes."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from bundle.cli.array import array, write_whole
from bundle.cli.table import write
from bundle.look import content
from bundle.look.content import Chosen
from bundle.look.errors import BinaryToTerminal, NoJson
from bundle.look.records import segment_rows
from bundle.records import segment as segments
from bundle.spool.publish import replacing
from bundle.wire.read import OpenBundle

LINE_CHARS_MAX = 96  # a value that is longer as JSON goes over several lines
INDENT = "  "


def write_chunk(bundle: OpenBundle, arguments: argparse.Namespace) -> None:
    """Write the chunk that was asked for to stdout, or whole or not at all to `--out`."""
    chosen = content.choose(bundle, arguments.chunk)
    texts = None if arguments.raw else _texts(bundle, chosen, as_json=arguments.json)
    if texts is None and arguments.json and arguments.out is None:
        raise NoJson(given=arguments.chunk)
    if texts is None:
        _write_bytes(content.pieces(bundle, chosen), arguments)
    elif arguments.out is None and arguments.json:
        write_whole(texts)
    elif arguments.out is None:
        for text in texts:
            write(text)
    else:
        _to_file((text.encode() for text in texts), arguments.out)


def readable(value: Any, indent: str = "") -> str:
    """Return JSON in which every value that fits on a line is on one."""
    flat = json.dumps(value)
    fits = len(indent) + len(flat) <= LINE_CHARS_MAX
    if fits or not value or not isinstance(value, (dict, list)):
        return flat
    inner = indent + INDENT
    if isinstance(value, dict):
        rows = [f"{json.dumps(name)}: {readable(one, inner)}" for name, one in value.items()]
        ends = "{}"
    else:
        rows, ends = [readable(one, inner) for one in value], "[]"
    body = ",\n".join(inner + row for row in rows)
    return f"{ends[0]}\n{body}\n{indent}{ends[1]}"


def _texts(bundle: OpenBundle, chosen: Chosen, *, as_json: bool) -> Iterator[str] | None:
    """Return the chunks' records as JSON texts, or None where they hold bytes.

    With `as_json` they are one document: an array of attempts, or where there are several chunks.
    """
    kinds = {bundle.manifest.chunks[place].kind for place in chosen.places}
    if as_json and kinds == {"segment"}:
        return array(_attempts(bundle, chosen))
    values = (content.records(bundle, place) for place in chosen.places)
    first = next(values)
    if first is None:
        return None
    all_values = chain([first], values)
    if as_json and len(chosen.places) > 1:
        return array(all_values)
    return (f"{json.dumps(one) if as_json else readable(one)}\n" for one in all_values)


def _attempts(bundle: OpenBundle, chosen: Chosen) -> Iterator[Any]:
    for place in chosen.places:
        yield from segment_rows(segments.decode(bundle.chunk(place)))


def _write_bytes(pieces: Iterator[bytes], arguments: argparse.Namespace) -> None:
    if arguments.out is not None:
        _to_file(pieces, arguments.out)
        return
    is_terminal = sys.stdout.isatty()
    sys.stdout.flush()
    for piece in pieces:
        if is_terminal and not content.is_text(piece):
            raise BinaryToTerminal(given=arguments.chunk)
        sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()


def _to_file(pieces: Iterator[bytes], path: Path) -> None:
    """Write a file that appears whole; a device or pipe is written into as it is."""
    if path.exists() and not path.is_file():
        with path.open("wb") as out:
            out.writelines(pieces)
        return
    with replacing(path) as out:
        out.writelines(pieces)
