"""Whether this code runs from a pilot folder (see `pilot.start`), and how it starts more of it."""

from __future__ import annotations

import sys

_START = (
    "import sys; sys.path[:] = sys.argv[1].split('\\n'); "
    "from pilot.{module} import main; main(sys.argv[2:])"
)


def here() -> str:
    """Return the pilot folder that this code was loaded from; empty where it is installed."""
    return str(getattr(_loader(), "folder", ""))


def slot_command() -> list[str]:
    """Return the command of a slot, to which its own arguments are added."""
    return _command("slot", "slot")


def stager_command() -> list[str]:
    """Return the command of a stager, to which its own arguments are added."""
    return _command("stager", "staging.stager")


def _command(word: str, module: str) -> list[str]:
    if folder := here():
        return [sys.executable, "-I", "-S", folder, word]
    return [sys.executable, "-I", "-c", _START.format(module=module), "\n".join(sys.path)]


def _loader() -> object:
    return getattr(sys.modules[__name__].__spec__, "loader", None)
