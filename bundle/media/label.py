"""The label card for people: what is on the medium, for whom, and what to type. Pure.

Plain ASCII with the line ends that every system shows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime

from bundle.intervals import IntervalSet
from bundle.media import size
from bundle.media.card import Absent, Card, Row
from bundle.media.facts import Facts
from bundle.media.gaps import numbers
from bundle.wire.manifest import CENTRAL, CENTRALS_OWN, SITES_OWN

LINES_MAX = 200  # of one list; what is beyond stands on the machine's card


def label(card: Card) -> bytes:
    """Return the text for `PULK.TXT`."""
    whole = [row for row in card.rows if row.keep is None]
    parts = [row for row in card.rows if row.keep is not None]
    lines = [
        "PULK: signed bundles, carried by hand",
        "",
        f"written  {_time(card.made_us)} by {card.by}",
        f"holds    {len(card.rows)} files, {size.words(sum(row.size_bytes for row in card.rows))}",
        "",
        "You can lose this, copy it, rename files or mix them with others: no harm is done.",
        "Please copy it whole, and unmount it before you pull it out.",
        "",
        "What is on it:",
        *_some(_for_whom(whole)),
    ]
    if parts:
        lines += ["", "Parts (the rest comes with other media; any order will do):"]
        lines += _some(f"  {_about(row)}" for row in parts)
    if card.absent:
        lines += ["", "Not on it, so another medium must bring it:"]
        lines += _some(f"  {_absent(one)}" for one in card.absent)
    lines += ["", "At the other end, with this folder as HERE:", *_typed(card.rows), ""]
    return "\r\n".join(map(_plain, lines)).encode("ascii")


def _for_whom(rows: Iterable[Row]) -> list[str]:
    by_target: dict[tuple[str, str], dict[str, list[Facts]]] = {}
    for facts in dict.fromkeys(row.facts for row in rows):
        target = facts.audience or "anybody", facts.producer
        by_target.setdefault(target, {}).setdefault(facts.kind.value, []).append(facts)
    lines = []
    for (audience, producer), kinds in sorted(by_target.items()):
        lines.append(f"  for {audience}, from {producer}:")
        lines += [
            f"    {len(kinds[kind])} {kind} ({_streams(kinds[kind])})" for kind in sorted(kinds)
        ]
    return lines or ["  nothing whole"]


def _streams(found: list[Facts]) -> str:
    streams = Counter(one.stream for one in found)
    return "; ".join(
        f"stream {stream.hex()[:8]} number "
        + numbers(IntervalSet.of(one.sequence for one in found if one.stream == stream))
        for stream in sorted(streams)
    )


def _about(row: Row) -> str:
    keep = row.keep or IntervalSet()
    return f"{row.name}: {_name(row.facts)}, chunks {numbers(keep)} of {row.facts.chunks}"


def _absent(one: Absent) -> str:
    which = f", chunks {numbers(one.places)}" if one.places.spans else ""
    return f"{_name(one.facts)}{which}"


def _name(facts: Facts) -> str:
    stream = facts.stream.hex()[:8]
    return f"{facts.kind} {facts.sequence} of {facts.producer} (stream {stream})"


def _typed(rows: Iterable[Row]) -> list[str]:
    facts = [row.facts for row in rows]
    lines = []
    if any(one.kind in SITES_OWN or one.audience == CENTRAL for one in facts):
        lines.append("  at central:  pulk central exchange DIR HERE FOLDER-TO-CARRY-BACK")
    if any(one.kind in CENTRALS_OWN for one in facts):
        lines.append("  at a site:   pulk relay import DIR HERE")
    return [*lines, "  to look:     pulk bundle import HERE A-NEW-FOLDER"]


def _some(lines: Iterable[str]) -> list[str]:
    found = list(lines)
    more = [f"  and {len(found) - LINES_MAX} more"] if len(found) > LINES_MAX else []
    return found[:LINES_MAX] + more


def _time(us: int) -> str:
    try:
        return datetime.fromtimestamp(us / 1e6, UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (OverflowError, ValueError, OSError):
        return f"{us} us"


def _plain(line: str) -> str:
    return "".join(one if " " <= one <= "~" else "?" for one in line)
