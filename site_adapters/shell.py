"""A pilot's command as words of a shell, with its batch id filled in on the node. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

BATCH_ID = "{batch_id}"


def command(argv: Sequence[str], variable: str) -> str:
    """Return a command, quoted; `variable` of the shell stands for the batch id in any word."""
    return " ".join(
        f'"${variable}"'.join(shlex.quote(part) if part else "" for part in word.split(BATCH_ID))
        or "''"
        for word in argv
    )
