"""`pulk pilot`: the process on a node that runs tasks."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

SLOTS_MAX = 1024
IDLE_S = 60.0


def parser() -> argparse.ArgumentParser:
    """Return the parser of `pulk pilot`."""
    top = argparse.ArgumentParser(prog="pulk pilot", description=__doc__)
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    words = "Claim shards from the spool and run them until nothing is left."
    run = commands.add_parser("run", help=words, description=words)
    run.add_argument("--spool", required=True, type=_folder, metavar="DIR", help="the site's spool")
    run.add_argument(
        "--batch-id", required=True, metavar="ID", help="what the scheduler calls this batch job"
    )
    run.add_argument("--slots", required=True, type=_slots, metavar="N", help="tasks at once")
    run.add_argument(
        "--idle-s",
        default=IDLE_S,
        type=_seconds,
        metavar="S",
        help="end after so long without work (default: %(default)s)",
    )
    run.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="TOML: [tasks], [staging], [task_environment] and the end's times in [pilots]",
    )
    _add_ending(run)
    run.add_argument(
        "--jitter-s",
        default=0.0,
        type=_seconds,
        metavar="S",
        help="first wait up to so long, by batch id and host (default: %(default)s)",
    )
    words = "Show what a pilot started here would find: cores, memory, disk, GPUs, allocation."
    node = commands.add_parser("node", help=words, description=words)
    node.add_argument("--json", action="store_true", help="one JSON document on stdout")
    node.set_defaults(entry=_node)
    run.set_defaults(entry=_run)
    return top


def _add_ending(run: argparse.ArgumentParser) -> None:
    """Add the options that say when the pilot must be gone."""
    end = run.add_mutually_exclusive_group()
    words = "when the allocation ends, as UTC seconds or 2027-01-31T12:00:00Z"
    end.add_argument("--ends-at", type=_moment, metavar="T", help=words)
    words = "the allocation ends so long from now (default: what the scheduler tells)"
    end.add_argument("--lasts-s", type=_seconds, metavar="S", help=words)
    for name, words in (
        ("--last-starts-s", "so long before the end only what surely ends in time is started"),
        ("--checkpoint-s", "so long before the end tasks are asked for checkpoints"),
        ("--stop-s", "so long before the end what runs is stopped, and sealed"),
    ):
        run.add_argument(name, type=_seconds, metavar="S", help=words)
    words = "where seals go when the spool takes no more; the relay looks there"
    run.add_argument("--emergency", type=Path, metavar="DIR", help=words)


def command(arguments: list[str]) -> int:
    """Run `pulk pilot`; return the exit code."""
    given = parser().parse_args(arguments)
    entry: Callable[[argparse.Namespace], None] = given.entry
    entry(given)
    return 0


def _node(given: argparse.Namespace) -> None:
    from bundle.cli.table import table, terminal_width, write
    from pilot.discovery import shown
    from pilot.discovery.look import look

    node = look()
    if given.json:
        import json

        write(json.dumps(shown.document(node)) + "\n")
    else:
        write(table((), shown.lines(node), terminal_width(sys.stdout)))


def _run(given: argparse.Namespace) -> None:
    from pilot.core.jitter import jitter_s

    began_us = time.time_ns() // 1000
    time.sleep(jitter_s(given.batch_id, os.uname().nodename, given.jitter_s))
    from bundle.ids import PILOT_RUN_BYTES, PilotRun
    from bundle.spool.layout import Spool
    from pilot.isolation import kernel
    from pilot.slots import Slots
    from pilot.staging.child import Places

    os.umask(0o077)
    spool = Spool(given.spool.resolve())
    pilot_run = PilotRun(os.urandom(PILOT_RUN_BYTES))
    own = spool.claimed(pilot_run)
    folder, brought, handed = (own / name for name in ("slots", "brought", "handed"))
    for path in (folder, brought, handed):
        path.mkdir(mode=0o700, parents=True)
    places = Places(brought, handed, spool.folder("data"))
    slots = Slots(folder, places.data, (brought, handed), given.slots)
    kernel.hide_memory()  # it will hold the pilot's key

    # What takes long to import comes after, the code that signs too: the slots settle in meanwhile.
    from pilot.config import load

    site = load(given.config)
    slots.hold(replace(site.holding, hidden=(str(spool.root), *site.holding.hidden)))
    from pilot.discovery import containers
    from pilot.discovery.look import look
    from pilot.plan_file import load_plan
    from pilot.run import Pilot

    found = look()
    if not found.containers.path:
        found = replace(found, containers=containers.look(site.task_path))
    site = replace(site, containers=replace(site.containers, runtime=found.containers))
    end_us = given.ends_at or found.end_us
    if given.lasts_s is not None:
        end_us = began_us + round(1e6 * given.lasts_s)
    options = {name: getattr(given, name) for name in ("last_starts_s", "checkpoint_s", "stop_s")}
    plan = load_plan(given.config, end_us, given.emergency, options)
    Pilot(spool, slots, pilot_run, given.batch_id, site, given.idle_s, found, plan, places).run()


def _folder(text: str) -> Path:
    path = Path(text)
    if not path.is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {text!r}")
    return path


def _slots(text: str) -> int:
    count = int(text)
    if not 1 <= count <= SLOTS_MAX:
        raise argparse.ArgumentTypeError(f"{count} slots, only 1 to {SLOTS_MAX}")
    return count


def _seconds(text: str) -> float:
    seconds = float(text)
    if not seconds >= 0:
        raise argparse.ArgumentTypeError(f"{text} seconds")
    return seconds


def _moment(text: str) -> int:
    """UTC microseconds."""
    if text.isascii() and text.isdecimal():
        return int(text) * 1_000_000
    from datetime import datetime

    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise argparse.ArgumentTypeError(f"{text} has no offset: write it with Z")
    return round(at.timestamp() * 1e6)
