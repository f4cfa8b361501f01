"""The loop's side of the radio: starts its process, starts it anew, hears when to tick sooner."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import subprocess
import threading
import time

from relay.bell import Bell
from relay.home import Home
from relay.radio.child import command as child_command

_LOG = logging.getLogger(__name__)

BACK_OFF_S, BACK_OFF_S_MAX = 1.0, 60.0
WELL_S = 60.0  # a process that lived so long was well
GO_S = 5.0
SLICE_S = 0.5  # that its process has to be started anew is noticed so late at most
GAP_S = 1.0  # between two ticks, whatever central says
SOON_S = 2.0  # between two ticks, however much pilots have to tell
SOON_SHARE = 5  # and so many times what the last tick took


class Radio:
    """The radio of a running relay, and where it sleeps; without `[radio] listen` only that."""

    def __init__(self, home: Home, bell: Bell) -> None:
        """Start nothing yet. `bell`: what else ends a wait."""
        self._home, self._bell = home, bell
        self._child: subprocess.Popen[bytes] | None = None
        self._started_s = self._start_at_s = 0.0
        self._back_off_s = BACK_OFF_S

    @property
    def pid(self) -> int:
        """The process that listens, 0 for none."""
        return self._child.pid if self._child is not None else 0

    def begin(self) -> None:
        """Start the process, where there is to be one."""
        if self._home.config.radio.listen:
            self._mend(time.monotonic())

    def wait(self, stop: threading.Event, interval_s: float, took_s: float, offered: int) -> None:
        """Wait for the next tick: so long, or less where pilots have sealed or the bell rings.

        `offered`: shards that the last tick, which took `took_s`, put on offer.
        """
        listens = self._home.config.radio.listen
        now_s = time.monotonic()
        until_s = now_s + interval_s
        gap_s = now_s + GAP_S
        soon_s = now_s + max(SOON_S, SOON_SHARE * took_s)
        if offered:
            self._say()
        while not stop.is_set() and (now_s := time.monotonic()) < until_s:
            if listens:
                self._mend(now_s)
            told, rang = self._hear(min(SLICE_S, until_s - now_s) if listens else until_s - now_s)
            if told:
                until_s = min(until_s, gap_s)
            if rang:
                until_s = min(until_s, soon_s)

    def close(self) -> None:
        """End the process; it says good-bye to the pilots."""
        child, self._child = self._child, None
        if child is None:
            return
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        try:
            child.wait(GO_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()

    def _mend(self, now_s: float) -> None:
        """Start the process where there is none, ever later where it does not live long."""
        child = self._child
        if child is not None and child.poll() is not None:
            lived_s = now_s - self._started_s
            _LOG.error("radio ended", extra={"code": child.returncode})
            self.close()
            if lived_s >= WELL_S:
                self._back_off_s = BACK_OFF_S
            self._start_at_s = now_s + self._back_off_s
            self._back_off_s = min(2 * self._back_off_s, BACK_OFF_S_MAX)
        if self._child is None and now_s >= self._start_at_s:
            self._started_s = now_s
            level = logging.getLogger().getEffectiveLevel()
            self._child = subprocess.Popen(
                child_command(self._home.folder, level),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )

    def _say(self) -> None:
        """Tell the process that shards were put on offer."""
        if self._child is not None and self._child.stdin is not None:
            with contextlib.suppress(OSError):
                os.write(self._child.stdin.fileno(), b".")

    def _hear(self, pause_s: float) -> tuple[bool, bool]:
        """Wait; return whether the bell rang, and whether pilots have sealed something."""
        pipe = self._child.stdout if self._child is not None else None
        ready, _, _ = select.select([self._bell, *([pipe] if pipe else ())], [], [], pause_s)
        told = self._bell in ready
        if told:
            self._bell.hush()
        if pipe is None or pipe not in ready:
            return told, False
        if not os.read(pipe.fileno(), 4096):  # it ends: do not spin until it has
            time.sleep(min(pause_s, 0.05))
            return told, False
        return told, True
