"""`pulk central backup`, `restore`, `take-over`, `presume-lost`."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import click

from central.cli.reaching import config_of, enroller

FOLDER = click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
AS_JSON = click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")


@click.command()
@FOLDER
@click.argument("target", metavar="TO", type=click.Path(path_type=Path))
@click.option("--with-keys", is_flag=True, help="Private keys and the token too: guard TO well.")
@click.option("--keep", type=click.IntRange(0), default=0, help="Backups to keep [default: all].")
@AS_JSON
@click.pass_obj
def backup(
    config_file: Path | None, folder: Path, target: Path, with_keys: bool, keep: int, as_json: bool
) -> None:
    """Write one more backup of DIR below TO, on another disk; the server may run."""
    from central.archive import open_archive
    from central.backup import backup as make
    from central.home import open_home

    home = open_home(folder)
    archive = open_archive(home, config_of(home, config_file))
    with enroller(folder, config_file, "backup") as central:
        made = make(home, archive, central, target, with_keys=with_keys, keep=keep, at=time.time())
    about = {
        "backup": str(made.folder),
        "bundles": made.record.bundles,
        "copied": made.copied,
        "bytes": made.record.bundle_bytes,
        "covered": made.covered,
        "apart": made.apart,
        "removed": made.removed,
        "with_keys": with_keys,
    }
    words = [f"backup:  {made.folder}"]
    words.append(f"bundles: {made.record.bundles}, of which {made.copied} were copied now")
    if made.apart:
        words.append(f"safe by it now: {made.covered}")
    else:
        words.append("it lies on the same device as the archive: it makes nothing safe")
    if not with_keys:
        words.append("without private keys and token: keep copies of them elsewhere")
    _say(about, "\n".join(words), as_json)


@click.command()
@click.argument("source", metavar="FROM", type=click.Path(path_type=Path))
@FOLDER
@click.option(
    "--archive",
    "archives",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="An archive that survived, or a mirror; what it has more is merged. Repeatable.",
)
@AS_JSON
def restore(source: Path, folder: Path, archives: tuple[Path, ...], as_json: bool) -> None:
    """Make DIR out of the newest backup in FROM, or of one of them, in a new epoch."""
    from central.home import Home
    from central.restore import restore as make

    made = make(source, Home(folder.absolute()), archives=archives)
    at = time.strftime("%Y-%m-%d %H:%M", time.gmtime(made.record.made_us / 1_000_000))
    words = [
        f"central: {made.folder}, as of {at} UTC, in epoch {made.epoch}",
        f"bundles: {made.bundles}, of which {made.learned} came after the database's copy",
        f"waits for: {', '.join(made.waiting) or 'no site'}",
    ]
    if made.missing_keys:
        words.append(f"put back before it can serve: {', '.join(made.missing_keys)}")
    _say(made.document(), "\n".join(words), as_json)


@click.command("take-over")
@FOLDER
@AS_JSON
@click.pass_obj
def take_over(config_file: Path | None, folder: Path, as_json: bool) -> None:
    """Begin a new epoch: this central counts, though it was set back or another one ran."""
    from central import lock
    from central.home import open_home
    from central.restore import take_over as begin

    home = open_home(folder)
    config_of(home, config_file)
    with lock.held(home, "take-over"):
        epoch = begin(home)
    _say({"epoch": epoch}, f"epoch {epoch}: start the server; sites resync by themselves", as_json)


@click.command("presume-lost")
@FOLDER
@click.argument("site")
@AS_JSON
@click.pass_obj
def presume_lost(config_file: Path | None, folder: Path, site: str, as_json: bool) -> None:
    """Take SITE as lost with all it holds: its tasks are leased again, nobody waits for it."""
    from bundle.ids import parse_site

    name = parse_site(site)
    with enroller(folder, config_file, "presume-lost") as central:
        ended = central.presume_lost(name)
    _say({"leases": ended}, f"{ended} leases ended; what it brings later counts", as_json)


def _say(about: dict[str, Any], words: str, as_json: bool) -> None:
    click.echo(json.dumps(about) if as_json else words)
