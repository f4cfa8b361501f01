"""`pulk dataset extend | truncate | open | close`: how many jobs there are, and may come."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from central.cli.asking import asking, client_of, full_id, show_answer

_central = asking(required=True)
_dry_run = click.option("--dry-run", is_flag=True, help="Say what would change, change nothing.")


@click.command()
@click.argument("dataset_id")
@click.argument("more", type=click.IntRange(1))
@_dry_run
@_central
def extend(*, dataset_id: str, more: int, **how: Any) -> None:
    """Give a dataset so many more jobs: steps that need all jobs run anew when those are done."""
    _resize(dataset_id, {"more": more}, **how)


@click.command()
@click.argument("dataset_id")
@click.argument("jobs", type=click.IntRange(1))
@_dry_run
@_central
def truncate(*, dataset_id: str, jobs: int, **how: Any) -> None:
    """Leave a dataset its first so many jobs: the others are dropped, and what they made kept.

    Steps that need all jobs run anew over those that are left. Extending it again makes results of
    dropped jobs count again.
    """
    _resize(dataset_id, {"jobs": jobs}, **how)


@click.command("close")
@click.argument("dataset_id")
@_dry_run
@_central
def close(*, dataset_id: str, **how: Any) -> None:
    """Close an open dataset: no more jobs will come, and steps that need all of them may run."""
    _resize(dataset_id, {"open": False}, **how)


@click.command("open")
@click.argument("dataset_id")
@_dry_run
@_central
def open_(*, dataset_id: str, **how: Any) -> None:
    """Open a dataset for more jobs: steps that need all of them wait until it is closed."""
    _resize(dataset_id, {"open": True}, **how)


def commands() -> Iterator[click.Command]:
    """Yield the commands."""
    yield from (extend, truncate, close, open_)


def _resize(
    dataset_id: str,
    size: dict[str, Any],
    *,
    central: str,
    token_file: Path,
    as_json: bool,
    dry_run: bool,
) -> None:
    from central.cli.sent import Sent

    client = client_of(central, token_file)
    full = full_id(client, dataset_id)
    path = f"/datasets/{full}/size"
    if dry_run:
        answer = client.post(path, size | {"dry_run": True}, os.urandom(16).hex())
    else:
        sent, request = Sent.in_home(), f"{central} {full} size {json.dumps(size)}"
        answer = client.post(path, size, sent.key_for(request))
        sent.answered(request)
    show_answer(answer, as_json, f"{full}: {_words(answer)}")


def _words(answer: dict[str, Any]) -> str:
    parts = [f"{'would have' if answer['dry_run'] else 'has'} {answer['jobs']} jobs"]
    if answer["begun_beyond"]:
        parts.append(f"{answer['begun_beyond']} begun jobs are dropped")
    if answer["tasks"]:
        parts.append(f"{answer['tasks']} tasks begun so far run again")
    return "; ".join(parts)
