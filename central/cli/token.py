"""`pulk token`: the tokens with which people ask central."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from bundle.spool import publish
from central.cli.asking import asking, client_of, show_answer
from central.cli.tables import plain as table

SCOPES = ("read", "submit", "control", "admin")
DAY_S = 86_400
_central = asking(required=True)


@click.group()
def group() -> None:
    """Make, list and revoke access tokens; say who one is."""


@group.command()
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(SCOPES),
    help="What it may do; repeatable [default: what your own token may].",
)
@click.option("--days", type=click.FloatRange(0.0001, 3660), help="It is worth nothing after.")
@click.option("--user", help="For another user; administrators only.")
@click.option("--out", type=click.Path(path_type=Path), help="Write it to this new file (0600).")
@_central
def make(
    *,
    name: str,
    scopes: tuple[str, ...],
    days: float | None,
    user: str | None,
    out: Path | None,
    central: str,
    token_file: Path,
    as_json: bool,
) -> None:
    """Make a token called NAME; it is shown, or written to --out, this once."""
    client = client_of(central, token_file)
    about: dict[str, Any] = {"name": name, "scopes": list(scopes) or client.get("/me")["scopes"]}
    about |= {"user": user} if user else {}
    about |= {"lifetime_s": int(days * DAY_S)} if days else {}
    if out is not None and out.exists():
        raise click.UsageError(f"{out} is there already")
    made = client.make_token(about)
    if out is not None:
        publish.write_new_file(out.parent, out, f"{made.pop('token')}\n".encode())
        made["file"] = str(out)
    words = f"token {made['no']} of {made['user']}: {' '.join(made['scopes'])}"
    words += f"; until {made['expires'] or 'it is revoked'}\n"
    show_answer(made, as_json, words + str(made.get("token") or made["file"]))


@group.command("list")
@click.option("--user", help="Of this user; administrators only.")
@_central
def list_(user: str | None, central: str, token_file: Path, as_json: bool) -> None:
    """List your tokens; an administrator sees those of all."""
    listed = client_of(central, token_file).every("/tokens", "tokens", user=user)
    columns = ("no", "user", "name", "scopes", "expires", "holds")
    lines = [{name: _cell(row[name]) for name in columns} for row in listed]
    show_answer({"tokens": listed}, as_json, table(lines))


@group.command()
@click.argument("number", type=click.IntRange(1))
@_central
def revoke(number: int, central: str, token_file: Path, as_json: bool) -> None:
    """Make the token of that NUMBER worth nothing."""
    answer = client_of(central, token_file).revoke_token(number)
    show_answer(answer, as_json, f"token {number} of {answer['user']} is worth nothing now")


@group.command()
@_central
def whoami(central: str, token_file: Path, as_json: bool) -> None:
    """Say whose token it is, what it may do, and what is used of the limits."""
    answer = client_of(central, token_file).get("/me")
    used, limits = answer["used"], answer["limits"]
    words = f"{answer['name']}, {answer['role']}; groups: {', '.join(answer['groups']) or 'none'}\n"
    words += f"scopes: {' '.join(answer['scopes'])}; until {answer['expires'] or 'revoked'}\n"
    words += f"open tasks: {used['tasks_open']:,}{_of(limits['tasks_open'])}\n"
    hours = used["wall_ms"] / 3_600_000
    words += f"hours: {hours:,.1f}{_of(limits['hours'])}\n"
    words += f"bytes written: {used['written_bytes']:,}{_of(limits['written_bytes'])}"
    show_answer(answer, as_json, words)


def _of(limit: float) -> str:
    return f" of {limit:,}" if limit else ""


def _cell(value: Any) -> Any:
    return " ".join(value) if isinstance(value, list) else value
