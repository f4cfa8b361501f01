"""`pulk tell TASK`: what happened to a task, in order, in words."""

from __future__ import annotations

from typing import Any

import click

from central.cli.asking import asking, client_of, show_answer, task_path

UNKNOWN_TIME = " " * 23


@click.command()
@click.argument("task")
@asking(required=True)
def command(task: str, central: str, token_file: Any, as_json: bool) -> None:
    """Tell the story of TASK: leases, bundles, attempts, keys, decisions. As for `pulk why`."""
    client = client_of(central, token_file)
    answer = client.get(f"{task_path(client, task)}/tell")
    show_answer(answer, as_json, words(answer))


def words(answer: dict[str, Any]) -> str:
    """Return an answer as lines: when, by whose clock, what."""
    lines = [f"{answer['task']} ({answer['step']}) is {answer['verdict']}"]
    for one in answer["story"]:
        at = (one["at"] or UNKNOWN_TIME)[: len(UNKNOWN_TIME)]
        clock = one["clock"] if one["at"] else ""
        lines.append(f"{at}  {clock:<12.40}  {one['what']:<9}  {one['text']}")
    return "\n".join(lines)
