"""`pulk bundle inspect | verify | ls | cat | diff | query`: reading bundles, with files alone."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bundle.cli import shown
from bundle.cli.named import bundle_path
from bundle.cli.progress import progress
from bundle.cli.table import say
from bundle.errors import PulkError
from bundle.look.inspect import chunk_rows, describe, verify_whole
from bundle.look.listing import row_of
from bundle.look.opened import load_trust, open_to_look
from bundle.media.sight import looks_like_ours, plain_files
from bundle.trust.trust_file import TrustView
from bundle.wire.read import OpenBundle

Run = Callable[[argparse.Namespace], int]


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands that read bundles."""
    one = _command(subparsers, "inspect", inspect, "Show what FILE says of itself and would do.")
    one.add_argument("file", type=bundle_path, metavar="FILE", help="a bundle file")
    _trust(one)

    one = _command(subparsers, "verify", verify, "Verify signatures and every byte of each FILE.")
    one.add_argument("files", type=bundle_path, nargs="+", metavar="FILE", help="bundle files")
    _trust(one, required=True)
    one.add_argument(
        "--partial", action="store_true", help="chunks may be absent, as in a part or a delta"
    )
    one.set_defaults(more="files", each=bundle_path)

    one = _command(subparsers, "ls", ls, "List the chunks of a bundle, or the bundles in a folder.")
    one.add_argument("path", type=bundle_path, metavar="PATH", help="a bundle file or a folder")
    _trust(one)
    one.add_argument(
        "--read", action="store_true", help="also read every chunk, to find damaged ones"
    )

    one = _command(subparsers, "cat", cat, "Show one chunk, or write a file that a bundle brings.")
    one.add_argument("file", type=bundle_path, metavar="FILE", help="a bundle file")
    one.add_argument(
        "chunk",
        metavar="CHUNK",
        help="a place, a kind, kind:name, or a file's SHA-256; names and digests may be cut short",
    )
    _trust(one)
    one.add_argument("--out", type=Path, metavar="PATH", help="write here instead of stdout")
    one.add_argument("--raw", action="store_true", help="records as they are encoded")

    one = _command(subparsers, "diff", diff, "Show what differs between two bundles; 1 where any.")
    one.add_argument("a", type=bundle_path, metavar="A", help="a bundle file")
    one.add_argument("b", type=bundle_path, metavar="B", help="another one")

    one = _command(subparsers, "query", query, "Ask bundles in SQL; see --schema.")
    one.add_argument("given", nargs="*", metavar="PATH", help="bundle files or folders")
    one.add_argument("sql", nargs="?", metavar="SQL", help="one statement that only reads")
    _trust(one)
    one.add_argument("--csv", action="store_true", help="comma-separated values on stdout")
    one.add_argument("--schema", action="store_true", help="print the tables and their columns")
    one.set_defaults(refuse=one.error, more="given", each=str)


def inspect(arguments: argparse.Namespace) -> int:
    """Run `inspect`; 1 where the trust file refuses the bundle."""
    trust = _view(arguments)
    with progress("reading", _size(arguments.file)) as advance:
        found = describe(arguments.file, trust, advance)
    if arguments.json:
        _print_json(found)
    else:
        shown.facts(found)
    return 1 if found["verified"] is False else 0


def verify(arguments: argparse.Namespace) -> int:
    """Run `verify`; 1 where a file is refused."""
    trust = load_trust(arguments.trust)
    rows: list[dict[str, Any]] = []
    with progress("verifying", sum(map(_size, arguments.files))) as advance:
        for path in arguments.files:
            row = _verified(path, trust, arguments.partial, advance)
            rows.append(row)
            if not arguments.json:
                shown.verdict(row, trust.version)
    is_good = all(row["verified"] for row in rows)
    if arguments.json:
        _print_json({"verified": is_good, "trust_version": trust.version, "files": rows})
    return 0 if is_good else 1


def ls(arguments: argparse.Namespace) -> int:
    """Run `ls`; with --trust or --read, 1 where something is refused or damaged."""
    trust = _view(arguments)
    if arguments.path.is_dir():
        return _ls_folder(arguments, trust)
    with open_to_look(arguments.path, trust) as bundle:
        rows = chunk_rows(bundle)
        if arguments.read:
            with progress("reading", _size(arguments.path)) as advance:
                for row in rows:
                    row["state"] = _state(bundle, row["place"], advance)
        if arguments.json:
            _print_json({"path": str(arguments.path), "id": bundle.id, "chunks": rows})
        else:
            shown.chunks(rows)
    return 1 if any(row.get("state") == "damaged" for row in rows) else 0


