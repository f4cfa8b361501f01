"""Preparing the next trust version: `pulk keys rotate`, `revoke` and `requalify`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
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


def _in_force(given: argparse.Namespace) -> Trust:
    """Return the version in force, once it is clear that the draft may be written."""
    before = trust_file.load(audit.trust_path(given.folder))
    if given.out is not None:
        draft.check_place(given.out, before)
    return before


def rotate(given: argparse.Namespace) -> int:
    """Prepare a version with fresh keys. Raises DraftImpossible, TrustRefused."""
    before = _in_force(given)
    changes = _root_changes(given, before)
    if not (given.central or given.registrar or changes):
        raise DraftImpossible(reason="name what to rotate: --central, --registrar, or root keys")
    if changes:
        draft.encode(before, draft.following(before, **changes))  # refused before a key is made
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


def revoke(given: argparse.Namespace) -> int:
    """Prepare a version without some keys. Raises DraftImpossible, TrustRefused."""
    before = _in_force(given)
    files = survey.files_of(given.folder, parked=False)
    keys = naming.resolve(given.keys, before, given.folder, files)
    for key in keys:
        if before.revocation_of(key):
            reason = f"{draft.name(key)} is revoked already; `pulk keys requalify` keeps more of it"
            raise DraftImpossible(reason=reason)
    sent = surveyed(keys, files)
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
    unseen = set(keys) - {one.key for one in sent} - {*before.centrals, *before.registrars}
    return _prepared(given, before, after, _kept_words(sent, added), sorted(unseen))


def requalify(given: argparse.Namespace) -> int:
    """Prepare a version that keeps more of revoked keys. Raises DraftImpossible, TrustRefused."""
    before = _in_force(given)
    files = survey.files_of(given.folder, parked=True)
    keys = naming.resolve(given.keys, before, given.folder, files, revoked=True)
    for key in keys:
        if before.revocation_of(key) is None:
            raise DraftImpossible(reason=f"{draft.name(key)} is not revoked")
    sent = surveyed(keys, files)
    added = survey.revocations_of(keys, survey.choose(sent, given.keep), before)
    return _prepared(given, before, draft.revoked(before, added), _kept_words(sent, added))


def surveyed(keys: list[bytes], files: list[Path]) -> list[survey.Sent]:
    """Return what rests on some keys, with a progress bar."""
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
    given: argparse.Namespace,
    before: Trust,
    after: Trust,
    kept: list[dict[str, Any]],
    unseen: Sequence[bytes] = (),
) -> int:
    """Write the draft where a name is given, and say what it would change.

    `unseen`: keys that are named in it and that nothing here rests on.
    """
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
        "unseen": [describe.key(key) for key in unseen],
        "signatures_needed": {"current": before.threshold, "new": after.threshold},
    }
    words = [f"trust version {after.version}:", *(f"  {line}" for line in changes)]
    for row in kept:
        words.append(
            f"  {row['producer']} stream {row['stream'][:8]} {row['first']} to {row['last']}: "
            f"{row['kept']} kept, {len(row['not_kept'])} not"
        )
        words += [f"    not kept: {line}" for line in row["not_kept"]]
    words += [f"{draft.name(key)}: nothing here rests on it: is that the key?" for key in unseen]
    if dropped:
        words.append("What is archived and not kept counts until `pulk central rebuild`.")
    words.append(
        f"{given.out}: have {before.threshold} of the root keys sign it (`pulk keys sign`)"
        if given.out
        else "Nothing was made: give --out FILE."
    )
    return say(given, about, words)


def say(given: argparse.Namespace, about: dict[str, Any], words: list[str]) -> int:
    """Print values for a program or lines for a person; return the exit code 0."""
    sys.stdout.write((json.dumps(about) if given.json else "\n".join(words)) + "\n")
    return 0
