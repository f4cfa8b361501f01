"""Several folders of one central: the same keys and trust, one database, one archive."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from central import config as configs
from central import home as homes
from central.authority import Authority
from central.home import Home

SAME = ("trust", "trusts", "central.key", "registrar.key", "admin.token")


def make(folder: Path, url: str, count: int, settings: str = "") -> tuple[list[Home], str]:
    """Make the folders; return them and the root's words.

    Args:
        folder: an empty one.
        url: of an empty database on a server.
        count: how many.
        settings: sections of central.toml besides [store] and [archive].
    """
    archive = folder / "archive"
    archive.mkdir()
    first = Home(folder / "central-1")
    made = homes.create(first)
    text = f'[store]\nurl = "{url}"\n[archive]\nurl = "file://{archive}"\n{settings}'
    first.config.write_text(text)
    found = [first]
    for number in range(2, count + 1):
        other = Home(folder / f"central-{number}")
        other.root.mkdir(mode=0o700)
        for name in SAME:
            source = first.root / name
            if source.is_dir():
                shutil.copytree(source, other.root / name)
            else:
                shutil.copy2(source, other.root / name)
        other.config.write_text(text)
        homes.make_folders(other)
        found.append(other)
    return found, made.root_fingerprint


def opened(home: Home, clock_us: Callable[[], int]) -> Authority:
    """Open the central of one of the folders."""
    return Authority.open(home, configs.load(home.config), clock_us=clock_us)
