"""The pilot's side of its stager: started when it is needed first, replaced when it died."""

from __future__ import annotations

import logging
import os
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pilot import folder
from pilot.core.ahead import Staging
from pilot.messages import Channel
from pilot.slots import reaped

log = logging.getLogger("pulk.pilot")


@dataclass(frozen=True, slots=True)
class Places:
    """Where files lie that are on their way: `brought` and `handed` on, and the data."""

    brought: Path
    handed: Path
    data: Path


class Child:
    """The stager's process, if there is one."""

    def __init__(self, places: Places, staging: Staging) -> None:
        """Start nothing yet."""
        self._places, self._staging = places, staging
        self.pid = 0
        self.channel: Channel | None = None

    def start(self) -> Channel:
        """Start the process and return this end of its channel."""
        ours, theirs = socket.socketpair()
        arguments = [
            *folder.stager_command(),
            str(theirs.fileno()),
            str(self._places.data),
            str(self._places.brought),
            str(self._places.handed),
            str(os.getpid()),
            str(self._staging.bytes_per_s),
            str(self._staging.threads),
        ]
        theirs.set_inheritable(True)
        try:
            self.pid = os.posix_spawn(sys.executable, arguments, os.environ)
        finally:
            theirs.close()
        self.channel = Channel(ours)
        return self.channel

    def send(self, order: dict[str, Any]) -> None:
        """Order something; a stager that is gone shows by its end."""
        if self.channel is not None:
            try:
                self.channel.send(order)
            except OSError:
                return

    def end(self) -> str:
        """Let it go, or find out how it ended."""
        if self.channel is None:
            return ""
        self.channel.socket.close()
        self.channel = None
        how, self.pid = reaped(self.pid), 0
        return how
