"""How commands ask central: its address and token, abbreviated ids, answers as words or JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from bundle.client import Client
from bundle.errors import PulkError
from bundle.ids import MalformedId, parse_dataset_id
from central.cli import settings

if TYPE_CHECKING:
    from central.document import Find, Other

DATASET_ID = re.compile(r"[a-z2-7]{26}")
DATASET_BEGINS = re.compile(r"[a-z2-7]{1,26}")
NAME_CHARS_MAX = 200
STEPS_SHOWN = 20  # where a name fits none
_F = TypeVar("_F", bound=Callable[..., Any])


class NoToken(PulkError):
    """The file with the access token cannot be read. Name the one that you were given."""

    code = "no-token"
    what = "the token cannot be read: {reason}"
    remedy = (
        "name it by --token-file or PULK_TOKEN_FILE; "
        "`pulk central init` writes the first one to DIR/admin.token"
    )


class UnknownDataset(PulkError):
    """No dataset, or more than one, begins or is named so. See `pulk dataset list`."""

    code = "no-such-dataset"
    what = "{count} datasets begin with {given!r} or are named so"
    remedy = "copy the id from `pulk dataset list`"


class NoSuchStep(PulkError):
    """The dataset has no step of that name. `pulk dataset show` lists its steps."""

    code = "no-such-step"
    what = "no step is called {given!r}; there are {names}"
    remedy = "give one of these names, or a step's index"


def asking(*, required: bool) -> Callable[[_F], _F]:
    """Return what adds the options that say which central is meant and who asks."""

    def add(command: _F) -> _F:
        for option in (
            click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout."),
            click.option(
                "--token-file",
                envvar="PULK_TOKEN_FILE",
                callback=settings.fill("token_file", required=required),
                show_envvar=True,
                type=click.Path(path_type=Path),
                help="File with the access token.",
            ),
            click.option(
                "--central",
                envvar="PULK_CENTRAL",
                callback=settings.fill("central", required=required),
                show_envvar=True,
                help="Central's URL, such as http://127.0.0.1:7855.",
            ),
        ):
            command = option(command)
        return command

    return add


def client_of(central: str, token_file: Path) -> Client:
    """Return the client of a central. Raises NoToken."""
    try:
        return Client(central, token_file.read_text(encoding="ascii").strip())
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not plain text"
        raise NoToken(where=str(token_file), reason=reason) from error


def full_id(client: Client, given: str) -> str:
    """Return the id that a unique abbreviation, or the name of one dataset only, stands for."""
    try:
        return parse_dataset_id(given)
    except MalformedId:
        fitting = []
        if DATASET_BEGINS.fullmatch(given):
            fitting = client.every("/datasets", "datasets", id=given, fields="id,submitted")
        if not fitting and 0 < len(given) <= NAME_CHARS_MAX:
            named = client.every("/datasets", "datasets", name=given, fields="id,name,submitted")
            fitting = [one for one in named if one["name"] == given]
        if len(fitting) != 1:
            raise UnknownDataset(given=given, count=len(fitting)) from None
        return str(fitting[0]["id"])


def find_others(client: Client) -> Find:
    """Return what asks central for the datasets that have an id or a name."""
    from central.document import Other

    def find(given: str) -> list[Other]:
        found = []
        if DATASET_ID.fullmatch(given):
            found = client.every("/datasets", "datasets", id=given, fields="id,submitted")
        if not found and 0 < len(given) <= NAME_CHARS_MAX:
            named = client.every("/datasets", "datasets", name=given, fields="id,name,submitted")
            found = [one for one in named if one["name"] == given]
        return [_other(client, one["id"]) for one in found]

    def _other(client: Client, dataset: str) -> Other:
        steps = client.get(f"/datasets/{dataset}")["steps"]
        outputs = {one["name"]: tuple(one["outputs"]) for one in steps}
        return Other(parse_dataset_id(dataset), outputs)

    return find


def step_no(client: Client, dataset: str, given: str) -> int:
    """Return the index of a step; digits are the index itself. Raises NoSuchStep."""
    if given.isdecimal():
        return int(given)
    names = [str(row["name"]) for row in client.counts(dataset)]
    if given not in names:
        shown = ", ".join(names[:STEPS_SHOWN]) + (", ..." if len(names) > STEPS_SHOWN else "")
        raise NoSuchStep(where=dataset, given=given, names=shown)
    return names.index(given)


def task_path(client: Client, given: str) -> str:
    """Return the path of a task given as dataset/job/step, the step by name or index."""
    of, slash, numbers = given.partition("/")
    job, comma, step = numbers.partition("/")
    if not (slash and comma and job.isdecimal() and step):
        raise click.BadParameter(f"{given!r} is not dataset/job/step", param_hint="TASK")
    dataset = full_id(client, of)
    return f"/datasets/{dataset}/tasks/{int(job)}/{step_no(client, dataset, step)}"


def rows(answer: Any, key: str) -> list[dict[str, Any]]:
    """Return the rows of an answer, under a key or alone."""
    return list(answer.get(key, ()) if isinstance(answer, dict) else answer)


def show_answer(answer: Any, as_json: bool, words: str) -> None:
    """Print an answer as JSON, or its words."""
    click.echo(json.dumps(answer) if as_json else words)
