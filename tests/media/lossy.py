"""A courier's directory that loses, repeats, renames, nests, tears and alters files, by a seed.

It keeps its own account of which chunks of which bundle came through, from the files' own tables,
so that what the programs say can be held against it.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from bundle.media.sight import look
from bundle.wire import thin
from bundle.wire.header import Codec

LOST = 0.3
TORN = 0.03
ALTERED = 0.03
TWICE = 0.2
RENAMED = 0.4


@dataclass(slots=True)
class Courier:
    """Carries one directory to another, badly. `whole` holds the chunks by bundle that arrived."""

    random: random.Random
    is_bad: bool = True
    whole: dict[str, set[int]] = field(default_factory=dict)
    chunks: dict[str, int] = field(default_factory=dict)
    places: dict[str, tuple[bytes, int]] = field(default_factory=dict)  # stream and number
    seen: Counter[str] = field(default_factory=Counter)

    def carry(self, source: Path, target: Path) -> None:
        """Make `target` out of `source`."""
        target.mkdir(parents=True)
        (target / "holiday.jpg").write_bytes(b"\xff\xd8 not ours")
        (target / "System Volume Information").mkdir()
        files = sorted(source.glob("*.pulk"), key=_order)
        for path in files:
            self._note(path)
            self.seen["part"] += "-p" in path.name
        self.random.shuffle(files)
        for path in files:
            self._carry(path, target)

    def arrived(self) -> set[str]:
        """Return the bundles of which every chunk came through by now."""
        return {one for one, whole in self.whole.items() if len(whole) == self.chunks[one]}

    def _note(self, path: Path) -> None:
        facts = look(path).facts
        self.chunks[facts.id] = facts.chunks
        self.places[facts.id] = facts.stream, facts.sequence

    def _carry(self, path: Path, target: Path) -> None:
        raw, draw = path.read_bytes(), self.random.random
        if self.is_bad and draw() < LOST:
            self.seen["lost"] += 1
            return
        if self.is_bad and draw() < TORN:
            self.seen["torn"] += 1
            raw = raw[: self.random.randrange(len(raw))]
            self._came(path, range(len(raw), path.stat().st_size))
        elif self.is_bad and draw() < ALTERED:
            self.seen["altered"] += 1
            at = self.random.randrange(len(raw))
            raw = raw[:at] + bytes([raw[at] ^ (1 << self.random.randrange(8))]) + raw[at + 1 :]
            self._came(path, range(at, at + 1))
        else:
            self._came(path, range(0))
        self._write(path.name, raw, target)
        if self.is_bad and draw() < TWICE:
            self.seen["twice"] += 1
            self._write(f"copy of {path.name}", raw, target)

    def _came(self, path: Path, harmed: range) -> None:
        """Note the chunks of a copy that no harmed byte lies in; a harmed head leaves none."""
        with thin.opened(path) as copy:
            came = {
                number
                for number, place in enumerate(copy.places)
                if place.codec is not Codec.ABSENT
                and not _overlap(harmed, place.at, place.at + place.stored_bytes)
            }
            is_headless = _overlap(harmed, 0, copy.head.bodies_at)
        if not is_headless:
            self.whole.setdefault(look(path).facts.id, set()).update(came)

    def _write(self, name: str, raw: bytes, target: Path) -> None:
        if self.is_bad and self.random.random() < RENAMED:
            number = self.random.randrange(10**6)
            name = self.random.choice(
                [name.upper(), f"{name[:6].upper()}~{number % 10}.PUL", f"{number}", f".{number}"]
            )
        folder = target
        if self.is_bad and self.random.random() < 0.2:
            folder = target / "New Folder" / str(self.random.randrange(3))
            folder.mkdir(parents=True, exist_ok=True)
        while (folder / name).exists():
            name = f"{name}.{self.random.randrange(1000)}"
        (folder / name).write_bytes(raw)


def _order(path: Path) -> tuple[object, ...]:
    """Sort files the same way whatever their random ids are."""
    sight = look(path)
    return sight.facts.kind, sight.facts.sequence, sorted(sight.sizes), path.name[64:]


def _overlap(harmed: range, first: int, past: int) -> bool:
    return len(harmed) > 0 and max(harmed.start, first) < min(harmed.stop, past)
