"""`pulk dataset extend | truncate | open | close`: how many jobs there are, and may come."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bundle.errors import PulkError
from central.cli.asking import asking, client_of, full_id, show_answer

if TYPE_CHECKING:
    from bundle.client import Client

_central = asking(required=True)
_dry_run = click.option("--dry-run", is_flag=True, help="Say what would change, change nothing.")


class NothingToDrop(PulkError):
    """A dataset is truncated to more jobs than it has. To give it more, extend it."""

    code = "nothing-to-drop"
    what = "it has {has} jobs, so it cannot be cut down to {jobs}"
    remedy = "for more jobs use `pulk dataset extend DATASET {more}`; nothing was changed"


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
    if "jobs" in size:
        _must_be_fewer(client, full, size["jobs"])
    path = f"/datasets/{full}/size"
    if dry_run:
        answer = client.post(path, size | {"dry_run": True}, os.urandom(16).hex())
    else:
        sent, request = Sent.in_home(), f"{central} {full} size {json.dumps(size)}"
        answer = client.post(path, size, sent.key_for(request))
        sent.answered(request)
    show_answer(answer, as_json, f"{full}: {_words(answer, size.get('open'))}")


def _must_be_fewer(client: Client, dataset: str, jobs: int) -> None:
    """Refuse to make a dataset larger by a command that is there to make it smaller."""
    has = int(client.get(f"/datasets/{dataset}")["jobs"])
    if jobs > has:
        raise NothingToDrop(where=dataset, jobs=jobs, has=has, more=jobs - has)


def _words(answer: dict[str, Any], is_open: bool | None) -> str:
    would = answer["dry_run"]
    if is_open is not None:
        word = "open" if is_open else "closed"
        parts = [f"{'would be' if would else 'is'} {word}, with {answer['jobs']} jobs"]
        return "; ".join(parts + _again(answer))
    parts = [f"{'would have' if would else 'has'} {answer['jobs']} jobs"]
    if answer["begun_beyond"]:
        parts.append(f"{answer['begun_beyond']} begun jobs are dropped")
    return "; ".join(parts + _again(answer))


def _again(answer: dict[str, Any]) -> list[str]:
    return [f"{answer['tasks']} tasks begun so far run again"] if answer["tasks"] else []
