"""`pulk central user`: whose keys may sign submission bundles."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from central.cli.reaching import enroller

ROLES = ("admin", "production", "user", "site", "read-only")
FOLDER = click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
AS_JSON = click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")


@click.group("user")
def group() -> None:
    """The users whose submission bundles central takes."""


@group.command()
@FOLDER
@click.argument("name")
@click.argument("public_key", metavar="PUBLIC_KEY_OR_FILE")
@click.option("--fingerprint", default="", help="The key's words, from the phone: compared first.")
@AS_JSON
@click.pass_obj
def add(
    config_file: Path | None,
    *,
    folder: Path,
    name: str,
    public_key: str,
    fingerprint: str,
    as_json: bool,
) -> None:
    """Let a key sign submissions as NAME; takes what is parked for it. The server may run."""
    from bundle.trust import fingerprint as fingerprints
    from bundle.trust import public_key as public_keys

    key = public_keys.read(public_key)
    shown = fingerprints.of_key(key)
    if fingerprint:
        fingerprints.require(fingerprint, shown, where=name)
    with enroller(folder, config_file, "user add") as central:
        merged = central.add_user(name, key)
    words = f"{name}: {key.hex()}\nfingerprint: {shown}"
    if merged:
        words += f"\nbundles merged that had waited for a key: {merged}"
    about = {"name": name, "key": key.hex(), "fingerprint": shown, "merged": merged}
    _say(about, words, as_json)


@group.command("list")
@FOLDER
@AS_JSON
@click.pass_obj
def list_(config_file: Path | None, folder: Path, as_json: bool) -> None:
    """List the users of DIR with their keys."""
    with enroller(folder, config_file, "user list") as central:
        rows = central.users()
    words = "\n".join(_line(row) for row in rows)
    _say({"users": rows}, words or "none", as_json)


@group.command()
@FOLDER
@click.argument("name")
@AS_JSON
@click.pass_obj
def remove(config_file: Path | None, folder: Path, name: str, as_json: bool) -> None:
    """Take nothing more that NAME signs; what was merged stays. The server may run."""
    with enroller(folder, config_file, "user remove") as central:
        central.remove_user(name)
    _say({"removed": name}, f"removed: {name}", as_json)


@group.command("set")
@FOLDER
@click.argument("name")
@click.option("--role", type=click.Choice(ROLES), help="What the user is [default: user].")
@click.option("--group", "groups", multiple=True, help="All groups of the user; repeatable.")
@click.option("--no-groups", is_flag=True, help="The user is in no group.")
@click.option("--site", help="Of role site: which one.")
@click.option("--tasks-open", type=click.IntRange(0), help="Tasks that did not end; 0: any.")
@click.option("--hours", type=click.FloatRange(0), help="Wall hours of attempts; 0: any.")
@click.option("--written-bytes", type=click.IntRange(0), help="What attempts wrote; 0: any.")
@click.option("--requests-per-minute", type=click.IntRange(0), help="0: any.")
@AS_JSON
@click.pass_obj
def set_(
    config_file: Path | None,
    /,
    *,
    folder: Path,
    name: str,
    role: str | None,
    groups: tuple[str, ...],
    no_groups: bool,
    site: str | None,
    as_json: bool,
    **limits: Any,
) -> None:
    """Add NAME, or change role, groups, site or limits. The server may run."""
    about: dict[str, Any] = {"role": role, "site": site}
    about["groups"] = list(groups) if groups or no_groups else None
    given = {key: value for key, value in limits.items() if value is not None}
    with enroller(folder, config_file, "user set") as central:
        if given:
            known = next((one for one in central.users() if one["name"] == name), None)
            about["limits"] = (known["limits"] if known else {}) | given
        about = {key: value for key, value in about.items() if value is not None}
        made = central.save_user_as(name, about)
    _say(made, _line(made), as_json)


def _line(row: dict[str, Any]) -> str:
    groups = ", ".join(row["groups"]) or "none"
    return f"{row['name']}  {row['role']}  groups: {groups}  key: {row.get('key') or 'none'}"


def _say(about: dict[str, Any], words: str, as_json: bool) -> None:
    click.echo(json.dumps(about) if as_json else words)
