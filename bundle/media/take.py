"""Taking what lies on a medium, whatever it is called: whole bundles land, parts wait for the rest.

Nothing on the medium is changed. What looks like ours and can't be used is set aside as a copy
with the reason; what comes twice lands once; every chunk is verified before anything lands.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from bundle.errors import PulkError
from bundle.ids import BundleId
from bundle.intervals import IntervalSet
from bundle.limits import BUNDLE_BYTES_MAX
from bundle.media import aside
from bundle.media.card import CARD, LABEL
from bundle.media.copy import (
    UNDER_WAY,
    Progress,
    failing,
    lay,
    must_be_folder,
    silent,
)
from bundle.media.errors import Damaged, PartsFull
from bundle.media.facts import Facts, importance
from bundle.media.sight import (
    Sight,
    check_signature,
    look,
    looks_like_ours,
    mend,
    plain_files,
    sound_places,
)
from bundle.spool import publish
from bundle.wire import thin
from bundle.wire.errors import BundleRefused, Parkable

PARTS_BYTES_MAX = 2 * BUNDLE_BYTES_MAX
LEFTOVER_S = 3600.0
_CARDS = {CARD.lower(), LABEL.lower()}
_TORN = (UNDER_WAY, ".par")
_NONE = IntervalSet()


class Became(StrEnum):
    """What became of files on a medium."""

    LANDED = "landed"  # whole, in its folder now
    KNOWN = "known"  # dealt with before
    KEPT = "kept"  # not whole yet: its chunks wait for the rest
    ELSEWHERE = "elsewhere"  # meant for somebody else
    REFUSED = "refused"  # looks like ours and can't be used
    UNFINISHED = "unfinished"  # a copy that was broken off
    FOREIGN = "foreign"  # no bundle at all, or no file


@dataclass(frozen=True, slots=True)
class Came:
    """One bundle, or one file that is none. `missing` are the chunks that are still to come."""

    became: Became
    files: tuple[str, ...]
    facts: Facts | None = None
    path: Path | None = None
    missing: IntervalSet = _NONE
    damaged: tuple[str, ...] = ()  # files whose chunks did not all verify
    code: str = ""
    text: str = ""

    @property
    def is_refused(self) -> bool:
        """Whether something that looked like ours was not taken."""
        return self.became is Became.REFUSED or (self.became is Became.KEPT and bool(self.damaged))


def _no_reason(_facts: Facts) -> str:
    return ""


def _no_judge(_path: Path) -> None:
    pass


def _is_nowhere(_path: Path) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Reception:
    """Where things land, and who decides. All folders lie on one filesystem.

    `meant` returns why a bundle is not for here, or nothing. `judge` raises BundleRefused where a
    signature does not count; unless `is_strict`, a Parkable refusal lets a whole bundle land, for
    the receiver to judge. `is_whole` is asked of a copy that lacks chunks: whether what it lacks is
    here already.
    """

    into: Path
    parts: Path
    quarantine: Path
    known: Callable[[BundleId], bool]
    meant: Callable[[Facts], str] = _no_reason
    judge: Callable[[Path], None] = _no_judge
    is_whole: Callable[[Path], bool] = _is_nowhere
    is_strict: bool = False
    parts_bytes_max: int = PARTS_BYTES_MAX
    progress: Progress = field(default=silent)


def take(medium: Path, reception: Reception) -> Iterator[Came]:
    """Yield what became of everything below a folder, each once it is done. Raises MediumFailed."""
    must_be_folder(medium)
    with failing("taking", medium):
        for folder in (reception.into, reception.parts):
            publish.make_folder(folder)
        _clear(reception.parts)
        taking = _Taking(medium, reception)
        try:
            yield from taking.survey()
            yield from taking.groups()
        finally:
            taking.end()


@dataclass(slots=True)
class _Group:
    """Copies of one bundle with one set of signatures."""

    facts: Facts
    signed: bytes
    copies: dict[Path, str] = field(default_factory=dict)  # where to read it: its name there
    sights: list[Sight] = field(default_factory=list)

    @property
    def files(self) -> tuple[str, ...]:
        return tuple(sorted(set(self.copies.values())))


class _Taking:
    def __init__(self, medium: Path, reception: Reception) -> None:
        self._medium, self._to = medium, reception
        self._groups: dict[tuple[BundleId, bytes], _Group] = {}
        self._mended: list[Path] = []

    def survey(self) -> Iterator[Came]:
        """Look at every file's head; yield what is no bundle and what can't be read."""
        other: list[Came] = []

        def passed_over(path: Path, why: str) -> None:
            other.append(Came(Became.FOREIGN, (self._name(path),), text=why))

        own = [self._to.into, self._to.parts, self._to.quarantine]
        for path in plain_files(self._medium, passed_over):
            if path.name.lower() in _CARDS or any(path.is_relative_to(one) for one in own):
                continue
            if not looks_like_ours(path):
                passed_over(path, "no bundle")
                continue
            try:
                self._add(path)
            except BundleRefused as error:
                yield self._refuse(path, error)
        yield from other

    def groups(self) -> Iterator[Came]:
        """Take every bundle that was seen, what matters most first."""
        found = sorted(self._groups.values(), key=lambda group: importance(group.facts))
        total = sum(sight.file_bytes for group in found for sight in group.sights)
        with self._to.progress("taking", total) as advance:
            for group in found:
                yield self._take(group)
                advance(sum(sight.file_bytes for sight in group.sights))

    def end(self) -> None:
        for path in self._mended:
            path.unlink(missing_ok=True)

    def _add(self, path: Path) -> None:
        """Note a file as a copy of its bundle; one that was cut short is mended first."""
        source = path
        try:
            sight = look(path)
        except BundleRefused as error:
            source = self._place()
            self._mended.append(source)
            if not mend(path, error, source):
                raise
            try:
                sight = look(source)
            except BundleRefused:
                raise error from None
        check_signature(source)
        key = sight.facts.id, sight.signed
        group = self._groups.setdefault(key, _Group(sight.facts, sight.signed))
        group.copies[source] = self._name(path)
        group.sights.append(sight)

    def _take(self, group: _Group) -> Came:
        facts, to = group.facts, self._to
        kept = to.parts / f"{facts.id}-{group.signed.hex()[:8]}.pulk"
        if reason := to.meant(facts):
            return Came(Became.ELSEWHERE, group.files, facts, text=reason)
        if to.known(facts.id):
            kept.unlink(missing_ok=True)
            return Came(Became.KNOWN, group.files, facts)
        unknown: BundleRefused | None = None
        try:
            to.judge(group.sights[0].path)
        except BundleRefused as error:
            if to.is_strict or not isinstance(error, Parkable):
                return self._refuse(self._medium / group.files[0], error, group)
            unknown = error
        made = self._place()
        try:
            absent = self._assemble(group, kept, made)
            if not absent or to.is_whole(made):
                target = to.into / f"{facts.id}.pulk"
                publish.publish(made, target)
                kept.unlink(missing_ok=True)
                return Came(Became.LANDED, group.files, facts, target)
            return self._keep(group, kept, made, absent, unknown)
        finally:
            made.unlink(missing_ok=True)

    def _assemble(self, group: _Group, kept: Path, made: Path) -> list[int]:
        """Write all there is of a bundle; return the chunks that are absent."""
        whole = next((sight for sight in group.sights if sight.claims_all), None)
        if whole is not None and whole.path not in self._mended:
            lay(whole.path, made)
            if len(sound_places(made)) == group.facts.chunks:
                return []
        paths = [sight.path for sight in group.sights]
        try:
            if kept.exists() and look(kept).signed == group.signed:
                paths.append(kept)
        except BundleRefused as error:
            aside.set_aside(self._to.quarantine, self._to.parts, kept, error)  # damaged here
            kept.unlink()
        return thin.join(made, paths)

    def _keep(
        self,
        group: _Group,
        kept: Path,
        made: Path,
        absent: list[int],
        unknown: BundleRefused | None,
    ) -> Came:
        """Keep what there is until the rest comes."""
        missing = IntervalSet.of(absent)
        if len(absent) == group.facts.chunks:
            path = self._medium / group.files[0]
            return self._refuse(path, Damaged(where=str(path), bundle=group.facts.id), group)
        damaged = tuple(
            group.copies[sight.path]
            for sight in group.sights
            if sight.path in self._mended or any(place in sight.sizes for place in absent)
        )
        error: PulkError | None = unknown
        waiting = [path for path in self._to.parts.glob("*.pulk") if path != kept]
        held, need = sum(path.stat().st_size for path in waiting), made.stat().st_size
        if error is None and held + need > self._to.parts_bytes_max:
            limit = self._to.parts_bytes_max
            where = str(self._to.parts)
            error = PartsFull(where=where, held=held, need=need, size_max=limit)
        if error is not None:
            code, text = error.code, error.text()
            return Came(
                Became.REFUSED, group.files, group.facts, None, missing, damaged, code, text
            )
        publish.publish(made, kept)
        return Came(Became.KEPT, group.files, group.facts, kept, missing, damaged)

    def _refuse(self, path: Path, error: PulkError, group: _Group | None = None) -> Came:
        files = group.files if group else (self._name(path),)
        facts = group.facts if group else None
        if path.name.lower().endswith(_TORN):
            return Came(Became.UNFINISHED, files, facts, code=error.code, text=error.text())
        copy = aside.set_aside(self._to.quarantine, self._to.parts, path, error)
        text = error.text() if copy else f"{error.text()}; it is on the medium alone, too large"
        return Came(Became.REFUSED, files, facts, copy, code=error.code, text=text)

    def _name(self, path: Path) -> str:
        return str(path.relative_to(self._medium))

    def _place(self) -> Path:
        return self._to.parts / f".{os.urandom(8).hex()}.part"


def _clear(folder: Path) -> None:
    """Remove what a kill left under way, once nobody can be at it any more."""
    limit = time.time() - LEFTOVER_S
    for path in folder.glob(f".*{UNDER_WAY}"):
        if path.lstat().st_mtime < limit:
            path.unlink(missing_ok=True)
