"""`pulk central user`: whose keys may sign submission bundles."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from central.cli.reaching import enroller

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
    words = "\n".join(f"{row['name']}  {row['key']}  since {row['added']}" for row in rows)
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


def _say(about: dict[str, Any], words: str, as_json: bool) -> None:
    click.echo(json.dumps(about) if as_json else words)
