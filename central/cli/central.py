"""`pulk central`: the authority."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from bundle.age import age
from central.cli import backups, user
from central.cli.reaching import config_of, enroller, opened

FOLDER = click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
AS_JSON = click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
EXIT_NOT_WELL = 1
NOTHING_TO_PACK = (
    "there is nothing to do for it: all is done, leased already, or not co-signed as it demands"
)
NOTHING_TO_SEND = (
    "nothing came and nothing is to be sent; a site is given work when its first report has come"
)


@click.group("central")
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="PULK_CONFIG",
    help="Instead of DIR/central.toml [env: PULK_CONFIG].",
)
@click.pass_context
def group(context: click.Context, config: Path | None) -> None:
    """The authority: plans, signs work, merges results."""
    os.umask(0o077)
    context.obj = config


@group.command()
@FOLDER
@click.option("--copies", type=click.IntRange(1, 16), default=1, show_default=True)
@click.option(
    "--root-dir", type=click.Path(path_type=Path), help="For the root key [default: DIR-root]."
)
@AS_JSON
def init(folder: Path, copies: int, root_dir: Path | None, as_json: bool) -> None:
    """Make a new central in DIR: keys, trust file, first token, central.toml."""
    from central.home import Home, create

    made = create(Home(folder.absolute()), root_dir, copies)
    about = {
        "dir": str(made.home.root),
        "root_dir": str(made.root_dir),
        "root_fingerprint": made.root_fingerprint,
        "token_file": str(made.home.token),
    }
    words = (
        f"central:          {about['dir']}\nroot keys:        {about['root_dir']}  (each to a "
        f"stick of its own; lock them away)\nroot fingerprint: {made.root_fingerprint}  (read it "
        f"out to each site's operator)\ntoken:            {about['token_file']}"
    )
    _say(about, words, as_json)


@group.command()
@FOLDER
@click.option("--host", help="Where to listen [default: central.toml, else 127.0.0.1].")
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    help="On which port [default: central.toml, else 7855]; 0: any free one.",
)
@click.pass_obj
def serve(config_file: Path | None, folder: Path, host: str | None, port: int | None) -> None:
    """Serve DIR until SIGTERM; DIR/address names the URL while it listens."""
    from central.home import open_home
    from central.http import logs
    from central.http.serve import serve as run

    home = open_home(folder)
    config = config_of(home, config_file)
    given = {"host": host, "port": port}
    http = config.http.model_copy(update={k: v for k, v in given.items() if v is not None})
    logs.to_stderr()
    run(home, config.model_copy(update={"http": http}))


@group.command()
@FOLDER
@click.argument("request", type=click.Path(path_type=Path))
@click.option("--fingerprint", required=True, help="The site's words, from the phone.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The answer file.")
@AS_JSON
@click.pass_obj
def enrol(
    config_file: Path | None,
    folder: Path,
    request: Path,
    fingerprint: str,
    out: Path,
    as_json: bool,
) -> None:
    """Certify a site's REQUEST after comparing its fingerprint; writes the answer to carry back."""
    from bundle.limits import SMALL_LIMITS
    from bundle.spool import publish
    from central.stick import MediumFailed

    try:
        with request.open("rb") as file:
            raw = file.read(SMALL_LIMITS.bytes_max + 1)
    except OSError as error:
        raise MediumFailed(
            where=str(request), action="reading", reason=error.strerror or str(error)
        ) from error
    with enroller(folder, config_file, "enrol") as central:
        answer = central.enrol(raw, fingerprint)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        publish.write_file(out.parent, out, answer)
    except OSError as error:
        raise MediumFailed(
            where=str(out), action="writing", reason=error.strerror or str(error)
        ) from error
    _say({"answer": str(out)}, f"answer: {out}\nCarry it back to the site.", as_json)


