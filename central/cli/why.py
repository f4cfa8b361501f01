"""`pulk why TASK`: what keeps a task from running, and what would remove it."""

from __future__ import annotations

from typing import Any

import click

from central.cli.asking import asking, client_of, show_answer, task_path


@click.command()
@click.argument("task")
@asking(required=True)
def command(task: str, central: str, token_file: Any, as_json: bool) -> None:
    """Say why TASK is not running or not done: dataset/job/step, the step by name or index."""
    client = client_of(central, token_file)
    answer = client.get(f"{task_path(client, task)}/why")
    show_answer(answer, as_json, words(answer))


def words(answer: dict[str, Any]) -> str:
    """Return an answer as lines: the verdict, then each obstacle with what would remove it."""
    lines = [f"{answer['task']} ({answer['step']}) is {answer['verdict']}"]
    for number, one in enumerate(answer["because"]):
        at = f" at {one['site']}" if one.get("site") else ""
        mark = "because" if number == 0 else "    and"
        lines.append(f"{mark} {one['code']}{at}: {one['text']}")
        if one.get("has"):
            lines.append(f"          has: {one['has']}")
        if one.get("remedy"):
            lines.append(f"          remedy: {one['remedy']}")
    return "\n".join(lines)
