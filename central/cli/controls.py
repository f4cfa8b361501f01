"""Controls of `pulk dataset`: suspend, reset and others, of tasks one by one or in bulk."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from bundle.cli.progress import each
from bundle.errors import PulkError
from bundle.fates import Fate
from central.cli.asking import asking, client_of, full_id, show_answer, step_no
from central.cli.tables import plain as table

if TYPE_CHECKING:
    from bundle.client import Client

JOBS_SYNTAX = "Jobs, for example 0-99,120."
CONTROLS = {
    "suspend": "Hand out no more of it: what sites hold goes on and counts.",
    "resume": "Undo suspend.",
    "cancel": "Stop it: what has not ended will not count.",
    "uncancel": "Undo cancel.",
    "reset": (
        "Run it again, with everything that was computed from it. Hard, as it is unless --soft is "
        "given, takes successes too: their results count no more (adopt takes that back). Soft "
        "takes only what failed, or failed so far and waits: what is done or held by a site stays."
    ),
    "adopt": "Undo reset where a result is there already: older ones of the same spec count again.",
}
VERDICTS = ("held", "ready", "leased", "done", "failed", "cancelled")
PIECE_JOBS = 1 << 20  # that tasks are chosen among by one request
PIECE_JOBS_MIN = 1 << 12  # what is meant of so few lies in few enough places
TOO_LARGE = "selection-too-large"
_F = TypeVar("_F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Asked:
    """What a person asks of one dataset or several, as the options have it."""

    control: str
    jobs: list[list[int]] | None
    steps: tuple[str, ...]
    only: dict[str, Any]
    dry_run: bool

    @property
    def chooses(self) -> bool:
        """Whether tasks are chosen by more than steps and jobs."""
        return bool(self.only)


def choosing(command: _F) -> _F:
    """Add the options that choose datasets and tasks of them."""
    for option in (
        click.option("--dry-run", is_flag=True, help="Count what is meant, change nothing."),
        click.option("--search", "q", help="Datasets with these words in name or description."),
        click.option("--group", help="All datasets of this group."),
        click.option("--owner", help="All datasets of this user."),
        click.option("--name", help="All datasets with such a name; * stands for anything."),
        click.option("--site", help="Only tasks that ran at this site, or that it holds."),
        click.option(
            "--fate",
            "fates",
            multiple=True,
            type=click.Choice([one.value for one in Fate]),
            help="Only tasks with such an attempt; repeatable.",
        ),
        click.option(
            "--verdict",
            "verdicts",
            multiple=True,
            type=click.Choice(VERDICTS),
            help="Only tasks that stand so; repeatable.",
        ),
        click.option("--failed", is_flag=True, help="Only tasks that failed."),
        click.option("--step", "steps", multiple=True, help="Name or index of a step; repeatable."),
        click.option("--jobs", default=None, help=JOBS_SYNTAX),
        click.argument("dataset_id", metavar="[DATASET[/JOB/STEP]]", required=False),
    ):
        command = option(command)
    return command


def commands() -> Iterator[click.Command]:
    """Yield the command of each control."""
    for name, words in CONTROLS.items():
        yield _command(name, words)


def _command(name: str, words: str) -> click.Command:
    def command(
        *,
        dataset_id: str | None,
        jobs: str | None,
        steps: tuple[str, ...],
        central: str,
        token_file: Path,
        as_json: bool,
        dry_run: bool,
        **chosen: Any,
    ) -> None:
        client = client_of(central, token_file)
        filters = {one: chosen.pop(one) for one in ("name", "owner", "group", "q")}
        runs = None if jobs is None else job_runs(jobs)
        dataset_id, runs, steps = _as_task(dataset_id, runs, steps)
        asked = Asked(name, runs, steps, _only(chosen), dry_run)
        if dataset_id is not None and any(filters.values()):
            raise click.UsageError("give a dataset, or what chooses several, not both")
        if dataset_id is not None:
            answers: list[dict[str, Any]] = []
            try:
                answer = _control_one(client, full_id(client, dataset_id), asked, answers)
            except PulkError:
                _tell_what_is_done(asked, answers)
                raise
            show_answer(answer, as_json, _told(asked, answer))
        elif any(filters.values()):
            _control_several(client, _matching(client, filters), asked, as_json=as_json)
        else:
            raise click.UsageError("give a dataset, or --name, --owner, --group or --search")

    made: Callable[..., Any] = asking(required=True)(command)
    if name == "reset":
        soft = "--soft/--hard"
        made = click.option(soft, help="Only what failed / successes too (default).")(made)
    return click.command(name, help=words)(choosing(made))


def _as_task(
    given: str | None, runs: list[list[int]] | None, steps: tuple[str, ...]
) -> tuple[str | None, list[list[int]] | None, tuple[str, ...]]:
    """Read `DATASET/JOB/STEP` as its dataset, job and step."""
    if given is None or "/" not in given:
        return given, runs, steps
    dataset, job, step = (*given.split("/"), "", "")[:3]
    if given.count("/") != 2 or runs is not None or steps or not step:
        raise click.UsageError(f"{given!r} is no task DATASET/JOB/STEP, or jobs are given twice")
    return dataset, job_runs(job), (step,)


def _only(chosen: dict[str, Any]) -> dict[str, Any]:
    """Return what is said of tasks beside steps and jobs, as the API takes it."""
    verdicts = [*chosen["verdicts"], *(["failed"] if chosen["failed"] else [])]
    said = {"verdicts": verdicts, "fates": list(chosen["fates"]), "site": chosen["site"]}
    said |= {"soft": chosen.get("soft", False)}
    return {name: value for name, value in said.items() if value}


def _matching(client: Client, filters: dict[str, str | None]) -> list[dict[str, Any]]:
    """Return the datasets that are meant, of those that may be seen."""
    name = filters.pop("name")
    listed = client.every("/datasets", "datasets", **filters)
    return [one for one in listed if name is None or fnmatchcase(one["name"], name)]


def _control_several(
    client: Client, datasets: list[dict[str, Any]], asked: Asked, *, as_json: bool
) -> None:
    """Control datasets one by one; what is refused of one stops no other. Exits 1 for those."""
    from bundle.client import Refused

    lines: list[dict[str, Any]] = []
    for one in each(datasets, "datasets"):
        line = {"id": one["id"], "name": one["name"]}
        answers: list[dict[str, Any]] = []
        try:
            answer = _control_one(client, str(one["id"]), asked, answers)
            lines.append(line | {"tasks": answer["tasks"], "refused": None})
        except Refused as refused:
            done = _added_up(answers)["tasks"]
            lines.append(line | {"tasks": done, "refused": refused.text()})
    covered = sum(line["tasks"] for line in lines)
    words = f"{_verb(asked)}: {covered} tasks of {len(lines)} datasets"
    answer = {"datasets": lines, "tasks": covered, "dry_run": asked.dry_run}
    show_answer(answer, as_json, f"{table(lines)}\n{words}" if lines else "no dataset is meant")
    if any(line["refused"] for line in lines):
        raise SystemExit(1)


def _control_one(
    client: Client, dataset: str, asked: Asked, answers: list[dict[str, Any]]
) -> dict[str, Any]:
    """Control one dataset; tasks that are chosen out of many jobs are so in pieces.

    `answers`: gets what was answered to each piece, also where a later one is refused.
    """
    steps = [step_no(client, dataset, one) for one in asked.steps] or None
    if not asked.chooses:
        return _send(client, dataset, asked, asked.jobs, steps)
    about = client.get(f"/datasets/{dataset}")
    runs = [[0, about["jobs"]]] if asked.jobs is None else asked.jobs
    if sum(count for _, count in runs) <= PIECE_JOBS:
        answer = _sent_if_it_fits(client, dataset, asked, asked.jobs, steps)
        if answer is not None:
            return answer
    pieces = [
        [first, min(PIECE_JOBS, start + count - first)]
        for start, count in runs
        for first in range(start, start + count, PIECE_JOBS)
    ]
    for piece in each(pieces, dataset):
        for answer in _sent_in_parts(client, dataset, asked, piece, steps):
            answers.append(answer)
    whole = [one["step"] for one in about["steps"] if one["per"] != "job"]
    if asked.jobs is None and steps is None and whole:
        answers.append(_send(client, dataset, asked, None, whole))
    return _added_up(answers)


def _tell_what_is_done(asked: Asked, answers: list[dict[str, Any]]) -> None:
    """Say what pieces did before one was refused, or got no answer: each was a commit."""
    if answers and not asked.dry_run:
        done = _added_up(answers)["tasks"]
        words = f"{asked.control}: {done} tasks in {len(answers)} pieces are done and stay so; "
        click.echo(f"{words}it broke off before the rest", err=True)


def _sent_if_it_fits(
    client: Client,
    dataset: str,
    asked: Asked,
    jobs: list[list[int]] | None,
    steps: list[int] | None,
) -> dict[str, Any] | None:
    """Send a control, one commit; None where what is meant is too much for one."""
    from bundle.client import Refused

    try:
        return _send(client, dataset, asked, jobs, steps)
    except Refused as refused:
        if TOO_LARGE not in refused.text():
            raise
        return None


def _sent_in_parts(
    client: Client, dataset: str, asked: Asked, piece: list[int], steps: list[int] | None
) -> Iterator[dict[str, Any]]:
    """Send a piece; one where what is meant lies in too many places is halved."""
    first, count = piece
    if count <= PIECE_JOBS_MIN:
        yield _send(client, dataset, asked, [piece], steps)
        return
    answer = _sent_if_it_fits(client, dataset, asked, [piece], steps)
    if answer is not None:
        yield answer
        return
    half = count // 2
    yield from _sent_in_parts(client, dataset, asked, [first, half], steps)
    yield from _sent_in_parts(client, dataset, asked, [first + half, count - half], steps)


def _send(
    client: Client,
    dataset: str,
    asked: Asked,
    jobs: list[list[int]] | None,
    steps: list[int] | None,
) -> dict[str, Any]:
    from central.cli.sent import Sent

    body = {"control": asked.control, "jobs": jobs, "steps": steps} | asked.only
    if asked.dry_run:
        import os

        path = f"/datasets/{dataset}/controls"
        return dict(client.post(path, body | {"dry_run": True}, os.urandom(16).hex()))
    sent, request = Sent.in_home(), f"{client.base} {dataset} {json.dumps(body)}"
    answer = client.post(f"/datasets/{dataset}/controls", body, sent.key_for(request))
    sent.answered(request)
    return dict(answer)


def _added_up(answers: list[dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {"tasks": sum(one["tasks"] for one in answers)}
    if any(one.get("dry_run") for one in answers):
        verdicts: dict[str, int] = {}
        for one in answers:
            for word, count in one.get("verdicts", {}).items():
                verdicts[word] = verdicts.get(word, 0) + count
        found |= {"dry_run": True, "verdicts": verdicts}
    return found


def _told(asked: Asked, answer: dict[str, Any]) -> str:
    tasks = answer.get("tasks")
    words = f"{_verb(asked)}: {tasks} tasks" if tasks is not None else _verb(asked)
    if answer.get("verdicts"):
        words += f" ({', '.join(f'{n} {word}' for word, n in answer['verdicts'].items())})"
    return words


def _verb(asked: Asked) -> str:
    return f"would {asked.control}" if asked.dry_run else asked.control


def job_runs(text: str) -> list[list[int]]:
    """Read `0-99,120` as [[first, count], ...]. Raises click.BadParameter."""
    runs: list[list[int]] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise click.BadParameter(f"{part!r} is neither a job nor first-last")
        count = int(last) - int(first) + 1 if dash else 1
        if count < 1:
            raise click.BadParameter(f"{part!r} ends before it begins")
        runs.append([int(first), count])
    return runs
