"""What export and import did, as plain values and as words for people. Pure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bundle.media import size
from bundle.media.errors import NotCarried
from bundle.media.fill import Filled
from bundle.media.gaps import numbers
from bundle.media.take import Came


def filled_document(filled: Filled) -> dict[str, Any]:
    """Return what `fill` did as plain values."""
    return {
        "files": [
            {
                "file": row.name,
                "bytes": row.size_bytes,
                "bundle": row.facts.id,
                "kind": row.facts.kind.value,
                "chunks": None if row.keep is None else row.keep.to_wire(),
            }
            for row in filled.laid
        ],
        "carried": sorted(filled.carried),
        "left": [
            {
                "bundle": one.ware.facts.id,
                "kind": one.ware.facts.kind.value,
                "chunks": one.places.to_wire() or None,
                "need_bytes": one.need_bytes,
            }
            for one in filled.left
        ],
        "bad": [{"file": row.name, "problem": problem} for row, problem in filled.bad],
    }


def filled_words(filled: Filled, medium: Path) -> list[str]:
    """Return what `fill` did for a person."""
    total = sum(row.size_bytes for row in filled.laid)
    words = [
        f"{medium}: {len(filled.laid)} files written, {size.words(total)}, read back; "
        f"{len(filled.carried)} bundles carried"
    ]
    for one in filled.left:
        facts = one.ware.facts
        which = f" chunks {numbers(one.places)}" if one.places.spans else ""
        name = f"{facts.kind} {facts.sequence} of {facts.producer}{which}"
        if one.need_bytes:
            words.append(
                f"{name}: no piece of it fits; it needs a medium with {one.need_bytes} bytes free, "
                "in one file (--size, --part-size)"
            )
        else:
            words.append(f"{name}: left for the next medium")
    if any(not one.need_bytes for one in filled.left):
        words.append("take the next medium and run it again: it goes on from here")
    if filled.bad:
        names = [row.name for row, _ in filled.bad]
        some = ", ".join(names[:5])
        words.append(NotCarried(where=str(medium), count=len(names), names=some).text())
    return words


def is_well(filled: Filled) -> bool:
    """Whether all that was written reads back, and what is left can go on another such medium."""
    return not filled.bad and not any(one.need_bytes for one in filled.left)


def came_document(came: Came) -> dict[str, Any]:
    """Return what became of files on a medium as plain values."""
    facts = came.facts
    return {
        "became": came.became.value,
        "files": list(came.files),
        "bundle": facts and facts.id,
        "kind": facts and facts.kind.value,
        "path": None if came.path is None else str(came.path),
        "missing": came.missing.to_wire(),
        "damaged": list(came.damaged),
        "code": came.code,
        "text": came.text,
    }


def came_words(came: Came) -> str:
    """Return what became of files on a medium for a person."""
    facts = came.facts
    name = f" {facts.kind} {facts.sequence} of {facts.producer}" if facts else ""
    words = f"{', '.join(came.files)}: {came.became}{name}"
    if facts and came.missing.spans:
        words += f"; chunks {numbers(came.missing)} of {facts.chunks} are still missing"
    if came.damaged:
        words += f"; damaged: {', '.join(came.damaged)}"
    return f"{words}; {came.text}" if came.text else words
