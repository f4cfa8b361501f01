"""`pulk doctor`: what is installed here, what is configured and from where, what is wrong."""

from __future__ import annotations

import importlib.util
import os
import platform
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import click

from bundle.client import Client
from bundle.errors import PulkError
from central.cli import settings
from central.cli.asking import client_of, show_answer
from central.cli.sent import Sent
from central.doctor import Finding, pulk_version

PACKAGES = ("bundle", "central", "pilot", "relay", "site_adapters")
EXTRAS = {
    "postgresql": ("psycopg", "the database on a server"),
    "sqlite": ("pysqlite3", "a newer SQLite than Python's"),
    "s3": ("s3fs", "an archive in S3"),
    "htcondor": ("htcondor2", "pilots as jobs of an HTCondor pool"),
    "psij": ("psij", "pilots by way of PBS, LSF and others"),
}
DISTRIBUTION = "pulk"
EXIT_NOT_WELL = 1


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def command(as_json: bool) -> int:
    """Show what is installed and configured here, and from where; exit code 1 if it is wrong."""
    findings = [*_installed(), *_configured()]
    wrong = [one for one in findings if one.remedy]
    rows = [
        {"name": one.name, "found": one.found} | ({"remedy": one.remedy} if one.remedy else {})
        for one in findings
    ]
    width = max(len(one.name) for one in findings)
    lines = []
    for one in findings:
        lines.append(f"{'!' if one.remedy else ' '} {one.name:{width}}  {one.found}")
        if one.remedy:
            lines.append(f"  {'':{width}}  {one.remedy}")
    lines.append("nothing is wrong" if not wrong else f"{len(wrong)} things are wrong")
    lines.append("of a central or relay: `pulk central doctor DIR`, `pulk relay doctor DIR`")
    show_answer({"ok": not wrong, "findings": rows}, as_json, "\n".join(lines))
    return EXIT_NOT_WELL if wrong else 0


def _installed() -> Iterator[Finding]:
    yield Finding("pulk", pulk_version())
    yield Finding("python", f"{platform.python_version()}, {sys.executable}")
    roots = {}
    for name in PACKAGES:
        spec = importlib.util.find_spec(name)
        places = list(spec.submodule_search_locations or ()) if spec else []
        roots[name] = str(Path(places[0]).parent) if places else ""
    own = roots["bundle"]
    strange = {name: at for name, at in roots.items() if at != own}
    remedy = "another distribution has packages of these names: install Pulk where it is alone"
    if strange:
        said = ", ".join(f"{name} in {at or 'no folder'}" for name, at in strange.items())
        yield Finding("packages", f"{own}, but {said}", remedy)
    else:
        yield Finding("packages", own)
    known = packages_distributions()
    others = {
        f"{name} by {one}"
        for name in PACKAGES
        for one in known.get(name, ())
        if one.lower() != DISTRIBUTION
    }
    if others:
        yield Finding("installed too", ", ".join(sorted(others)), remedy)
    for extra, (module, what) in EXTRAS.items():
        is_there = importlib.util.find_spec(module) is not None
        yield Finding(f"extra {extra}", f"{'installed' if is_there else 'not installed'}: {what}")


def _configured() -> Iterator[Finding]:
    path = settings.folder() / settings.NAME
    try:
        settings.load()
    except PulkError as error:
        yield Finding("settings", error.text(), error.remedy)
        return
    yield Finding("settings", f"{path}{'' if path.exists() else ': not there'}")
    if variables := sorted(name for name in os.environ if name.startswith("PULK_")):
        yield Finding("variables", " ".join(variables))
    try:
        Sent.in_home().key_for("doctor")
        Sent.in_home().answered("doctor")
        yield Finding("journal of requests", "can be written")
    except PulkError as error:
        yield Finding("journal of requests", error.text(), error.remedy)
    yield from _central()


def _central() -> Iterator[Finding]:
    central, whence = settings.source("central")
    token, from_where = settings.source("token_file")
    if not central:
        hint = f"set PULK_CENTRAL, or `central` in {settings.folder() / settings.NAME}"
        yield Finding("central", "not set: give --central with each command", hint)
    else:
        yield Finding("central", f"{central}, from {whence}")
    if not token:
        yield Finding("token", "not set", "set PULK_TOKEN_FILE; `pulk login` makes a token")
        return
    yield _token(Path(token), from_where)
    if central:
        try:
            yield _answers(client_of(central, Path(token)))
        except PulkError as error:
            yield Finding("central answers", error.text(), error.remedy or "see docs/errors.md")


def _token(path: Path, whence: str) -> Finding:
    try:
        mode = path.stat().st_mode & 0o777
    except OSError as error:
        said = f"{path}, from {whence}: {error.strerror or error}"
        return Finding("token", said, "name the file that you were given, or `pulk login`")
    remedy = f"others can read it: chmod 600 {path}" if mode & 0o077 else ""
    return Finding("token", f"{path} ({mode:03o}), from {whence}", remedy)


def _answers(client: Client) -> Finding:
    me = client.get("/me")
    until = f", until {me['expires']}" if me["expires"] else ""
    said = f"you are {me['name']}, {me['role']}; scopes {' '.join(me['scopes'])}{until}"
    return Finding("central answers", said)
