"""Splitting a bundle into parts that verify alone, and joining whatever parts there are."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bundle.intervals import IntervalSet
from bundle.media.assemble import Group, Groups, add_copy
from bundle.media.choose import plan_parts
from bundle.media.copy import Advance, Progress, failing, lay, lay_part, must_be_folder, silent
from bundle.media.errors import Incomplete, NothingToJoin, SeveralBundles
from bundle.media.facts import Facts
from bundle.media.gaps import numbers
from bundle.media.sight import look, sound_places
from bundle.spool import publish
from bundle.wire import thin
from bundle.wire.errors import BundleRefused


@dataclass(frozen=True, slots=True)
class Part:
    """One part that was written; `places` None: the bundle fitted whole."""

    path: Path
    size_bytes: int
    places: IntervalSet | None


@dataclass(frozen=True, slots=True)
class Joined:
    """A bundle that is whole again."""

    facts: Facts
    path: Path


def split(source: Path, folder: Path, size_max: int, progress: Progress = silent) -> list[Part]:
    """Write a bundle into a folder as parts of at most `size_max` bytes.

    Raises PartTooSmall, BundleRefused, MediumFailed.
    """
    sight = look(source)
    plan = plan_parts(sight.ware, size_max)
    must_be_folder(folder)
    parts = []
    with failing("splitting", folder), progress("splitting", sight.file_bytes) as advance:
        for number, keep in enumerate(plan):
            target = folder / f"{sight.facts.id}-{number + 1}-{len(plan)}.pulk"
            if keep is None:
                lay(source, target, advance)
            else:
                lay_part(source, target, frozenset(keep))
                advance(target.stat().st_size)
            parts.append(Part(target, target.stat().st_size, keep))
    return parts


def join(
    files: Sequence[Path], out: Path, progress: Progress = silent
) -> tuple[list[Joined], list[tuple[Path, str]]]:
    """Put parts together, in any order, repeated, of one bundle or, into a folder, of several.

    Returns what is whole now, and which files were passed over or are damaged, and why.

    Raises:
        NothingToJoin: no file is a part of a bundle.
        SeveralBundles: `out` is a file.
        Incomplete: names the chunks that no part holds; nothing is left of that bundle, and what
            else is whole is there.
        MediumFailed.
    """
    with failing("joining", out):
        groups, passed_over = _groups(files)
        _check_groups(groups, passed_over, len(files), out)
        total = sum(one.file_bytes for group in groups.values() for one in group.copies)
        with progress("joining", total) as advance:
            joined: dict[str, Joined] = {}
            incomplete: list[Incomplete] = []
            for group in groups.values():
                try:
                    joined[group.facts.id] = _join(group, out, passed_over, advance)
                except Incomplete as error:
                    incomplete.append(error)
    for lacking in incomplete:
        if lacking.fields["bundle"] not in joined:
            raise lacking
    return list(joined.values()), passed_over


def _check_groups(
    groups: Groups,
    passed_over: list[tuple[Path, str]],
    files: int,
    out: Path,
) -> None:
    bundles = {bundle for bundle, _ in groups}
    if not bundles:
        reason = passed_over[0][1] if passed_over else "no file was given"
        raise NothingToJoin(where=str(out), count=files, reason=reason)
    if len(bundles) > 1 and not out.is_dir():
        raise SeveralBundles(where=str(out), count=len(bundles))


def _groups(files: Sequence[Path]) -> tuple[Groups, list[tuple[Path, str]]]:
    """Look at all files, also at those that were cut short; say what is wrong with which."""
    groups: Groups = {}
    passed_over = []
    for path in files:
        try:
            add_copy(groups, path, str(path))
        except BundleRefused as error:
            passed_over.append((path, error.text()))
    return groups, passed_over


def _join(group: Group, out: Path, passed_over: list[tuple[Path, str]], advance: Advance) -> Joined:
    """Join copies of one bundle; note in `passed_over` which are damaged. Raises Incomplete."""
    facts = group.facts
    target = out / f"{facts.id}.pulk" if out.is_dir() else out
    made = target.with_name(f".{os.urandom(8).hex()}.part")
    try:
        absent = thin.join(made, [one.path for one in group.copies], advance)
        claimed = sum(one.claims for one in group.copies)
        is_clean = not absent and claimed == facts.chunks
        is_clean = is_clean and not any(one.is_torn for one in group.copies)
        bad = [] if is_clean else _damaged(group)
        passed_over += bad
        if absent:
            raise Incomplete(
                where=str(target),
                bundle=facts.id,
                count=len(absent),
                chunks=facts.chunks,
                missing=numbers(IntervalSet.of(absent)),
                damaged="".join(f"; {path}: {reason}" for path, reason in bad),
            )
        publish.publish(made, target)
    finally:
        made.unlink(missing_ok=True)
    return Joined(facts, target)


def _damaged(group: Group) -> list[tuple[Path, str]]:
    """Return the files that claim chunks which do not verify, or are torn, with what is wrong."""
    found = []
    for one in group.copies:
        reasons = ["it was cut short or runs on"] if one.is_torn else []
        claimed = look(one.path, is_torn=True).sizes
        if bad := sorted(set(claimed) - set(sound_places(one.path))):
            reasons.append(f"chunks {numbers(IntervalSet.of(bad))} are damaged")
        if reasons:
            found.append((one.path, "; ".join(reasons)))
    return found
