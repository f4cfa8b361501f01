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
        help="TOML with [tasks] path and [task_environment]; nothing else is read",
    )
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

    time.sleep(jitter_s(given.batch_id, os.uname().nodename, given.jitter_s))
    from bundle.ids import PILOT_RUN_BYTES, PilotRun
    from bundle.spool.layout import Spool
    from pilot.isolation import kernel
    from pilot.slots import Slots

    os.umask(0o077)
    kernel.hide_memory()  # it will hold the pilot's key
    spool = Spool(given.spool.resolve())
    pilot_run = PilotRun(os.urandom(PILOT_RUN_BYTES))
    folder = spool.claimed(pilot_run) / "slots"
    folder.mkdir(mode=0o700, parents=True)
    slots = Slots(folder, spool.folder("data"), given.slots)

    # What takes long to import comes after: the slots settle in meanwhile.
    from pilot.config import load

    site = load(given.config)
    slots.hold(replace(site.holding, hidden=(str(spool.root), *site.holding.hidden)))
    from pilot.discovery.look import look
    from pilot.run import Pilot

    Pilot(spool, slots, pilot_run, given.batch_id, site, given.idle_s, look()).run()


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
