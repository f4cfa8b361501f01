"""How `pulk bundle inspect`, `verify`, `ls` and `diff` show plain values to a person."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Any

from bundle.cli.table import say, table, terminal_width, write
from bundle.intervals import IntervalSet
from bundle.look.words import counted, runs, size, time

ROWS_SHOWN = 40  # of chunks, in `inspect`; `ls` and --json show all
FIELD_CHARS_MAX = 60  # of a value that differs

Facts = dict[str, Any]


def facts(found: Facts) -> None:
    """Show what `inspect` found."""
    write(table((), [*_head(found), *_more(found), *_effect(found)]))
    if found["chunks"]:
        write("\n")
        chunks(found["chunks"][:ROWS_SHOWN])
    more = len(found["chunks"]) - ROWS_SHOWN
    if more > 0:
        say(f"and {more:,} more; all with `pulk bundle ls`")


def verdict(row: Facts, trust_version: int) -> None:
    """Show what `verify` found of one file; refusals go to stderr."""
    if not row["verified"]:
        say(f"refused: {row['path']}: {_refusal(row)}", sys.stderr)
        return
    there = f"{row['present']:,} of {counted(row['chunks'], 'chunk')}"
    held = counted(row["chunks"], "chunk") if row["present"] == row["chunks"] else there
    say(
        f"verified: {row['path']}: {row['kind']} bundle {row['id']} of {row['signed_by']}, "
        f"{held}, by trust version {trust_version}"
    )


def chunks(rows: Sequence[Facts]) -> None:
    """Show the chunks of a bundle."""
    head = ["place", "kind", "name", "records", "raw", "stored", "codec", "digest"]
    lines = [
        [
            row["place"],
            row["kind"],
            row["name"],
            row["records"],
            size(row["raw_bytes"]),
            size(row["stored_bytes"]),
            row["codec"],
            row["digest"][:16],
            *([row["state"]] if "state" in row else []),
        ]
        for row in rows
    ]
    _table([*head, "state"] if any("state" in row for row in rows) else head, lines)


def folder(rows: Sequence[Facts], others: int, *, was_read: bool) -> None:
    """Show the bundles in a folder."""
    head = ("file", "state", "kind", "producer", "for", "number", "chunks", "size", "id")
    _table(head, [_bundle(row) for row in rows])
    for row in rows:
        if "refusal" in row:
            say(f"{row['path']}: {_refusal(row)}")
    words = f"{counted(len(rows), 'bundle file')}, {counted(others, 'other file')}"
    say(words if was_read else f"{words}; states are by sizes, --read looks at every byte")


def differences(found: Facts) -> None:
    """Show what `diff` found."""
    if found["same"]:
        say("the same bundle, with the same chunks present")
        return
    if found["same_bundle"]:
        say("the same bundle: the two differ in nothing but which chunks are present")
        for name in ("a", "b"):
            places = found["present"][f"only_{name}"]
            if places:
                say(f"only in {found[name]}: chunks {runs(IntervalSet.of(places))}")
        return
    lines = [
        ("manifest", row["field"], _value(row["a"]), _value(row["b"])) for row in found["manifest"]
    ]
    lines += [("chunk", _name(row), "present", "-") for row in found["chunks"]["only_a"]]
    lines += [("chunk", _name(row), "-", "present") for row in found["chunks"]["only_b"]]
    lines += [("chunk", _name(row), "changed", "changed") for row in found["chunks"]["changed"]]
    lines += [
        (_name(row), field["field"], _value(field["a"]), _value(field["b"]))
        for row in found["records"]
        for field in row["fields"]
    ]
    for name in ("a", "b"):
        say(f"{name.upper()}: {found[name]}")
    _table(("what", "field", "A", "B"), lines)
    _attempts(found["attempts"])
    for row in found["unread"]:
        say(f"not compared: {_name(row)}: {row['reason']}")


def _attempts(found: Facts) -> None:
    parts = [
        f"{found[key]:,} {words}"
        for key, words in (
            ("only_a", "only in A"),
            ("only_b", "only in B"),
            ("changed", "changed"),
        )
        if found[key]
    ]
    if not parts:
        return
    say(f"attempts: {', '.join(parts)}")
    head = ("in", "task", "generation", "lease", "pilot run", "local")
    _table(
        head,
        [
            (
                row["in"],
                f"{row['dataset']}/{row['job']}/{row['step']}",
                row["generation"],
                row["lease"],
                row["pilot_run"],
                row["local"],
            )
            for row in found["rows"][:ROWS_SHOWN]
        ],
    )


def _head(found: Facts) -> Iterable[tuple[str, str]]:
    totals = found["totals"]
    yield "id", found["id"]
    yield "verified", _verified(found)
    yield "kind", f"{found['kind']} (format {found['format']})"
    yield "producer", found["producer"]
    yield "for", found["audience"] or "anybody"
    yield "stream", f"{found['stream']} number {found['sequence']:,}"
    yield "previous", found["previous"] or "none named"
    yield "created", time(found["created_us"])
    yield "size", f"{size(found['file_bytes'])} file, {size(found['raw_bytes'])} raw"
    records = counted(totals["records"], "record")
    files = f"{counted(totals['files'], 'file')} ({size(totals['file_bytes'])})"
    yield "content", f"{counted(totals['chunks'], 'chunk')}, {records}, {files}"
    if found["absent"]:
        yield "absent", f"chunks {runs(IntervalSet.of(found['absent']))} are not in this copy"
    for one in found["signatures"]:
        yield "signature", _signature(one)


def _more(found: Facts) -> Iterable[tuple[str, str]]:
    if found["epoch"]:
        yield "epoch", f"{found['epoch']['counter']}, commit {found['commit']}"
    if found["lifetime_ms"]:
        yield "lifetime", f"{found['lifetime_ms'] / 3_600_000:.1f} h from acceptance"
    if found["rules"]:
        cap = found["rules"]["node_hours_max_milli"]
        hours = f"at most {cap / 1000:g} node hours" if cap else "no cap on node hours"
        yield "rules", f"network {found['rules']['network']}, {hours}"
    for one in found["receipts"]:
        yield "receipt", f"stream {one['stream']}: {one['words']}"
    for stream, numbers in found["received"].items():
        yield "received", f"stream {stream}: {runs(IntervalSet.from_wire(numbers))}"
    if found["tombstones"]:
        yield "tombstones", ", ".join(found["tombstones"][:ROWS_SHOWN])
    if found["called_off"]:
        yield "called off", f"{len(found['called_off']):,} leases"
    for one in found["edits"][:ROWS_SHOWN]:
        yield "edited", f"dataset {one['dataset']}, commit {one['commit']} of {one['epoch']}"
    if found["called_off_tasks"]:
        tasks = sum(count for _, _, runs in found["called_off_tasks"] for _, count in runs)
        yield "called off", f"{tasks:,} tasks of leases that go on"
    if found["trust_bytes"]:
        versions = ", ".join(map(str, found["trust_versions"])) or "none that can be read"
        yield "brings trust", versions
    for name in ("segments", "introduces", "refers"):
        if found[name]:
            yield name, f"{len(found[name]):,}"
    if found["unknown"]:
        yield "unknown fields", ", ".join(found["unknown"])
    for problem in found["problems"][:ROWS_SHOWN]:
        yield "problem", problem


def _effect(found: Facts) -> Iterable[tuple[str, str]]:
    name = found["effect"]["mood"]
    for phrase in found["effect"]["phrases"]:
        yield name, phrase
        name = ""


def _signature(one: Facts) -> str:
    key = f"{one['key']} ({one['words']})"
    if one["verifies"] is None:
        return key
    return f"{key}: {'verifies' if one['verifies'] else 'DOES NOT VERIFY'}; {one['holder']}"


def _verified(found: Facts) -> str:
    if found["verified"] is None:
        return "not looked at (no --trust)"
    if found["verified"]:
        return f"yes, signed by {found['signed_by']}, by trust version {found['trust_version']}"
    return f"NO: {_refusal(found)}"


def _refusal(row: Facts) -> str:
    one = row["refusal"]
    remedy = f"; {one['remedy']}" if one.get("remedy") else ""
    return f"{one['code']}: {one['what']}{remedy}"


def _bundle(row: Facts) -> tuple[Any, ...]:
    held = "" if "chunks" not in row else f"{row['present']:,} of {row['chunks']:,}"
    return (
        row["path"],
        row["state"],
        row.get("kind"),
        row.get("producer"),
        row.get("audience"),
        row.get("sequence"),
        held,
        None if row["file_bytes"] is None else size(row["file_bytes"]),
        row.get("id", "")[:16],
    )


def _name(row: Facts) -> str:
    number = f" ({row['number'] + 1})" if "number" in row else ""
    return f"{row['kind']}:{row['name']}{number}"


def _value(value: Any) -> str:
    text = "-" if value in (None, "") else str(value)
    return text if len(text) <= FIELD_CHARS_MAX else text[: FIELD_CHARS_MAX - 3] + "..."


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    write(table(head, rows, terminal_width(sys.stdout)))
