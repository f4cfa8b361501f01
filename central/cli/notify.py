"""`pulk notify` and `pulk dataset notify`: being told that a dataset ended, fails, or is silent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from central.cli.asking import asking, client_of, full_id, show_answer

EVENTS = ("completion", "failures", "silence")
MINE = "/me/notifications"
_central = asking(required=True)
_on = click.option(
    "--on", "on", multiple=True, type=click.Choice(EVENTS), help="Of what; repeatable."
)
_off = click.option("--off", is_flag=True, help="Of nothing.")
_rate = click.option(
    "--failure-rate",
    type=click.FloatRange(0, 1, min_open=True),
    help="From which share of failed tasks on [default: 0.1].",
)
_hours = click.option(
    "--silence-hours", type=click.FloatRange(0.001), help="After how long [default: 24]."
)


@click.group()
def group() -> None:
    """Be told, by mail or webhook, how your datasets are."""


@group.command("set")
@click.option("--email", help="To this address; empty: no mail any more.")
@click.option("--webhook", help="To this address, by POST; empty: to none any more.")
@_on
@_off
@_rate
@_hours
@_central
def set_(
    *,
    on: tuple[str, ...],
    off: bool,
    central: str,
    token_file: Path,
    as_json: bool,
    **given: Any,
) -> None:
    """Say where you are told, and of what, of every dataset that you own."""
    about = _about(on, off=off, **given)
    answer = client_of(central, token_file).send("PATCH", MINE, about)
    words = _words(answer)
    if "secret" in answer:
        words += f"\nsecret: {answer['secret']}  (signs what is posted; shown this once)"
    show_answer(answer, as_json, words)


@group.command()
@_central
def show(central: str, token_file: Path, as_json: bool) -> None:
    """Show where you are told, and of what."""
    answer = client_of(central, token_file).get(MINE)
    show_answer(answer, as_json, _words(answer))


@group.command()
@_central
def test(central: str, token_file: Path, as_json: bool) -> None:
    """Have central send you a notice, to see that it comes."""
    answer = client_of(central, token_file).send("POST", f"{MINE}/test", {})
    words = f"on its way by {' and '.join(answer['channels'])}: {answer['key']}"
    show_answer(answer, as_json, words)


@click.command("notify")
@click.argument("dataset_id")
@_on
@_off
@_rate
@_hours
@_central
def of_dataset(
    *,
    dataset_id: str,
    on: tuple[str, ...],
    off: bool,
    central: str,
    token_file: Path,
    as_json: bool,
    **given: Any,
) -> None:
    """Choose what you are told of one dataset; without options: show it."""
    client = client_of(central, token_file)
    path = f"/datasets/{full_id(client, dataset_id)}/notifications"
    about = _about(on, off=off, **given)
    answer = client.send("PATCH", path, about) if about else client.get(path)
    show_answer(answer, as_json, _events(answer))


def _about(on: tuple[str, ...], *, off: bool, **given: Any) -> dict[str, Any]:
    if off and on:
        raise click.UsageError("--on or --off")
    about = {name: value for name, value in given.items() if value is not None}
    return about | ({"on": list(on)} if on or off else {})


def _words(answer: dict[str, Any]) -> str:
    email, webhook = answer["email"] or "none", answer["webhook"] or "none"
    return f"email: {email}\nwebhook: {webhook}\n{_events(answer)}"


def _events(answer: dict[str, Any]) -> str:
    if not answer["on"]:
        return "you are told of nothing"
    rate, hours = answer["failure_rate"], answer["silence_hours"]
    return f"of: {', '.join(answer['on'])}; failures from {rate:.0%}, silence after {hours:g} hours"
