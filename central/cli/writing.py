"""`pulk dataset check | schema | template | submit`: what comes before a dataset is there."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from central.cli.asking import asking, client_of, find_others, full_id, show_answer

if TYPE_CHECKING:
    from bundle.dataset.spec import Dataset
    from central.document import Find, Other
    from central.submission import Given


@click.command()
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--sites", is_flag=True, help="Ask central at which sites it fits.")
@asking(required=False)
def check(
    *, file: Path, sites: bool, central: str | None, token_file: Path | None, as_json: bool
) -> None:
    """Check a dataset document (`-` for stdin) without sending it, and tell what would run."""
    from bundle.dataset import spec
    from central.cli import foretold

    dataset = document_of(file, _find(central, token_file))
    digest = spec.dataset_digest(spec.encode(dataset)).hex()
    made = {"ok": True, "digest": digest} | foretold.about(dataset)
    if sites:
        if central is None or token_file is None:
            raise click.UsageError("--sites goes with --central and --token-file")
        made["sites"] = foretold.fits(dataset, client_of(central, token_file).sites())
    show_answer(made, as_json, "" if as_json else foretold.words(made))


@click.command()
def schema() -> None:
    """Print the JSON Schema of dataset documents, by which editors complete and check them."""
    from central.document import schema as made

    click.echo(made.as_text(), nl=False)


@click.command()
@click.argument("name", required=False)
def template(name: str | None) -> None:
    """Print a document to start from; without a name, which there are."""
    from central.document import template as templates

    if name is None:
        for one, words in templates.ABOUT.items():
            click.echo(f"{one:8} {words}")
    else:
        click.echo(templates.template(name), nl=False)


@click.command()
@click.argument("file", required=False, type=click.Path(path_type=Path, allow_dash=True))
@click.option("--like", help="Submit the document of this dataset again, instead of a file.")
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a value first, such as jobs=10 or steps.make.request.cpu=2; repeatable.",
)
@click.option(
    "--cosignature",
    "cosignatures",
    multiple=True,
    type=click.Path(path_type=Path),
    help="What `pulk dataset cosign` wrote; may be given several times.",
)
@click.option(
    "--bundle",
    type=click.Path(path_type=Path),
    help="Write a submission bundle, named *.pulk, for a courier, instead of asking central.",
)
@click.option("--key", type=click.Path(path_type=Path), help="With --bundle: your user key.")
@click.option("--suspended", is_flag=True, help="Hand out nothing of it before it is resumed.")
@click.option("--open", "is_open", is_flag=True, help="More jobs may come: see `close`.")
@asking(required=False)
def submit(
    *,
    file: Path | None,
    like: str | None,
    changes: tuple[str, ...],
    cosignatures: tuple[Path, ...],
    bundle: Path | None,
    key: Path | None,
    suspended: bool,
    is_open: bool,
    central: str | None,
    token_file: Path | None,
    as_json: bool,
) -> None:
    """Submit a dataset document (`-` for stdin); a call that was cut off may be repeated."""
    from bundle.dataset import spec
    from central.cli import signing

    if (file is None) == (like is None):
        raise click.UsageError("give a FILE, or --like DATASET")
    find = None if bundle is not None else _find(central, token_file)
    dataset = _given(file, like, changes, central, token_file, find)
    dataset = replace(dataset, open=True) if is_open else dataset
    given = signing.given(spec.encode(dataset), cosignatures)
    if bundle is not None:
        if key is None or bundle.suffix != ".pulk":
            raise click.UsageError("--bundle FILE.pulk goes with --key USER.key")
        if suspended:
            raise click.UsageError("--suspended is a word to central: it does not go with --bundle")
        about = signing.write_bundle(given, bundle, key) | {"tasks": dataset.tasks()}
        show_answer(about, as_json, f"{bundle}: {about['bytes']} bytes; carry it to central")
    elif central is None or token_file is None or key is not None:
        words = "--central and --token-file (or PULK_CENTRAL and PULK_TOKEN_FILE)"
        raise click.UsageError(f"give {words}, or --bundle and --key")
    else:
        _submit(given, central, token_file, suspended=suspended, as_json=as_json)


def document_of(file: Path, find: Find | None = None) -> Dataset:
    """Read a document's file, or stdin where it is `-`; `find` asks for other datasets.

    Raises DatasetRefused.
    """
    from central import document

    if str(file) == "-":
        return document.parse_text(sys.stdin.read(), None, "stdin", find)
    return document.load(file, find)


def _find(central: str | None, token_file: Path | None) -> Find | None:
    """Return what asks for other datasets, where it was said which central knows them."""
    if central is None or token_file is None:
        return None

    def find(given: str) -> Sequence[Other]:
        return find_others(client_of(central, token_file))(given)

    return find


def _given(
    file: Path | None,
    like: str | None,
    changes: tuple[str, ...],
    central: str | None,
    token_file: Path | None,
    find: Find | None,
) -> Dataset:
    """Return what is to be submitted: a file's document or a dataset's, changed as asked."""
    from central import document
    from central.document import change

    if file is not None:
        if not changes:
            return document_of(file, find)
        is_stdin = str(file) == "-"
        text = sys.stdin.read() if is_stdin else document.read_text(file)
        where = "stdin" if is_stdin else str(file)
        values, lines = document.values(text, where)
        base = None if is_stdin else file.parent
        return document.parse(change.changed(values, [*changes]), base, where, lines, find)
    if central is None or token_file is None:
        raise click.UsageError("--like goes with --central and --token-file")
    client = client_of(central, token_file)
    full = full_id(client, str(like))
    values = client.get(f"/datasets/{full}/document")
    return document.parse(change.changed(values, [*changes]), None, f"like {full}", None, find)


def _submit(
    given: Given, central: str, token_file: Path, *, suspended: bool, as_json: bool
) -> None:
    from central.cli.sent import Sent

    client = client_of(central, token_file)
    digest = hashlib.sha256(given.raw + given.cosignature).hexdigest()
    sent, request = Sent.in_home(), f"{central} submit{' suspended' * suspended} {digest}"
    key = sent.key_for(request)
    answer = client.submit(given.raw, key, given.cosignature, suspended=suspended)
    sent.answered(request)
    show_answer(answer, as_json, f"{answer['id']}: {answer['tasks']} tasks")
