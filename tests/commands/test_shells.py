"""The shells themselves, with what `pulk completion` prints loaded: zsh on a terminal, and fish."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import shutil
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.testbed import debian

LIMIT_S = 60
COLUMNS = 250  # no line is folded
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")
TYPED = [
    ("pulk da", "pulk dataset "),
    ("pulk dataset exp", "pulk dataset export "),
    ("pulk dataset tasks x --verdict fa", "--verdict failed "),
    ("pulk bundle verify --tr", "verify --trust "),
]
ZSH = (
    "PROMPT='READY>'; autoload -Uz compinit; compinit -u -D; "
    'eval "$(pulk completion zsh)"; bindkey "^I" complete-word; echo is-"loaded"\n'
)


def shell(name: str) -> str:
    """Return where a shell is; skips by name where it can't be had."""
    if shutil.which(name) is None:
        reason = debian.install((name,))
        if shutil.which(name) is None:
            pytest.skip(f"{name} is not here: {reason}")
    return str(shutil.which(name))


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A home without settings, and a `pulk` on the path."""
    command = tmp_path / "pulk"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -I -m bundle.cli "$@"\n')
    command.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    return {"HOME": str(tmp_path), "ZDOTDIR": str(tmp_path), "PATH": path, "TERM": "dumb"}


@pytest.mark.programs
def test_fish_offers_what_fits(environment: dict[str, str]) -> None:
    asked = "; ".join(f'complete -C "{typed}"' for typed, _ in TYPED)
    done = subprocess.run(
        [shell("fish"), "--no-config", "-c", f"pulk completion fish | source; {asked}"],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=True,
        env=environment,
    )
    offered = {line.split("\t")[0] for line in done.stdout.splitlines()}
    assert {"dataset", "export", "failed", "--trust"} <= offered


class Terminal:
    """A shell on a terminal: type, and read until something stands there."""

    def __init__(self, words: list[str], environment: dict[str, str]) -> None:
        self._fd, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, COLUMNS, 0, 0))
        self._process = subprocess.Popen(
            words, stdin=theirs, stdout=theirs, stderr=theirs, env=environment
        )
        os.close(theirs)

    def type(self, text: str, wanted: str) -> str:
        """Type and return what is shown once that is among it."""
        os.write(self._fd, text.encode())
        shown, ends_s = "", time.monotonic() + LIMIT_S
        while wanted not in CONTROL.sub("", shown):
            assert time.monotonic() < ends_s, shown
            if select.select([self._fd], [], [], 1)[0]:
                shown += os.read(self._fd, 65_536).decode(errors="replace")
        return shown

    def close(self) -> None:
        """End the shell."""
        self._process.kill()
        self._process.wait(LIMIT_S)
        os.close(self._fd)


@pytest.fixture
def zsh(environment: dict[str, str]) -> Iterator[Terminal]:
    made = Terminal([shell("zsh"), "-f", "-i"], environment)
    yield made
    made.close()


@pytest.mark.programs
@pytest.mark.parametrize(("typed", "whole"), TYPED)
def test_zsh_completes_what_was_begun(zsh: Terminal, typed: str, whole: str) -> None:
    zsh.type(ZSH, "is-loaded")
    zsh.type(f"{typed}\t", whole)
