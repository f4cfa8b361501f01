"""How a command reaches the authority of a folder: in this process, or through its server."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from central.authority import Authority
    from central.config import Config
    from central.home import Home
    from central.served import Enroller


class _Words(logging.Formatter):
    """One line: the fixed words, then the reason if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        reason = getattr(record, "reason", None)
        return f"{super().format(record)}: {reason}" if reason else super().format(record)


@contextmanager
def opened(folder: Path, config_file: Path | None, doing: str) -> Iterator[tuple[Home, Authority]]:
    """Hold the folder's lock and open its authority. Raises NoCentral, InUse, ConfigRefused."""
    from central import lock
    from central.authority import Authority
    from central.home import now_us, open_home

    home = open_home(folder)
    config = config_of(home, config_file)
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(message)s")
    for handler in logging.getLogger().handlers:
        handler.setFormatter(_Words())
    with lock.held(home, doing):
        made = Authority.open(home, config, clock_us=now_us)
        try:
            yield home, made
        finally:
            made.close()


@contextmanager
def enroller(folder: Path, config_file: Path | None, doing: str) -> Iterator[Enroller]:
    """Open the folder's authority, or speak to the server that holds it. Raises as `opened`."""
    from central.home import Home
    from central.lock import InUse
    from central.served import client_of

    with ExitStack() as stack:
        central: Enroller
        try:
            _, central = stack.enter_context(opened(folder, config_file, doing))
        except InUse as taken:
            central = client_of(Home(folder.absolute()), taken)
        yield central


def config_of(home: Home, given: Path | None) -> Config:
    """Return the configuration: the file named, else the folder's own. Raises ConfigRefused."""
    from central import config as configs

    if given is not None and not given.exists():
        raise configs.ConfigRefused(where=str(given), key="file", reason="it does not exist")
    return configs.load(given or home.config)
