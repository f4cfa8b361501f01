"""`pulk dataset export`: a dataset with its provenance as a crate, or its document to run again."""

from __future__ import annotations

import gzip
import json
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from central.cli.asking import asking, client_of, full_id, show_answer
from central.errors import ExportRefused

if TYPE_CHECKING:
    from bundle.client import Client
    from bundle.dataset.spec import Dataset
    from central.crate.facts import Facts

ATTEMPTS_MAX = 1_000_000  # in the file of attempts
ACTIONS_MAX = 1_000  # attempts that are entities of their own in the crate's metadata
PROGRESS_EVERY = 10_000
COUNT = click.IntRange(0, 100_000_000)


@click.command()
@click.argument("dataset_id")
@click.option("--out", type=click.Path(path_type=Path), help="A new folder, or FILE.zip.")
@click.option(
    "--document", "as_document", is_flag=True, help="The document alone, as TOML, to submit again."
)
@click.option(
    "--actions",
    type=COUNT,
    default=ACTIONS_MAX,
    show_default=True,
    help="Attempts that the crate's metadata describes one by one; of the rest it has sums.",
)
@click.option(
    "--attempts",
    type=COUNT,
    default=ATTEMPTS_MAX,
    show_default=True,
    help="Attempts in the crate's file of attempts.",
)
@click.option("--license", "licence", default="", help="Of what is in it: a URL, or words.")
@asking(required=True)
def export(
    *,
    dataset_id: str,
    out: Path | None,
    as_document: bool,
    actions: int,
    attempts: int,
    licence: str,
    central: str,
    token_file: Path,
    as_json: bool,
) -> None:
    """Write a dataset with its provenance as an RO-Crate, or its document to run again."""
    client = client_of(central, token_file)
    full = full_id(client, dataset_id)
    if out is not None and out.exists() and not (_is_empty(out) and not as_document):
        raise ExportRefused(where=str(out), reason="there is something already")
    if as_document:
        _document(client, full, out, as_json=as_json)
        return
    if out is None:
        raise click.UsageError("give --out DIR or --out FILE.zip, or --document")
    made = _crate(client, full, out, {"actions": actions, "attempts": attempts}, licence)
    words = f"{out}: {made['listed']:,} of {made['attempts']:,} attempts, {made['actions']:,} of "
    words += f"them as actions; {made['entities']:,} entities"
    show_answer(made, as_json, words)


def _is_empty(out: Path) -> bool:
    return out.is_dir() and not any(out.iterdir())


def _document(client: Client, dataset: str, out: Path | None, *, as_json: bool) -> None:
    from bundle.spool import publish

    _, _, text = _read(client, dataset)
    if out is not None:
        publish.write_new_file(out.parent, out, text.encode())
        about = {"dataset": dataset, "file": str(out), "bytes": len(text.encode())}
        show_answer(about, as_json, f"{out}: `pulk dataset submit` takes it")
    else:
        show_answer({"dataset": dataset, "document": text}, as_json, text.rstrip("\n"))


def _read(client: Client, dataset: str) -> tuple[Dataset, bytes, str]:
    """Return a dataset, its canonical bytes, and a document that computes the same.

    Raises ExportRefused where the document would compute something else: a bug.
    """
    import tomli_w

    from bundle.dataset import spec
    from bundle.dataset.spec_hash import spec_hash
    from central import document

    raw = client.document(dataset)
    made = spec.decode(raw)
    text = tomli_w.dumps(document.render(made))
    again = document.parse_text(text, None, "export")
    same = all(spec_hash(again, one) == spec_hash(made, one) for one in range(len(made.steps)))
    if not same or spec.encode(again) != raw:
        raise ExportRefused(where=dataset, reason="its document does not come back as it was")
    return made, raw, text


def _crate(
    client: Client, full: str, out: Path, limits: dict[str, int], licence: str
) -> dict[str, Any]:
    from central.crate import facts as of
    from central.crate import write

    dataset, raw, text = _read(client, full)
    about, counted = client.get(f"/datasets/{full}"), client.counts(full)
    total = sum(int(one["attempts"]) for one in counted)
    if not total:
        raise ExportRefused(where=full, reason="nothing ran yet, so there is no provenance")
    with tempfile.TemporaryDirectory(prefix="pulk-export-") as folder:
        files = Path(folder)
        (files / of.DOCUMENT).write_text(text)
        (files / of.CANONICAL).write_bytes(raw)
        rows = _attempts(client, full, files / of.ATTEMPTS, limits, total)
        listed = min(total, limits["attempts"])
        groups = client.get(f"/datasets/{full}/aggregates", by="step,fate,site")
        summed = write.summary(about, counted, groups, limits | {"listed": listed, "all": total})
        (files / of.SUMMARY).write_text(summed)
        facts = _facts(dataset, about, counted, rows, listed, licence)
        entities = write.write(facts, files, out)
    made = {"dataset": full, "out": str(out), "attempts": total, "listed": listed}
    return made | {"actions": len(rows), "entities": entities}


def _facts(
    dataset: Dataset, about: Any, counted: Any, rows: Any, listed: int, licence: str
) -> Facts:
    from central.crate.facts import Facts
    from central.doctor import pulk_version

    now = datetime.now(UTC).isoformat(timespec="seconds")
    version = pulk_version()
    return Facts(dataset, about, counted, rows, listed, now, version, licence)


def _attempts(
    client: Client, full: str, to: Path, limits: dict[str, int], total: int
) -> list[dict[str, Any]]:
    """Write attempts to a file, a line each; return those that become actions."""
    kept: list[dict[str, Any]] = []
    with gzip.GzipFile(to, "wb", mtime=0) as file:
        for number, row in enumerate(_some(client, full, max(limits.values()))):
            if number < limits["attempts"]:
                file.write(f"{json.dumps(row)}\n".encode())
            if number < limits["actions"]:
                kept.append(row)
            if number and number % PROGRESS_EVERY == 0:
                sys.stderr.write(f"{number:,} of {total:,} attempts\n")
    return kept


def _some(client: Client, full: str, most: int) -> Iterator[dict[str, Any]]:
    rows = client.lines(f"/datasets/{full}/attempts", detail="true")
    for number, row in enumerate(rows):
        if number >= most:
            return
        yield row
