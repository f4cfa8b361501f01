"""`pulk bundle`: look into bundle files and carry them by hand, with files alone."""

from __future__ import annotations

import argparse

from bundle.cli import look, media


def parser() -> argparse.ArgumentParser:
    """Return the parser of `pulk bundle`."""
    made = argparse.ArgumentParser(
        prog="pulk bundle", description="Look into bundle files; carry them by hand."
    )
    subparsers = made.add_subparsers(metavar="COMMAND", required=True)
    look.add(subparsers)
    media.add(subparsers)
    return made


def command(arguments: list[str]) -> int:
    """Run `pulk bundle` and return its exit code. Raises PulkError, OSError."""
    made = parser()
    given, rest = made.parse_known_args(arguments)
    more = getattr(given, "more", None)
    if rest and (more is None or any(one.startswith("-") for one in rest)):
        made.error(f"unrecognized arguments: {' '.join(rest)}")
    if more is not None:  # argparse takes those after an option only so
        try:
            getattr(given, more).extend(map(given.each, rest))
        except argparse.ArgumentTypeError as error:
            made.error(str(error))
    code: int = given.run(given)
    return code
