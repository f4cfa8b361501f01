"""`pulk keys`: root keys, the trust file from version to version, revocation, a look at each."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bundle.cli import drafting
from bundle.cli.drafting import say
from bundle.trust import (
    audit,
    describe,
    draft,
    keyring,
    roots,
    survey,
    trust_file,
    versions,
)
from bundle.trust.keys import KeyFile, Role
from bundle.trust.quickstart import save_trust
from bundle.trust.revocation import Revocation

EXIT_WRONG = 1
NEW_ROLES = (Role.USER, Role.SITE, Role.ROOT)
KEEP = (
    "all: all that came; none; STREAM:N: the numbers up to N of a stream; or a bundle's id; may be "
    "repeated"
)


def command(arguments: list[str]) -> int:
    """Run `pulk keys` with these arguments; return the exit code."""
    given = parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = given.run
    return run(given)


def parser() -> argparse.ArgumentParser:
    """Return the parser of `pulk keys`."""
    top = argparse.ArgumentParser(prog="pulk keys", description=__doc__)
    commands = top.add_subparsers(metavar="COMMAND", required=True)

    def add(name: str, run: Callable[[argparse.Namespace], int], words: str) -> Any:
        one = commands.add_parser(name, help=words, description=words)
        one.set_defaults(run=run)
        one.add_argument("--json", action="store_true", help="one JSON document on stdout")
        return one

    one = add("root-init", _root_init, "Make root keys in DIR, each in a folder of its own.")
    one.add_argument("folder", metavar="DIR", type=Path, help="a new folder, not central's")
    one.add_argument("--keys", type=int, default=3, help="how many keys [default: 3]")
    one.add_argument("--threshold", type=int, help="how many must sign [default: more than half]")

    one = add("new", _new, "Make one private key file.")
    one.add_argument("file", metavar="FILE", type=Path, help="the new file, mode 0600")
    one.add_argument("--role", required=True, choices=NEW_ROLES, help="what the key is for")

    one = add("rotate", drafting.rotate, "Prepare the next trust version with fresh keys in it.")
    _add_draft(one, is_needed=True)
    one.add_argument("--central", action="store_true", help="the next central key takes over")
    one.add_argument("--registrar", action="store_true", help="a fresh registrar takes over")
    one.add_argument("--fresh", action="store_true", help="the next central key is lost too")
    one.add_argument("--next-dir", type=Path, help="where next central keys are kept instead")
    one.add_argument("--roots", type=Path, help="replace all root keys: a file of `root-init`")
    one.add_argument("--add-root", type=Path, help="add root keys: a file of `root-init`")
    one.add_argument("--drop-root", action="append", default=[], help="a root key, by its digits")
    one.add_argument("--threshold", type=int, help="how many root keys must sign from then on")

    one = add("revoke", drafting.revoke, "Prepare the next trust version without some keys.")
    _add_draft(one)
    _add_choice(one)
    one = add(
        "requalify", drafting.requalify, "Prepare the next trust version that keeps more of them."
    )
    _add_draft(one)
    _add_choice(one)

    one = add("sign", _sign, "Sign a prepared trust version with root keys; says what is missing.")
    one.add_argument("draft", metavar="TRUST", type=Path, help="the prepared file; it is replaced")
    one.add_argument("--key", action="append", required=True, type=Path, help="a root key file")

    one = add("take", _take, "Put a signed trust version in force, and its keys in their places.")
    one.add_argument("folder", metavar="DIR", type=Path, help="central's or a relay's folder")
    one.add_argument("draft", metavar="TRUST", type=Path, help="the signed file, or a chain")
    one.add_argument("--retired-to", type=Path, help="keep old private keys there, not nowhere")

    one = add(
        "show", _show, "Show what a file of keys or trust says; of private keys their public half."
    )
    one.add_argument("file", metavar="FILE", type=Path, help="trust, key, request, bundle, ...")

    one = add("check", _check, "Look at the keys of central or a relay; exit code 1 if wrong.")
    one.add_argument("folder", metavar="DIR", type=Path, help="central's or a relay's folder")
    return top


def _add_draft(one: argparse.ArgumentParser, *, is_needed: bool = False) -> None:
    words = "the file to be signed" + ("" if is_needed else "; nothing is made without it")
    one.add_argument("folder", metavar="DIR", type=Path, help="central's folder")
    one.add_argument("--out", type=Path, required=is_needed, help=words)


def _add_choice(one: argparse.ArgumentParser) -> None:
    words = "central, next, registrar, a site's name, a file that holds the key, or its hex digits"
    one.add_argument("keys", metavar="KEY", nargs="+", help=words)
    one.add_argument("--keep", action="append", required=True, metavar="WHAT", help=KEEP)


def _root_init(given: argparse.Namespace) -> int:
    threshold = given.keys // 2 + 1 if given.threshold is None else given.threshold
    made = roots.make(given.folder.absolute(), given.keys, threshold)
    about = {
        "dir": str(given.folder),
        "root_fingerprint": made.fingerprint,
        "threshold": made.threshold,
        "roots": [describe.key(one) for one in made.keys],
    }
    return say(given, about, [*describe.words(about), "Each key on a stick of its own."])


def _new(given: argparse.Namespace) -> int:
    made = KeyFile.create(given.file, Role(given.role))
    about = {"file": str(given.file), "role": made.role.value, "key": describe.key(made.public)}
    return say(given, about, describe.words(about))


def _sign(given: argparse.Namespace) -> int:
    files = versions.read_files(given.draft)
    where = str(given.draft)
    for path in given.key:
        files = draft.signed_by(files, KeyFile.load(path, Role.ROOT), where=where)
    found = draft.standing(files, where=where)
    raw = files[0] if len(files) == 1 else trust_file.encode_chain(files)
    save_trust(given.draft, raw)
    about = {"file": where, **describe.standing(found)}
    about["changes"] = draft.changes(found.before, found.after) if found.before else []
    words = [f"trust version {found.after.version}:", *(f"  {line}" for line in about["changes"])]
    for whose, missing in (("present", found.missing_before), ("new", found.missing_after)):
        if missing:
            words.append(f"{missing} more of the {whose} root keys must sign")
    if found.is_complete:
        words.append("complete: `pulk keys take` puts it in force")
    return say(given, about, words)


def _take(given: argparse.Namespace) -> int:
    folder: Path = given.folder
    path = audit.trust_path(folder)
    files, where = versions.read_files(given.draft), str(given.draft)
    done: list[str] = []
    left: list[str] = []
    if audit.is_relay(folder):
        found = versions.take(path, files, where=where)
    else:
        current = trust_file.load(path)
        after = trust_file.advance(current, trust_file.encode_chain(files), where=where)
        keyring.plan(folder, after)  # before anything changes: every key that is needed is there
        found = versions.take(path, files, where=where)
        done = keyring.carry_out(folder, found, keyring.plan(folder, found), given.retired_to)
        left = _not_kept(
            folder, [one for one in found.revocations if one not in current.revocations]
        )
    about = {"version": found.version, "done": done, "not_kept": left}
    words = [f"trust version {found.version} is in force", *done]
    words += [f"archived and not kept: {line}" for line in left]
    if left:
        words.append(
            "What of it is honest, `pulk keys requalify` keeps; the rest goes with"
            " `pulk central rebuild`."
        )
    return say(given, about, words)


def _not_kept(folder: Path, revoked: Sequence[Revocation]) -> list[str]:
    """Return what lies in the archive and counts no more, which may have come since the draft."""
    by_key = {one.key: one for one in revoked}
    return [
        f"{one.producer} {one.sequence} {one.kind} {one.id.hex()}"
        for one in drafting.surveyed(
            list(by_key), survey.files_of(folder, parked=False) if by_key else []
        )
        if not by_key[one.key].keeps(one.stream, one.sequence, one.id)
    ]


def _show(given: argparse.Namespace) -> int:
    about = describe.describe(given.file)
    return say(given, about, describe.words(about))


def _check(given: argparse.Namespace) -> int:
    found = audit.examine(given.folder.absolute())
    wrong = any(one.is_wrong for one in found)
    words = [
        f"{'!' if one.is_wrong else '*' if one.remedy else ' '} {one.name}: {one.found}"
        + (f"; {one.remedy}" if one.remedy else "")
        for one in found
    ]
    say(given, {"ok": not wrong, "findings": [asdict(one) for one in found]}, words)
    return EXIT_WRONG if wrong else 0
