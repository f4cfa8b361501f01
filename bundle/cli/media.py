"""`pulk bundle export | import | split | join | eject | gaps`: carrying by hand."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from bundle.cli.named import bundle_path
from bundle.cli.progress import progress
from bundle.cli.table import printable, say
from bundle.errors import PulkError
from bundle.limits import GIB
from bundle.look.opened import load_trust
from bundle.media import size
from bundle.media.copy import must_be_folder
from bundle.wire.manifest import Kind
from bundle.wire.read import open_bundle

MEMORY = "pulk-carried"
PARTS, QUARANTINE = "parts", "quarantine"

Run = Callable[[argparse.Namespace], int]


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands that carry."""
    one = _command(
        subparsers, "export", export, "Fill MEDIUM with the bundles in SOURCE, what matters first."
    )
    one.add_argument("source", type=Path, metavar="SOURCE", help="a folder of bundles")
    one.add_argument("medium", type=Path, metavar="MEDIUM", help="a folder that is there")
    add_sizes(one)
    one.add_argument("--again", action="store_true", help="also what was carried before")

    one = _command(
        subparsers, "import", import_, "Take the bundles on MEDIUM, in parts or not, into INTO."
    )
    one.add_argument("medium", type=Path, metavar="MEDIUM", help="a folder, whatever lies in it")
    one.add_argument("into", type=Path, metavar="INTO", help="where <id>.pulk is to lie")
    one.add_argument(
        "--trust", type=Path, metavar="TRUST", help="refuse what this trust file does not know"
    )

    one = _command(subparsers, "split", split, "Write FILE as parts that verify alone.")
    one.add_argument("file", type=bundle_path, metavar="FILE", help="a bundle file")
    one.add_argument(
        "--size", type=_size, default=2 * GIB - 1, help="of a part, at most [default: 2GiB - 1]"
    )
    one.add_argument("--out", type=Path, required=True, metavar="DIR", help="a folder for them")

    one = _command(subparsers, "join", join, "Make whole bundles of parts, in any order and mix.")
    one.add_argument("files", type=bundle_path, nargs="+", metavar="FILE", help="parts, or copies")
    one.add_argument("--out", type=Path, required=True, metavar="FILE|DIR", help="the whole")
    one.set_defaults(more="files", each=bundle_path)

    one = _command(subparsers, "eject", eject, "Read MEDIUM back, every byte; then it may go.")
    one.add_argument("medium", type=Path, metavar="MEDIUM", help="a folder that export filled")
    one.add_argument(
        "--free", type=Path, metavar="SOURCE", help="remove from here what is whole on MEDIUM"
    )

    one = _command(subparsers, "gaps", gaps, "Say which numbers of each stream are missing in DIR.")
    one.add_argument("folders", type=Path, nargs="+", metavar="DIR", help="folders of bundles")
    one.set_defaults(more="folders", each=Path)


def add_sizes(one: argparse.ArgumentParser) -> None:
    """Add the options that say how much of a medium to use."""
    one.add_argument("--size", type=_size, help="how much of MEDIUM to use [default: what is free]")
    one.add_argument(
        "--part-size", type=_size, help="of a file, at most [default: what the oldest FAT takes]"
    )


def export(arguments: argparse.Namespace) -> int:
    """Run `export`; 1 where a bundle can go on no such medium or a file does not read back."""
    from bundle.media import fill, said
    from bundle.media.choose import PART_BYTES_MAX
    from bundle.media.eject import refuse_same
    from bundle.media.goods import goods_in

    source, medium = arguments.source, arguments.medium
    must_be_folder(source)
    must_be_folder(medium)
    refuse_same(medium, source, "export")
    memory = source / MEMORY
    if arguments.again:
        fill.forget(memory)
    how = fill.Filling(
        memory=memory,
        by=printable(f"pulk bundle export {source.name}"),
        once=True,
        size_bytes=arguments.size,
        part_bytes=arguments.part_size or PART_BYTES_MAX,
        progress=progress,
    )
    filled = fill.fill(goods_in(source), medium, how)
    words = said.filled_words(filled, medium)
    _print(said.filled_document(filled), words, arguments.json)
    return 0 if said.is_well(filled) else 1


