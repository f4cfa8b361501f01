"""`pulk relay`: the site's side."""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

import click

from bundle.intervals import IntervalSet
from bundle.media.gaps import numbers

FOLDER = click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
EXIT_TRY_AGAIN = 75
AS_JSON = click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")


@click.group("relay")
@click.option("-v", "--verbose", is_flag=True, help="Say on stderr what is done.")
def group(verbose: bool) -> None:
    """The site's side: custody, spool, pilots on demand."""
    os.umask(0o077)
    level = logging.INFO if verbose else logging.WARNING
    logging.basicConfig(stream=sys.stderr, level=level, format="%(message)s")
    for handler in logging.getLogger().handlers:
        handler.setFormatter(_Words())


def command(arguments: list[str]) -> int:
    """Run `pulk relay` with these arguments; return the exit code."""
    try:
        code = group.main(arguments, prog_name="pulk relay", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort as error:
        raise KeyboardInterrupt from error
    return code if isinstance(code, int) else 0


@group.command()
@FOLDER
@click.option("--site", required=True, help="The site's name: lower case letters, digits, dashes.")
@click.option("--central", "url", default="", help="Central's address; without it, by stick.")
@click.option("--new-key", is_flag=True, help="Ask for a new key for the relay that is there.")
@AS_JSON
def init(folder: Path, site: str, url: str, new_key: bool, as_json: bool) -> None:
    """Make a relay in DIR and its enrolment request; shows the fingerprint to read out."""
    from relay import enrol

    made = enrol.init(folder, site, url, new_key=new_key)
    about = {"request": str(made.request), "fingerprint": made.fingerprint}
    _say(
        about,
        f"request:     {made.request}\nfingerprint: {made.fingerprint}\n"
        "Give the request to central's administrator and compare the fingerprint by phone.",
        as_json,
    )


@group.command()
@FOLDER
@click.argument("answer", type=click.Path(path_type=Path))
@click.option("--root", "root_words", required=True, help="The root's words, from the phone.")
@AS_JSON
def accept(folder: Path, answer: Path, root_words: str, as_json: bool) -> None:
    """Take central's ANSWER after comparing the root's fingerprint."""
    from relay import enrol

    site = enrol.accept(folder, answer, root_words)
    _say({"site": site, "enrolled": True}, f"enrolled as {site}", as_json)


@group.command()
@FOLDER
@click.option("--now", is_flag=True, help="Try to reach central though it failed of late.")
@AS_JSON
def tick(folder: Path, now: bool, as_json: bool) -> int:
    """Do everything once: collect, send, fetch, offer, start pilots; 75: central not reached."""
    from relay.home import open_home
    from relay.tick import tick as once

    done = once(open_home(folder), at_once=now).document()
    words = ", ".join(f"{name} {value}" for name, value in done.items() if value)
    _say(done, words or "nothing to do", as_json)
    return EXIT_TRY_AGAIN if done["trouble"] else 0


@group.command()
@FOLDER
@click.option("--interval", default=60.0, show_default=True, help="Seconds between two ticks.")
@click.option("--until-idle", is_flag=True, help="End when nothing is left to do.")
def run(folder: Path, interval: float, until_idle: bool) -> None:
    """Tick in a loop until SIGTERM."""
    from relay.home import open_home
    from relay.loop import run as loop

    loop(open_home(folder), max(0.01, interval), until_idle=until_idle)


@group.command()
@FOLDER
@AS_JSON
def status(folder: Path, as_json: bool) -> None:
    """Show what is here, what runs, what waits."""
    from relay.home import open_home
    from relay.status import status as look

    about = look(open_home(folder))
    _say(about, _status_words(about), as_json)


@group.command()
@FOLDER
@click.option("--off", is_flag=True, help="Work again.")
@AS_JSON
def drain(folder: Path, off: bool, as_json: bool) -> None:
    """Have pilots start nothing new, seal and end; ask for no more work until --off."""
    from relay.home import open_home

    word = open_home(folder).spool.drain
    if off:
        word.unlink(missing_ok=True)
    else:
        word.touch()
    words = "it works again" if off else "pilots start nothing new and end; --off: work again"
    _say({"draining": not off}, words, as_json)


@group.command()
@FOLDER
@AS_JSON
def salvage(folder: Path, as_json: bool) -> None:
    """Seal what dead pilots left and offer their shards again."""
    from relay import lock, returns, works
    from relay.home import make_spool, open_home
    from relay.salvage import salvage as save

    home = open_home(folder)
    make_spool(home.spool)
    with lock.held(home):
        views = returns.bring(home, home.adapter.survey())
        count = save(home, works.live(home.spool), views)
    _say({"salvaged": count}, f"{count} pilots salvaged", as_json)


@group.command("export")
@FOLDER
@click.argument("target", metavar="OUT", type=click.Path(path_type=Path))
@click.option("--size", "size_text", help="How much of OUT to use [default: what is free].")
@click.option("--part-size", help="Of a file, at most [default: what the oldest FAT takes].")
@click.option("--again", is_flag=True, help="Also what was sent before and has no receipt.")
@AS_JSON
def export_command(
    folder: Path,
    target: Path,
    size_text: str | None,
    part_size: str | None,
    again: bool,
    as_json: bool,
) -> int:
    """Fill the directory OUT with what is to be sent; read back before it counts as sent."""
    from bundle.cli.progress import progress
    from bundle.media import said
    from bundle.media.choose import PART_BYTES_MAX
    from relay.exchange import export_to
    from relay.home import open_home

    done = export_to(
        open_home(folder),
        target,
        again=again,
        size_bytes=_size(size_text),
        part_bytes=_size(part_size) or PART_BYTES_MAX,
        progress=progress,
    )
    about = {"bundles": done.bundles, "waiting": done.left} | said.filled_document(done.filled)
    _say(about, "\n".join(said.filled_words(done.filled, target)), as_json)
    return 0 if said.is_well(done.filled) else 1


@group.command("import")
@FOLDER
@click.argument("source", metavar="IN", type=click.Path(path_type=Path))
@AS_JSON
def import_command(folder: Path, source: Path, as_json: bool) -> int:
    """Take the work bundles in the directory IN, in parts or not, whatever they are called."""
    from bundle.cli.progress import progress
    from bundle.media import said
    from relay.exchange import import_from
    from relay.home import open_home

    done = import_from(open_home(folder), source, progress=progress)
    about: dict[str, Any] = {"bundles": done.bundles, "shards": done.shards}
    about |= {"refused": done.refused, "came": [said.came_document(one) for one in done.came]}
    words = [said.came_words(one) for one in done.came]
    words.append(f"{done.bundles} bundles taken, {done.shards} shards, {done.refused} refused")
    _say(about, "\n".join(words), as_json)
    return 1 if done.refused else 0


@group.command()
@FOLDER
@click.argument("epoch")
@AS_JSON
def heed(folder: Path, epoch: str, as_json: bool) -> None:
    """Decide that of centrals that contradict each other the one of EPOCH counts."""
    from relay import chains, lock
    from relay.home import make_spool, open_home

    home = open_home(folder)
    make_spool(home.spool)
    with lock.held(home):
        chosen = chains.words(chains.heed(home.spool, epoch))
    _say({"epoch": chosen}, f"epoch {chosen} counts; its rivals are refused", as_json)


@group.command()
@FOLDER
@click.option("--rebuild", is_flag=True, help="First make lost memory again from the spool.")
@AS_JSON
def doctor(folder: Path, rebuild: bool, as_json: bool) -> None:
    """Look at what may go wrong here."""
    from relay.doctor import examine
    from relay.home import make_spool, open_home

    home = open_home(folder)
    make_spool(home.spool)
    again = _rebuilt(home) if rebuild else {}
    findings = examine(home)
    rows = [{"name": f.name, "found": f.found, "remedy": f.remedy} for f in findings]
    words = "\n".join(
        f"{'!' if f.remedy else ' '} {f.name}: {f.found}{f'; {f.remedy}' if f.remedy else ''}"
        for f in findings
    )
    about = {"ok": not any(f.remedy for f in findings), "findings": rows} | again
    if again:
        words = f"made again: {', '.join(f'{k} {v}' for k, v in again.items())}\n{words}"
    _say(about, words, as_json)


def _rebuilt(home: Any) -> dict[str, Any]:
    from dataclasses import asdict

    from relay import lock
    from relay.rebuild import rebuild

    with lock.held(home):
        return asdict(rebuild(home))


@group.command("pass")
@FOLDER
@click.argument("key")
@click.argument("target", metavar="OUT", type=click.Path(path_type=Path))
@click.option("--days", default=90, show_default=True, type=click.IntRange(1, 400))
@AS_JSON
def pass_command(folder: Path, key: str, target: Path, days: int, as_json: bool) -> None:
    """Write to OUT what lets the courier of public key KEY carry for this site to central."""
    from relay.home import open_home
    from relay.passing import give

    given = give(open_home(folder), key, target, days)
    about = {"site": given.site, "key": given.key.hex(), "ends_us": given.ends_us}
    _say(about, f"{target}: for {days} days; give it to the courier of that key", as_json)


@group.command("hop-init")
@FOLDER
@click.option("--name", required=True, help="The hop's, in custody records.")
@AS_JSON
def hop_init(folder: Path, name: str, as_json: bool) -> None:
    """Make a hop in DIR: it carries between a site and central and holds no site's key."""
    from relay.hop.opening import make

    key = make(folder, name)
    words = f"key: {key}\nHave the site run `pulk relay pass DIR {key} OUT`; then edit hop.toml."
    _say({"key": key}, words, as_json)


@group.command()
@FOLDER
@click.option("--interval", default=0.0, help="Walk again after so many seconds [default: once].")
@AS_JSON
def hop(folder: Path, interval: float, as_json: bool) -> int:
    """Carry once between the two ends of the hop in DIR, or on and on; 75: one was not reached."""
    from relay.hop.loop import run

    return run(folder, interval, lambda about, words: _say(about, words, as_json))


@group.command("pilot-folder")
@FOLDER
@AS_JSON
def pilot_folder_command(folder: Path, as_json: bool) -> None:
    """Make DIR, a pilot and all that it needs, for nodes that have only Python."""
    from relay.pilot_folder import make

    made = make(folder)
    about = {"folder": str(folder), "files": made.files, "bytes": made.size_bytes}
    about |= {"modules": made.modules, "suffix": made.suffix}
    words = f"{folder}: {made.files} files, {made.size_bytes} bytes, for Pythons with {made.suffix}"
    _say(about, f"{words}\nstart it by `python3 -I {folder} run`", as_json)


class _Words(logging.Formatter):
    """One line: the fixed words, then the facts."""

    def format(self, record: logging.LogRecord) -> str:
        facts = {k: v for k, v in vars(record).items() if k not in _PLAIN and k != "message"}
        line = " ".join([record.getMessage(), *(f"{k}={v}" for k, v in facts.items())])
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


_PLAIN = frozenset(vars(logging.makeLogRecord({})))


def _status_words(about: dict[str, Any]) -> str:
    from relay import status_words

    lines = [f"site {about['site']}, stream {about['stream'][:8]}"]
    heard = about["central"]["heard_s"]
    lines.append(
        "nothing has come from central yet" if heard is None else f"central heard {heard} s ago"
    )
    lines += [f"! {one}" for one in about["alarms"]]
    if about["central"]["forked"]:
        lines.append(f"! epochs that came: {', '.join(about['central']['forked'])}")
    lines += [
        f"work {w['id'][:12]}: {w['complete']} of {w['shards']} shards complete, "
        f"{w['open_tasks']} of {w['tasks']} tasks open, {w['age_s']} s old"
        for w in about["work"]
    ]
    lines.append(
        f"shards on offer {about['shards']['claimable']}, seals waiting {about['shards']['sealed']}"
    )
    lines += [
        f"pilot {c['pilot_run']}: {c['state']}, {len(c['shards'])} shards, {c['age_s']} s"
        for c in about["claims"]
    ]
    lines += status_words.radio(about)
    lines += [
        f"pilot {p['batch_id']}: {', '.join(one for one in (p['state'], p['reason']) if one)}, "
        f"{p['age_s']} s"
        for p in about["pilots"]
        if p["state"] in ("held", "unknown", "waiting")
    ]
    lines += [
        f"{place}: {sum(b['kinds'].values())} bundles"
        for place, b in about["bundles"].items()
        if b["kinds"]
    ]
    lines += [
        f"of central's stream {number[:8]} {numbers(IntervalSet.from_wire(runs))} have not arrived"
        for number, runs in about["central"]["gaps"].items()
        if runs
    ]
    lines.append(
        f"free: {about['free_bytes']} bytes, {about['free_inodes'] or 'any number of'} inodes"
    )
    lines += status_words.edits(about)
    if about["ticked_s"] is not None:
        lines.append(f"last tick {about['ticked_s']} s ago")
    if about["parts"]:
        lines.append(f"{about['parts']} bundles wait in parts for the rest")
    lines += [f"quarantine: {q['file']}: {q['reason']}" for q in about["quarantine"]]
    return "\n".join(lines)


def _size(text: str | None) -> int | None:
    from bundle.media import size

    try:
        return None if text is None else size.parse(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def _say(about: dict[str, Any], words: str, as_json: bool) -> None:
    click.echo(json.dumps(about) if as_json else words)
