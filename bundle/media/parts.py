"""Splitting a bundle into parts that verify alone, and joining whatever parts there are."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bundle.intervals import IntervalSet
from bundle.media.choose import plan_parts
from bundle.media.copy import Progress, failing, lay, lay_part, must_be_folder, silent
from bundle.media.errors import Incomplete, NothingToJoin, SeveralBundles
from bundle.media.facts import Facts
from bundle.media.gaps import numbers
from bundle.media.sight import Sight, check_signature, look, mend, sound_places
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
    cut: list[Path] = []
    with failing("joining", out):
        try:
            sights, passed_over = _sights(files, out if out.is_dir() else out.parent, cut)
            groups: dict[tuple[str, bytes], list[Sight]] = {}
            for one in sights:
                groups.setdefault((one.facts.id, one.signed), []).append(one)
            _check_groups(groups, passed_over, len(files), out)
            with progress("joining", sum(one.file_bytes for one in sights)) as advance:
                joined: dict[str, Joined] = {}
                incomplete: list[Incomplete] = []
                for group in groups.values():
                    try:
                        joined[group[0].facts.id] = _join(group, out, passed_over, cut)
                    except Incomplete as error:
                        incomplete.append(error)
                    advance(sum(one.file_bytes for one in group))
        finally:
            for path in cut:
                path.unlink(missing_ok=True)
    for lacking in incomplete:
        if lacking.fields["bundle"] not in joined:
            raise lacking
    return list(joined.values()), passed_over


def _check_groups(
    groups: dict[tuple[str, bytes], list[Sight]],
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


def _sights(
    files: Sequence[Path], folder: Path, cut: list[Path]
) -> tuple[list[Sight], list[tuple[Path, str]]]:
    """Look at all files; what was cut short is mended into a file of `cut`."""
    sights, passed_over = [], []
    for path in files:
        try:
            sights.append(_checked(path))
        except BundleRefused as error:
            mended = folder / f".{os.urandom(8).hex()}.part"
            cut.append(mended)
            passed_over.append((path, error.text()))
            if mend(path, error, mended):
                try:
                    sights.append(_checked(mended))
                except BundleRefused:
                    continue
    return sights, passed_over


def _checked(path: Path) -> Sight:
    sight = look(path)
    check_signature(path)
    return sight


def _join(
    group: Sequence[Sight], out: Path, passed_over: list[tuple[Path, str]], cut: list[Path]
) -> Joined:
    """Join copies of one bundle; note in `passed_over` which are damaged. Raises Incomplete."""
    facts = group[0].facts
    target = out / f"{facts.id}.pulk" if out.is_dir() else out
    made = target.with_name(f".{os.urandom(8).hex()}.part")
    try:
        absent = thin.join(made, [one.path for one in group])
        claimed = sum(len(one.sizes) for one in group)
        is_clean = not absent and claimed == facts.chunks
        bad = [] if is_clean else _damaged(one for one in group if one.path not in cut)
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


def _damaged(sights: Iterable[Sight]) -> list[tuple[Path, str]]:
    """Return the files that claim chunks which do not verify, with which ones."""
    found = []
    for one in sights:
        bad = sorted(set(one.sizes) - set(sound_places(one.path)))
        if bad:
            found.append((one.path, f"chunks {numbers(IntervalSet.of(bad))} are damaged"))
    return found