def import_(arguments: argparse.Namespace) -> int:
    """Run `import`; 1 where something that looks like ours was not taken."""
    from bundle.media import said
    from bundle.media.take import Reception, take

    into, trust = arguments.into, arguments.trust
    view = None if trust is None else load_trust(trust)

    def judge(path: Path) -> None:
        if view is not None:
            open_bundle(path, view, audience=None, kinds=frozenset(Kind)).close()

    reception = Reception(
        into=into,
        parts=into / PARTS,
        quarantine=into / QUARANTINE,
        known=lambda bundle: (into / f"{bundle}.pulk").exists(),
        judge=judge,
        is_strict=True,
        progress=progress,
    )
    came = list(take(arguments.medium, reception))
    rows = [said.came_document(one) for one in came]
    _print(
        {"came": rows},
        [said.came_words(one) for one in came] or ["nothing lies there"],
        arguments.json,
    )
    return 1 if any(one.is_refused for one in came) else 0


def split(arguments: argparse.Namespace) -> int:
    """Run `split`."""
    from bundle.media.parts import split as cut

    arguments.out.mkdir(parents=True, exist_ok=True)
    parts = cut(arguments.file, arguments.out, arguments.size, progress)
    rows = [
        {
            "file": str(part.path),
            "bytes": part.size_bytes,
            "chunks": None if part.places is None else part.places.to_wire(),
        }
        for part in parts
    ]
    words = [f"{part.path}: {size.words(part.size_bytes)}" for part in parts]
    _print({"parts": rows}, words, arguments.json)
    return 0


def join(arguments: argparse.Namespace) -> int:
    """Run `join`; what is incomplete is refused, and names the chunks that are missing."""
    from bundle.media.parts import join as put_together

    whole, passed_over = put_together(arguments.files, arguments.out, progress)
    about = {
        "bundles": [{"id": one.facts.id, "file": str(one.path)} for one in whole],
        "passed_over": [{"file": str(path), "reason": reason} for path, reason in passed_over],
    }
    words = [f"passed over {path}: {reason}" for path, reason in passed_over]
    _print(about, words + [f"{one.path}: whole" for one in whole], arguments.json)
    return 0


def eject(arguments: argparse.Namespace) -> int:
    """Run `eject`; 1 where a file does not read back as written."""
    from bundle.media import eject as ejecting

    medium = arguments.medium
    if arguments.free is not None:
        must_be_folder(medium)
        must_be_folder(arguments.free)
        ejecting.refuse_custody(arguments.free)
        ejecting.refuse_same(medium, arguments.free, "freeing")
    card = ejecting.read_card(medium)
    checked = ejecting.check(medium, card.rows, progress)
    bad = [one for one in checked if one.problem]
    freed = (
        [] if arguments.free is None else ejecting.free(medium, arguments.free, checked, progress)
    )
    about = {
        "whole": [row.name for row, problem in checked if not problem],
        "bad": [{"file": row.name, "problem": problem} for row, problem in bad],
        "freed": freed,
    }
    words = [f"{row.name}: {problem}" for row, problem in bad]
    words.append(f"{len(checked) - len(bad)} of {len(checked)} files read back as written")
    words += [f"freed {one}" for one in freed]
    _print(about, words, arguments.json)
    return 1 if bad else 0


def gaps(arguments: argparse.Namespace) -> int:
    """Run `gaps`."""
    from bundle.media.gaps import find_gaps, words
    from bundle.media.sight import check_signature, look, looks_like_ours, plain_files

    facts, unread = [], []
    for folder in arguments.folders:
        must_be_folder(folder)
        for path in plain_files(folder, lambda path, why: unread.append((path, why))):
            if looks_like_ours(path):
                try:
                    check_signature(path)
                    facts.append(look(path).facts)
                except PulkError as error:
                    unread.append((path, error.text()))
    found = find_gaps(facts)
    about = {
        "streams": [one.document() for one in found],
        "unread": [{"file": str(path), "reason": reason} for path, reason in unread],
    }
    lines = [words(one) for one in found] + [f"{path}: {reason}" for path, reason in unread]
    _print(about, lines or ["no bundle lies there"], arguments.json)
    return 0


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


def _size(text: str) -> int:
    try:
        return size.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _print(about: dict[str, Any], words: Iterable[str], as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps(about) + "\n")
    else:
        for line in words:
            say(line)