@group.command()
@FOLDER
@click.option("--site", required=True, help="For which site.")
@click.option("--tasks", required=True, type=click.IntRange(1), help="How many tasks, at most.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="A directory.")
@AS_JSON
@click.pass_obj
def pack(
    config_file: Path | None, folder: Path, site: str, tasks: int, out: Path, as_json: bool
) -> None:
    """Pack new work for a site that cannot ask by itself; writes <id>.pulk."""
    from bundle.ids import parse_site
    from central import stick

    name = parse_site(site)
    with opened(folder, config_file, "pack") as (_, authority):
        made = authority.pack(name, tasks)
        if made is None:
            _say({"bundle": None}, NOTHING_TO_PACK, as_json)
            return
        path = stick.lay(authority.outgoing(name, made.id), out, made.id)
    about = {"bundle": made.id, "bytes": made.size_bytes, "sequence": made.sequence}
    _say(about | {"file": str(path)}, f"{path}: {made.size_bytes} bytes", as_json)


@group.command()
@FOLDER
@click.argument("source", metavar="IN", type=click.Path(path_type=Path))
@click.argument("target", metavar="OUT", type=click.Path(path_type=Path))
@click.option("--size", "size_text", help="How much of OUT to use [default: what is free].")
@click.option("--part-size", help="Of a file, at most [default: what the oldest FAT takes].")
@click.option("--site", "only", help="Fill OUT for this site alone.")
@click.option("--remove", is_flag=True, help="Remove from IN what is central's now.")
@AS_JSON
@click.pass_obj
def exchange(
    config_file: Path | None,
    folder: Path,
    source: Path,
    target: Path,
    size_text: str | None,
    part_size: str | None,
    only: str | None,
    remove: bool,
    as_json: bool,
) -> int:
    """Take every bundle below IN, then fill OUT with what the sites are to have."""
    from bundle.cli.progress import progress
    from bundle.ids import SiteName, parse_site
    from bundle.media import said
    from bundle.media.choose import PART_BYTES_MAX
    from central import stick

    size_bytes, part_bytes = _size(size_text), _size(part_size) or PART_BYTES_MAX
    with opened(folder, config_file, "exchange") as (home, authority):
        came = stick.absorb_all(authority, home, source, remove=remove, progress=progress)
        sites = [SiteName(str(row["site"])) for row in authority.sites()]
        sites = [parse_site(only)] if only else sites
        left, filled = stick.leave_outboxes(
            authority,
            home,
            sites,
            target,
            size_bytes=size_bytes,
            part_bytes=part_bytes,
            progress=progress,
        )
    about: dict[str, Any] = {
        "came": [asdict(one) for one in came],
        "left": [asdict(one) for one in left],
    }
    words = [f"{c.file}: {c.outcome} {c.text or c.code}".rstrip() for c in came]
    words += [f"for {one.site}: {one.bundle}, {one.size_bytes} bytes" for one in left]
    words += said.filled_words(filled, target) if left else []
    about |= {"medium": said.filled_document(filled)}
    _say(about, "\n".join(words) or NOTHING_TO_SEND, as_json)
    return 0 if stick.is_taken(came) and said.is_well(filled) else EXIT_NOT_WELL


@group.command()
@FOLDER
@AS_JSON
def fsck(folder: Path, as_json: bool) -> None:
    """Compare database and archive; exit code 1 where something is wrong."""
    from central import lock
    from central.fsck import fsck as check
    from central.home import Home, NoCentral

    home = Home(folder.absolute())
    if not home.root.is_dir():
        raise NoCentral(where=str(folder), missing="the folder")
    with lock.held(home, "fsck"):
        found = check(home)
    words = [f"problem: {problem}" for problem in found["problems"]]
    words += [f"{found['datasets']} datasets, {found['attempts']} attempts"]
    words += ["sound" if found["ok"] else "NOT SOUND", f"state hash {found['state_hash']}"]
    _say(found, "\n".join(words), as_json)
    if not found["ok"]:
        sys.exit(EXIT_NOT_WELL)


@group.command()
@FOLDER
@click.option("--archive", required=True, type=click.Path(path_type=Path))
@click.option("--trust", required=True, type=click.Path(path_type=Path))
@click.option("--shuffle", type=int, metavar="SEED", help="Merge in a random order.")
@click.option("--repeat", type=click.IntRange(1), default=1, show_default=True)
@AS_JSON
def rebuild(
    folder: Path, archive: Path, trust: Path, shuffle: int | None, repeat: int, as_json: bool
) -> None:
    """Make a fresh DIR from an archive and a trust file; nothing else is needed."""
    from central.home import Home
    from central.rebuild import rebuild as make

    made = make(Home(folder.absolute()), archive, trust, shuffle=shuffle, repeat=repeat)
    _say(made, "\n".join(_lines(made)), as_json)


group.add_command(user.group)
for one in (backups.backup, backups.restore, backups.take_over, backups.presume_lost):
    group.add_command(one)


@group.group()
def site() -> None:
    """The sites that central knows."""


@site.command("list")
@FOLDER
@AS_JSON
@click.pass_obj
def site_list(config_file: Path | None, folder: Path, as_json: bool) -> None:
    """List the sites of DIR, and by number which of their bundles have not arrived."""
    from bundle.intervals import IntervalSet
    from bundle.media.gaps import numbers

    with enroller(folder, config_file, "site list") as central:
        rows = central.sites()
    lines = [
        "  ".join(_site_words(row))
        + "".join(
            f"\n  of stream {stream[:8]} {numbers(IntervalSet.from_wire(runs))} have not arrived"
            for stream, runs in row["gaps"].items()
            if runs
        )
        for row in rows
    ]
    _say({"sites": rows}, "\n".join(lines) or "none", as_json)


@group.command()
@FOLDER
@AS_JSON
@click.pass_obj
def doctor(config_file: Path | None, folder: Path, as_json: bool) -> None:
    """Look at what may go wrong here."""
    from central.doctor import examine
    from central.home import open_home

    home = open_home(folder)
    findings = examine(home, config_of(home, config_file))
    words = "\n".join(
        f"{'!' if f.remedy else ' '} {f.name}: {f.found}{f'; {f.remedy}' if f.remedy else ''}"
        for f in findings
    )
    about = {"ok": not any(f.remedy for f in findings), "findings": [asdict(f) for f in findings]}
    _say(about, words, as_json)


def _site_words(row: dict[str, Any]) -> Iterator[str]:
    """Yield what is known of a site; digests and times only as far as a person reads them."""
    report = row["report"]
    yield f"site {row['site']}"
    yield f"key {row['key'][:16]}" if row["key"] else "not enrolled"
    yield f"{row['tasks_leased']} tasks leased"
    heard_s = row["heard_s"]
    yield "never heard" if heard_s is None else f"heard {age(heard_s)} ago"
    if row["silent"]:
        yield "! SILENT: ask its operator, cron may be off or a courier late"
    if report is None:
        yield "never reported, so it is given no work (`pulk central pack` makes some)"
        return
    at = datetime.fromtimestamp(report["at_us"] / 1_000_000, UTC)
    yield f"reported {at:%Y-%m-%d %H:%M} UTC by its clock"
    yield f"wants {report['tasks_wanted']} tasks"
    yield f"{report['slots']} slots, {report['pilots_running']} pilots running"
    yield f"trust version {report['trust_version']}"
    demand = dict(report["profile"]).get("cosignatures")
    if demand:
        yield f"demands {demand.split()[0]} co-signatures"
    if report["refused"]:
        codes = Counter(code for _, code in report["refused"])
        why = ", ".join(f"{code} {count}" for code, count in sorted(codes.items()))
        yield f"refused {len(report['refused'])} bundles ({why})"


def _lines(about: dict[str, Any]) -> Iterator[str]:
    """Yield plain facts as they are, counts in words, and nothing of long lists."""
    for name, value in about.items():
        if (
            value
            and isinstance(value, dict)
            and all(isinstance(one, int) for one in value.values())
        ):
            yield f"{name}: {', '.join(f'{key} {count}' for key, count in value.items())}"
        elif isinstance(value, list):
            yield from (f"{name}: {one}" for one in value)
        elif not isinstance(value, dict):
            yield f"{name}: {value}"


def _size(text: str | None) -> int | None:
    from bundle.media import size

    try:
        return None if text is None else size.parse(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def _say(about: dict[str, Any], words: str, as_json: bool) -> None:
    click.echo(json.dumps(about) if as_json else words)