def cat(arguments: argparse.Namespace) -> int:
    """Run `cat`."""
    from bundle.cli.cat import write_chunk

    trust = _view(arguments)
    with open_to_look(arguments.file, trust) as bundle:
        if trust is None:
            say("nothing vouches for this: it was read without --trust", sys.stderr)
        write_chunk(bundle, arguments)
    return 0


def diff(arguments: argparse.Namespace) -> int:
    """Run `diff`; 1 where the two differ."""
    from bundle.look.differ import differences

    with open_to_look(arguments.a, None) as a, open_to_look(arguments.b, None) as b:
        found = differences(a, b)
    if arguments.json:
        _print_json(found)
    else:
        shown.differences(found)
    return 0 if found["same"] else 1


def query(arguments: argparse.Namespace) -> int:
    """Run `query`; 1 where a file could not be read, so that the answer rests on the others."""
    from bundle.cli.query import answer, print_schema

    if arguments.schema:
        print_schema(arguments.json)
        return 0
    if len(arguments.given) < 2:
        arguments.refuse("PATH... SQL are needed: which bundles, and what to ask")
    if arguments.json and arguments.csv:
        arguments.refuse("--json and --csv exclude each other")
    *names, sql = arguments.given  # argparse gives them all to the first
    try:
        paths = [path for name in names for path in _bundles_in(bundle_path(name))]
    except argparse.ArgumentTypeError as error:
        arguments.refuse(str(error))
    return answer(paths, sql, _view(arguments), arguments)


def _command(
    subparsers: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    run: Run,
    words: str,
) -> argparse.ArgumentParser:
    one = subparsers.add_parser(name, help=words, description=words)
    one.add_argument("--json", action="store_true", help="JSON on stdout, nothing else there")
    one.set_defaults(run=run)
    return one


def _trust(one: argparse.ArgumentParser, *, required: bool = False) -> None:
    words = "trust file to verify against" + ("" if required else "; without it nobody vouches")
    one.add_argument("--trust", type=Path, required=required, metavar="TRUST", help=words)


def _view(arguments: argparse.Namespace) -> TrustView | None:
    return None if arguments.trust is None else load_trust(arguments.trust)


def _verified(
    path: Path, trust: TrustView, partial: bool, advance: Callable[[int], None]
) -> dict[str, Any]:
    try:
        row = verify_whole(path, trust, partial=partial, advance=advance)
    except PulkError as error:
        return {"path": str(path), "verified": False, "refusal": error.diagnostics()}
    return {"path": str(path)} | row


def _state(bundle: OpenBundle, place: int, advance: Callable[[int], None]) -> str:
    if not bundle.present(place):
        return "absent"
    try:
        bundle.check_chunk(place)
    except PulkError:
        return "damaged"
    finally:
        advance(bundle.places[place].stored_bytes)
    return "whole"


def _ls_folder(arguments: argparse.Namespace, trust: TrustView | None) -> int:
    folder: Path = arguments.path
    passed_over: list[tuple[Path, str]] = []
    files = list(plain_files(folder, lambda path, why: passed_over.append((path, why))))
    found = [path for path in files if looks_like_ours(path)]
    total = sum(map(_size, found)) if arguments.read else 0
    with progress("reading", total) as advance:
        rows = [
            row_of(path, str(path.relative_to(folder)), trust, read=arguments.read, advance=advance)
            for path in found
        ]
    others = len(files) - len(found)
    if arguments.json:
        told = [{"path": str(path), "why": why} for path, why in passed_over]
        value = {"path": str(folder), "bundles": rows, "other_files": others}
        _print_json(value | {"passed_over": told})
    else:
        for path, why in passed_over:
            _tell(path, why)
        shown.folder(rows, others, was_read=arguments.read)
    is_judged = trust is not None or arguments.read
    return 1 if is_judged and any("refusal" in row for row in rows) else 0


def _bundles_in(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        return iter((path,))
    return filter(looks_like_ours, plain_files(path, _tell))


def _tell(path: Path, why: str) -> None:
    say(f"passed over: {path}: {why}", sys.stderr)


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        return 0


def _print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
