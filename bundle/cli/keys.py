"""`pulk keys`: root keys, the trust file from version to version, revocation, a look at each."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bundle.cli.progress import progress
from bundle.spool import publish
from bundle.trust import (
    audit,
    describe,
    draft,
    keyring,
    naming,
    roots,
    survey,
    trust_file,
    versions,
)
from bundle.trust.errors import DraftImpossible
from bundle.trust.keys import KeyFile, Role
from bundle.trust.quickstart import save_trust
from bundle.trust.revocation import Revocation
from bundle.trust.roots import Roots
from bundle.trust.trust_file import Trust

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

    one = add("rotate", _rotate, "Prepare the next trust version with fresh keys in it.")
    _add_draft(one, is_needed=True)
    one.add_argument("--central", action="store_true", help="the next central key takes over")
    one.add_argument("--registrar", action="store_true", help="a fresh registrar takes over")
    one.add_argument("--fresh", action="store_true", help="the next central key is lost too")
    one.add_argument("--next-dir", type=Path, help="where next central keys are kept instead")
    one.add_argument("--roots", type=Path, help="replace all root keys: a file of `root-init`")
    one.add_argument("--add-root", type=Path, help="add root keys: a file of `root-init`")
    one.add_argument("--drop-root", action="append", default=[], help="a root key, by its digits")
    one.add_argument("--threshold", type=int, help="how many root keys must sign from then on")

    one = add("revoke", _revoke, "Prepare the next trust version without some keys.")
    _add_draft(one)
    _add_choice(one)
    one = add("requalify", _requalify, "Prepare the next trust version that keeps more of them.")
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
    return _say(given, about, [*describe.words(about), "Each key on a stick of its own."])


def _new(given: argparse.Namespace) -> int:
    made = KeyFile.create(given.file, Role(given.role))
    about = {"file": str(given.file), "role": made.role.value, "key": describe.key(made.public)}
    return _say(given, about, describe.words(about))


def _rotate(given: argparse.Namespace) -> int:
    before = trust_file.load(audit.trust_path(given.folder))
    changes = _root_changes(given, before)
    if not (given.central or given.registrar or changes):
        raise DraftImpossible(reason="name what to rotate: --central, --registrar, or root keys")
    if given.central:
        if not given.fresh:
            _need_next_key(given, before)
        fresh = [_fresh_central(given, is_next=False)] if given.fresh else []
        fresh.append(_fresh_central(given, is_next=True))
        changes["centrals"] = (*before.centrals, *(one.public for one in fresh))
    if given.registrar:
        registrar = keyring.make_pending(given.folder, Role.REGISTRAR)
        changes["registrars"] = (*before.registrars, registrar.public)
    return _prepared(given, before, draft.following(before, **changes), [])


def _need_next_key(given: argparse.Namespace, before: Trust) -> None:
    """Bring the next key, which is to take over, into the folder where it lies elsewhere."""
    folder: Path = given.folder
    if before.next_central in keyring.held(folder, folder / keyring.PENDING):
        return
    elsewhere = keyring.held(given.next_dir) if given.next_dir else {}
    path = elsewhere.get(before.next_central or b"")
    if path is None:
        reason = "the private half of the next central key is not here: --next-dir, or --fresh"
        raise DraftImpossible(where=str(folder), reason=reason)
    publish.make_folder(folder / keyring.PENDING)
    KeyFile.load(path, Role.CENTRAL).copy_to(folder / keyring.PENDING / path.name)


def _fresh_central(given: argparse.Namespace, *, is_next: bool) -> KeyFile:
    if not is_next or given.next_dir is None:
        return keyring.make_pending(given.folder, Role.CENTRAL)
    return keyring.make_key(given.next_dir, Role.CENTRAL)


def _root_changes(given: argparse.Namespace, before: Trust) -> dict[str, Any]:
    keys, threshold = before.roots, before.threshold
    if given.roots is not None:
        chosen = _roots(given.roots)
        keys, threshold = chosen.keys, chosen.threshold
    for name in given.drop_root:
        keys = tuple(one for one in keys if one != naming.one_of(name, before.roots))
    if given.add_root is not None:
        keys = (*keys, *_roots(given.add_root).keys)
    if given.threshold is not None:
        threshold = given.threshold
    same = (keys, threshold) == (before.roots, before.threshold)
    return {} if same else {"roots": keys, "threshold": threshold}


def _roots(path: Path) -> Roots:
    return roots.decode(versions.read_bytes(path), where=str(path))


def _revoke(given: argparse.Namespace) -> int:
    before = trust_file.load(audit.trust_path(given.folder))
    files = survey.files_of(given.folder, parked=False)
    keys = naming.resolve(given.keys, before, given.folder, files)
    for key in keys:
        if before.revocation_of(key):
            reason = f"{draft.name(key)} is revoked already; `pulk keys requalify` keeps more of it"
            raise DraftImpossible(reason=reason)
    sent = _survey(keys, files)
    chosen = survey.choose(sent, given.keep)
    added = survey.revocations_of(keys, chosen, before)
    centrals, registrars = draft.lack(before, keys)
    fresh_centrals: list[bytes] = []
    fresh_registrars: list[bytes] = []
    if given.out is not None:
        fresh_centrals = [
            keyring.make_pending(given.folder, Role.CENTRAL).public for _ in range(centrals)
        ]
        fresh_registrars = [
            keyring.make_pending(given.folder, Role.REGISTRAR).public for _ in range(registrars)
        ]
    after = draft.revoked(before, added, fresh_centrals, fresh_registrars)
    return _prepared(given, before, after, _kept_words(sent, added))


def _requalify(given: argparse.Namespace) -> int:
    before = trust_file.load(audit.trust_path(given.folder))
    files = survey.files_of(given.folder, parked=True)
    keys = naming.resolve(given.keys, before, given.folder, files, revoked=True)
    for key in keys:
        if before.revocation_of(key) is None:
            raise DraftImpossible(reason=f"{draft.name(key)} is not revoked")
    sent = _survey(keys, files)
    added = survey.revocations_of(keys, survey.choose(sent, given.keep), before)
    return _prepared(given, before, draft.revoked(before, added), _kept_words(sent, added))


def _survey(keys: list[bytes], files: list[Path]) -> list[survey.Sent]:
    with progress("reading bundles", len(files)) as advance:
        return survey.survey(frozenset(keys), files, advance)


def _kept_words(sent: list[survey.Sent], added: list[Revocation]) -> list[dict[str, Any]]:
    """Return per key and stream what came, what is kept and what not."""
    by_key = {one.key: one for one in added}
    rows: dict[tuple[bytes, bytes], dict[str, Any]] = {}
    for one in sent:
        row = rows.setdefault(
            (one.key, one.stream),
            {
                "key": one.key.hex()[:16],
                "stream": one.stream.hex(),
                "producer": one.producer,
                "first": one.sequence,
                "last": one.sequence,
                "kept": 0,
                "not_kept": [],
            },
        )
        row["last"] = one.sequence
        if by_key[one.key].keeps(one.stream, one.sequence, one.id):
            row["kept"] += 1
        else:
            where = "parked" if one.is_parked else "archive"
            row["not_kept"].append(f"{one.sequence} {one.kind} {one.id.hex()} {where}")
    return list(rows.values())


def _prepared(
    given: argparse.Namespace, before: Trust, after: Trust, kept: list[dict[str, Any]]
) -> int:
    """Write the draft where a name is given, and say what it would change."""
    changes = draft.changes(before, after)
    dropped = sum(any(w.endswith("archive") for w in row["not_kept"]) for row in kept)
    if given.out is not None:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        save_trust(given.out, draft.encode(before, after))
    about = {
        "draft": str(given.out) if given.out else None,
        "version": after.version,
        "changes": changes,
        "streams": kept,
        "rebuild_needed": bool(dropped),
        "signatures_needed": {"current": before.threshold, "new": after.threshold},
    }
    words = [f"trust version {after.version}:", *(f"  {line}" for line in changes)]
    for row in kept:
        words.append(
            f"  {row['producer']} stream {row['stream'][:8]} {row['first']} to {row['last']}: "
            f"{row['kept']} kept, {len(row['not_kept'])} not"
        )
        words += [f"    not kept: {line}" for line in row["not_kept"]]
    if dropped:
        words.append("What is archived and not kept counts until `pulk central rebuild`.")
    words.append(
        f"{given.out}: have {before.threshold} of the root keys sign it (`pulk keys sign`)"
        if given.out
        else "Nothing was made: give --out FILE."
    )
    return _say(given, about, words)


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
    return _say(given, about, words)


def _take(given: argparse.Namespace) -> int:
    folder: Path = given.folder
    path = audit.trust_path(folder)
    files, where = versions.read_files(given.draft), str(given.draft)
    done: list[str] = []
    if audit.is_relay(folder):
        found = versions.take(path, files, where=where)
    else:
        current = trust_file.load(path)
        after = trust_file.advance(current, trust_file.encode_chain(files), where=where)
        keyring.plan(folder, after)  # before anything changes: every key that is needed is there
        found = versions.take(path, files, where=where)
        done = keyring.carry_out(folder, found, keyring.plan(folder, found), given.retired_to)
    about = {"version": found.version, "done": done}
    words = [f"trust version {found.version} is in force", *done]
    return _say(given, about, words)


def _show(given: argparse.Namespace) -> int:
    about = describe.describe(given.file)
    return _say(given, about, describe.words(about))


def _check(given: argparse.Namespace) -> int:
    found = audit.examine(given.folder.absolute())
    wrong = any(one.is_wrong for one in found)
    words = [
        f"{'!' if one.is_wrong else '*' if one.remedy else ' '} {one.name}: {one.found}"
        + (f"; {one.remedy}" if one.remedy else "")
        for one in found
    ]
    _say(given, {"ok": not wrong, "findings": [asdict(one) for one in found]}, words)
    return EXIT_WRONG if wrong else 0


def _say(given: argparse.Namespace, about: dict[str, Any], words: list[str]) -> int:
    sys.stdout.write((json.dumps(about) if given.json else "\n".join(words)) + "\n")
    return 0
