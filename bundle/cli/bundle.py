"""`pulk bundle`: look into a bundle and verify it, with files alone."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bundle.trust.trust_file import TrustView
from bundle.wire import inspect
from bundle.wire.errors import BundleRefused

CHUNKS_SHOWN = 40

_file = click.argument("file", type=click.Path(path_type=Path))
_json = click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")


@click.group("bundle")
def group() -> None:
    """Look into bundles and verify them."""


@group.command("inspect")
@_file
@click.option(
    "--trust", type=click.Path(path_type=Path), help="Trust file: also verify against it."
)
@_json
def inspect_command(file: Path, trust: Path | None, as_json: bool) -> None:
    """Show what FILE says of itself; without --trust nothing of it is verified."""
    found = inspect.describe(file, None if trust is None else TrustView.load(trust))
    if as_json:
        click.echo(json.dumps(found))
    else:
        _show(found)


@group.command("verify")
@_file
@click.option(
    "--trust", type=click.Path(path_type=Path), required=True, help="Trust file to verify against."
)
@_json
def verify_command(file: Path, trust: Path, as_json: bool) -> None:
    """Verify FILE: signature, sizes and every chunk. Exit code 1 where it is refused."""
    view = TrustView.load(trust)
    try:
        found = inspect.verify_whole(file, view)
    except BundleRefused as error:
        if not as_json:
            raise
        click.echo(json.dumps({"verified": False, "refusal": error.diagnostics()}))
        raise click.exceptions.Exit(1) from error
    found |= {"trust_version": view.version, **_head(file)}
    if as_json:
        click.echo(json.dumps(found))
    else:
        click.echo(
            f"verified: {found['kind']} bundle {found['id']} of {found['signed_by']}, "
            f"{found['chunks']} chunks, by trust version {view.version}"
        )


def _head(file: Path) -> dict[str, Any]:
    found = inspect.describe(file)
    return {"id": found["id"], "kind": found["kind"], "chunks": len(found["chunks"])}


def _show(found: dict[str, Any]) -> None:
    console = Console(highlight=False, soft_wrap=True)
    facts = Table(show_header=False, box=None)
    for name, text in _facts(found):
        facts.add_row(f"[bold]{name}[/]", escape(_printable(text)))
    console.print(facts)
    chunks = Table("chunk", "kind", "name", "records", "raw", "stored", "codec", "digest")
    for number, row in enumerate(found["chunks"][:CHUNKS_SHOWN]):
        chunks.add_row(
            str(number),
            row["kind"],
            escape(_printable(row["name"])),
            str(row["records"]),
            _size(row["raw_bytes"]),
            _size(row["stored_bytes"]),
            row["codec"],
            row["digest"][:16],
        )
    if found["chunks"]:
        console.print(chunks)
    if len(found["chunks"]) > CHUNKS_SHOWN:
        console.print(f"and {len(found['chunks']) - CHUNKS_SHOWN} more; all with --json")


def _facts(found: dict[str, Any]) -> list[tuple[str, str]]:
    facts = [
        ("id", found["id"]),
        ("verified", _verified(found)),
        ("kind", f"{found['kind']} (format {found['format']})"),
        ("producer", found["producer"]),
        ("audience", found["audience"] or "anybody"),
        ("stream", f"{found['stream']} number {found['sequence']}"),
        ("created", _time(found["created_us"])),
        ("size", f"{_size(found['file_bytes'])} file, {_size(found['raw_bytes'])} raw"),
        ("keys", ", ".join(found["keys"])),
    ]
    if found["epoch"]:
        facts.append(("epoch", f"{found['epoch']['counter']}, commit {found['commit']}"))
    if found["lifetime_ms"]:
        facts.append(("lifetime", f"{found['lifetime_ms'] / 3_600_000:.1f} h from acceptance"))
    facts += [
        (name, str(len(found[name])))
        for name in ("segments", "introduces", "refers", "receipts", "tombstones")
        if found[name]
    ]
    if found["unknown"]:
        facts.append(("unknown fields", ", ".join(found["unknown"])))
    return facts


def _verified(found: dict[str, Any]) -> str:
    if found["verified"] is None:
        return "not looked at (no --trust)"
    if found["verified"]:
        return f"yes, signed by {found['signed_by']}"
    refusal = found["refusal"]
    return f"NO: {refusal['code']}: {refusal['what']}; {refusal['remedy']}"


def _time(us: int) -> str:
    try:
        return datetime.fromtimestamp(us / 1e6, UTC).isoformat(timespec="seconds")
    except (OverflowError, ValueError, OSError):
        return f"{us} us"


def _size(size: int) -> str:
    amount, unit = float(size), "B"
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024 or unit == "GiB":
            break
        amount /= 1024
    return f"{size} B" if unit == "B" else f"{amount:.1f} {unit}"


def _printable(text: str) -> str:
    """Return text that cannot steer a terminal."""
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in text)
