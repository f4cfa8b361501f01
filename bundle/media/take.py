"""Taking what lies on a medium, whatever it is called: whole bundles land, parts wait for the rest.

Nothing on the medium is changed. What looks like ours and can't be used is set aside as a copy
with the reason; what comes twice lands once; every chunk is verified before anything lands.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

from bundle.errors import PulkError
from bundle.intervals import IntervalSet
from bundle.media.aside import Aside
from bundle.media.assemble import (
    Group,
    Groups,
    add_copy,
    assemble,
    harmed_of,
    head_of,
    kept_name,
    kept_of,
)
from bundle.media.card import CARD, LABEL
from bundle.media.copy import (
    UNDER_WAY,
    Advance,
    Unreadable,
    failing,
    must_be_folder,
)
from bundle.media.errors import Damaged, MediumFailed, NoRoom, PartsFull, SameFolder
from bundle.media.facts import importance
from bundle.media.reception import NOTHING, Became, Came, Reception
from bundle.media.sight import look, looks_like_ours, plain_files
from bundle.spool import publish
from bundle.wire.errors import BundleRefused, Parkable

LEFTOVER_S = 3600.0
_CARDS = {CARD.lower(), LABEL.lower()}
_TORN = (UNDER_WAY, ".par")
__all__ = ["Became", "Came", "Reception", "take"]


def take(medium: Path, reception: Reception) -> Iterator[Came]:
    """Yield what became of everything below a folder, each once it is done.

    Raises SameFolder, MediumFailed.
    """
    must_be_folder(medium)
    with failing("taking", medium):
        if medium.resolve() == reception.into.resolve():
            raise SameFolder(where=str(medium), action="import")
        for folder in (reception.into, reception.parts):
            publish.make_folder(folder)
        _clear(reception.parts)
        taking = _Taking(medium, reception)
        yield from taking.survey()
        yield from taking.groups()


class _Taking:
    def __init__(self, medium: Path, reception: Reception) -> None:
        self._medium, self._to = medium, reception
        self._groups: Groups = {}
        self._aside = Aside(reception.quarantine, reception.parts)

    def survey(self) -> Iterator[Came]:
        """Look at every file's head; yield what is no bundle and what can't be read."""
        other: list[Came] = []

        def passed_over(path: Path, why: str) -> None:
            other.append(Came(Became.FOREIGN, (self._name(path),), text=why))

        own = self._own()
        for path in plain_files(self._medium, passed_over):
            if path.name.lower() in _CARDS or any(path.is_relative_to(one) for one in own):
                continue
            if not looks_like_ours(path):
                passed_over(path, "no bundle")
                continue
            try:
                add_copy(self._groups, path, self._name(path))
            except BundleRefused as error:
                yield self._refuse(path, error)
        yield from other

    def groups(self) -> Iterator[Came]:
        """Take every bundle that was seen, what matters most first.

        A copy whose signer is not known waits for those of the same bundle whose signer is.
        """
        found = sorted(self._groups.values(), key=lambda group: importance(group.facts))
        later: list[tuple[Group, BundleRefused]] = []
        total = sum(one.file_bytes for group in found for one in group.copies)
        with self._to.progress("taking", total) as advance:
            for group in found:
                came = self._judged(group, advance)
                if isinstance(came, Came):
                    yield came
                else:
                    later.append((group, came))
            for group, unknown in later:
                yield self._known(group) or self._take(group, unknown, advance)

    def _own(self) -> list[Path]:
        """Return our own folders that lie on the medium, as paths below it."""
        medium = self._medium.resolve()
        ours = [one.resolve() for one in (self._to.into, self._to.parts, self._to.quarantine)]
        return [
            self._medium / one.relative_to(medium) for one in ours if one.is_relative_to(medium)
        ]

    def _judged(self, group: Group, advance: Advance) -> Came | BundleRefused:
        """Take a bundle; or return why nobody known signed it, where that may change."""
        if reason := self._to.meant(group.facts):
            return Came(Became.ELSEWHERE, group.files, group.facts, text=reason)
        if known := self._known(group):
            return known
        head = self._place()
        try:
            self._to.judge(head_of(group, head))
        except BundleRefused as error:
            if self._to.is_strict or not isinstance(error, Parkable):
                return self._refuse(group.copies[0].path, error, group)
            return error
        finally:
            head.unlink(missing_ok=True)
        return self._take(group, None, advance)

    def _known(self, group: Group) -> Came | None:
        if not self._to.known(group.facts.id):
            return None
        for path in kept_of(self._to.parts, group.facts.id):
            path.unlink(missing_ok=True)
        return Came(Became.KNOWN, group.files, group.facts)

    def _take(self, group: Group, unknown: BundleRefused | None, advance: Advance) -> Came:
        facts, to = group.facts, self._to
        while True:
            kept, made = self._waiting(group), self._place()
            try:
                absent = assemble(group, kept, made, advance)
                if not absent or to.is_whole(made):
                    target = to.into / f"{facts.id}.pulk"
                    publish.publish(made, target)
                    for path in kept:
                        path.unlink(missing_ok=True)
                    return Came(Became.LANDED, group.files, facts, target)
                came = self._keep(group, kept, made, absent, unknown)
            except NoRoom as error:
                return self._not_taken(group, error)
            except BundleRefused as error:
                if all(path.exists() for path in kept):
                    return self._refuse(group.copies[0].path, error, group)
                continue  # another import took what waited
            finally:
                made.unlink(missing_ok=True)
            if came.became is not Became.KEPT or self._waiting(group) == [came.path]:
                return came

    def _waiting(self, group: Group) -> list[Path]:
        """Return the files here that hold parts of a bundle; what was damaged here is set aside."""
        found = []
        for path in kept_of(self._to.parts, group.facts.id):
            try:
                if group.is_same(look(path)):
                    found.append(path)
            except BundleRefused as error:
                if path.exists():
                    self._aside.keep(path, error)
                    path.unlink(missing_ok=True)
        return found

    def _keep(
        self,
        group: Group,
        kept: list[Path],
        made: Path,
        absent: list[int],
        unknown: BundleRefused | None,
    ) -> Came:
        """Keep what there is until the rest comes."""
        missing = IntervalSet.of(absent)
        if len(absent) == group.facts.chunks:
            path = group.copies[0].path
            return self._refuse(path, Damaged(where=str(path), bundle=group.facts.id), group)
        damaged = harmed_of(group, frozenset(absent))
        if unknown is not None:
            return self._not_taken(group, unknown, missing, damaged)
        waiting = [path for path in self._to.parts.glob("*.pulk") if path not in kept]
        held, need = sum(map(_size, waiting)), made.stat().st_size
        if held + need > self._to.parts_bytes_max:
            limit, where = self._to.parts_bytes_max, str(self._to.parts)
            full = PartsFull(where=where, held=held, need=need, size_max=limit)
            return self._not_taken(group, full, missing, damaged)
        target = self._to.parts / kept_name(group)
        publish.publish(made, target)
        for path in kept:
            path.unlink(missing_ok=True)
        return Came(Became.KEPT, group.files, group.facts, target, missing, damaged)

    def _not_taken(
        self,
        group: Group,
        error: PulkError,
        missing: IntervalSet = NOTHING,
        damaged: tuple[str, ...] = (),
    ) -> Came:
        about = (group.files, group.facts, None, missing, damaged, error.code, error.text())
        return Came(Became.REFUSED, *about)

    def _refuse(self, path: Path, error: PulkError, group: Group | None = None) -> Came:
        files = group.files if group else (self._name(path),)
        facts = group.facts if group else None
        if not os.path.lexists(path):
            raise MediumFailed(where=str(path), action="taking", reason="it is gone") from error
        if path.name.lower().endswith(_TORN):
            return Came(Became.UNFINISHED, files, facts, code=error.code, text=error.text())
        copy, text = None, error.text()
        try:
            if (copy := self._aside.keep(path, error)) is None:
                text += "; it is on the medium alone: it is too large, or the quarantine is full"
        except Unreadable as unreadable:
            text += f"; it is on the medium alone: {unreadable.strerror}"
        return Came(Became.REFUSED, files, facts, copy, code=error.code, text=text)

    def _name(self, path: Path) -> str:
        return str(path.relative_to(self._medium))

    def _place(self) -> Path:
        return self._to.parts / f".{os.urandom(8).hex()}.part"


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _clear(folder: Path) -> None:
    """Remove what a kill left under way, once nobody can be at it any more."""
    limit = time.time() - LEFTOVER_S
    for path in folder.glob(f".*{UNDER_WAY}"):
        try:
            if path.lstat().st_mtime < limit:
                path.unlink()
        except FileNotFoundError:
            continue  # another import was faster
