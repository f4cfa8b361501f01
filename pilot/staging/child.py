"""The pilot's side of its stager: started when it is needed first, replaced when it died."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pilot import children, folder
from pilot.core.ahead import Staging
from pilot.messages import Channel

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
        places, staging = self._places, self._staging
        folders = (places.data, places.brought, places.handed)
        told = (*folders, os.getpid(), staging.bytes_per_s, staging.threads)
        self.pid, self.channel = children.start(folder.stager_command(), told)
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
        how, self.pid = children.reaped(self.pid), 0
        return how
