"""`pulk watch`: datasets and sites as they change; a table on a terminal, lines otherwise."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from bundle.client import Client, NoAnswer, Overloaded, Refused
from central.cli import shown_watch
from central.cli.asking import asking, client_of, full_id, show_answer

SITES_EVERY_S = 10.0
AGAIN_S, AGAIN_S_MAX = 1.0, 30.0  # between tries to reach central once it was reached
EXIT_FAILED = 1
Row = dict[str, Any]
_Shower = tuple[Callable[[Row | None], None], Callable[[], None]]


@click.command()
@click.argument("dataset_id", required=False)
@click.option("--once", is_flag=True, help="Show how it is now, and end.")
@click.option(
    "--until-done",
    is_flag=True,
    help="End when nothing of DATASET_ID can run any more; exit code 1 where a task failed.",
)
@click.option(
    "--ndjson", "as_lines", is_flag=True, help="Each change as a JSON document in a line."
)
@asking(required=True)
def command(
    *,
    dataset_id: str | None,
    once: bool,
    until_done: bool,
    as_lines: bool,
    central: str,
    token_file: Path,
    as_json: bool,
) -> int:
    """Show datasets and sites as they change.

    With --json it is one document: how all is now, or, with --until-done, at the end; changes are
    lines on stderr then.
    """
    client = client_of(central, token_file)
    only = None if dataset_id is None else full_id(client, dataset_id)
    if until_done and only is None:
        raise click.UsageError("--until-done needs a DATASET_ID")
    if as_lines and (as_json or once):
        raise click.UsageError("--ndjson goes neither with --json nor with --once")
    seen = _Seen(client, only)
    if once or (as_json and not until_done):
        seen.look()
        show_answer(seen.all(), as_json, "" if as_json else shown_watch.all_of(seen.all()))
        return 0
    ended = _follow(seen, _shower(seen, as_json=as_json, as_lines=as_lines), until_done=until_done)
    if as_json:
        seen.look_at_sites()
        show_answer(seen.all(), as_json, "")
    return EXIT_FAILED if ended.get("failed") else 0


class _Seen:
    """What is known of datasets and sites; kept by events."""

    def __init__(self, client: Client, only: str | None) -> None:
        self.client, self.only = client, only
        self.rows: dict[str, Row] = {}
        self.sites: list[Row] = []
        self._names: dict[str, str] = {}
        self._looked_s = 0.0

    def all(self) -> dict[str, list[Row]]:
        """Return how all is, as far as it is known."""
        return {"datasets": list(self.rows.values()), "sites": self.sites}

    def look(self) -> None:
        """Ask how all is now."""
        asked = {} if self.only is None else {"id": self.only}
        for row in self.client.get("/aggregates", by="dataset", **asked)["groups"]:
            self.take(row)
        self.look_at_sites()

    def look_at_sites(self) -> None:
        """Ask how the sites are; nothing is shown of them to who may not know."""
        self._looked_s = time.monotonic()
        try:
            self.sites = self.client.sites()
        except Refused:
            self.sites = []

    def take(self, row: Row) -> Row:
        """Note how a dataset is; return that with its name."""
        of = row["dataset"]
        if of not in self._names:
            asked = {} if self.only is None else {"id": self.only}
            listed = self.client.every("/datasets", "datasets", fields="id,name", **asked)
            self._names = {one["id"]: one["name"] for one in listed}
        about = {"dataset": of, "name": self._names.get(of, "?")} | row
        self.rows[of] = about | {"waiting": shown_watch.waiting(row)}
        return self.rows[of]

    def changes(self) -> Iterator[Row | None]:
        """Yield a dataset when it changed, nothing when time passed; connect again and again."""
        wait_s, reached = AGAIN_S, False
        while True:
            try:
                for kind, row in self.client.events(dataset=self.only):
                    wait_s, reached = AGAIN_S, True
                    if time.monotonic() - self._looked_s > SITES_EVERY_S:
                        self.look_at_sites()
                    changed = kind == "dataset" and self._is_news(row)
                    yield self.take(row) if changed else None
            except (NoAnswer, Overloaded) as error:
                if not reached:
                    raise
                click.echo(f"pulk: {error.text()}; trying again", err=True)
                time.sleep(wait_s)
                wait_s = min(2 * wait_s, AGAIN_S_MAX)

    def _is_news(self, row: Row) -> bool:
        """Return whether a dataset is not as it was said to be, when connections began anew."""
        known = self.rows.get(row["dataset"], {})
        return {**known, **row} != known


def _has_ended(client: Client, row: Row) -> bool:
    """Return whether nothing of a dataset can run any more.

    Of tasks that nothing happened to yet the event does not say whether they wait for something.
    """
    if row["ready"] or row["leased"]:
        return False
    counted = client.counts(row["dataset"])
    return not any(one["counts"].get(word) for one in counted for word in ("ready", "leased"))


def _follow(seen: _Seen, shower: _Shower, *, until_done: bool) -> Row:
    """Show changes until interrupted, or until the dataset ended; return how it is then."""
    show, end = shower
    try:
        for row in seen.changes():
            show(row)
            if row is not None and until_done and _has_ended(seen.client, row):
                return row
    finally:
        end()
    raise AssertionError  # never: changes() has no end


def _shower(seen: _Seen, *, as_json: bool, as_lines: bool) -> _Shower:
    """Return what shows a change, and what ends showing."""
    from rich.console import Console
    from rich.live import Live

    console = Console()
    if as_json or as_lines or not console.is_terminal:
        return (lambda row: _say(row, as_lines=as_lines, aside=as_json)), lambda: None
    live = Live(console=console, auto_refresh=False)
    live.start()

    def show(_: Row | None) -> None:
        live.update(shown_watch.live(seen.all()), refresh=True)

    return show, live.stop


def _say(row: Row | None, *, as_lines: bool, aside: bool) -> None:
    """Write a change as a line; `aside`: where it is no part of the answer."""
    if row is None:
        return
    now = datetime.now(UTC).isoformat(timespec="seconds")
    said = json.dumps({"at": now} | row) if as_lines else f"{now} {shown_watch.line(row)}"
    click.echo(said, err=aside)
