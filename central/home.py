"""Central's folder: where everything lies, and how a new one is made (`pulk central init`)."""

from __future__ import annotations

import os
import secrets
import time
from dataclasses import dataclass
from pathlib import Path

from bundle.errors import PulkError
from bundle.spool import publish
from bundle.trust import fingerprint, quickstart, versions
from central import config as configs

TOKEN_BYTES = 32
FOLDERS = ("archive", "parked", "quarantine", "uploads", "partial", "deltas")


class AlreadyMade(PulkError):
    """`central init` found something in the folder. Keys and archives are never replaced."""

    code = "already-made"
    what = "the folder is not empty"
    remedy = "name another folder, or go on with the central that is there"


class RootKeyInside(PulkError):
    """The root key would lie where the server reads. Name a folder elsewhere."""

    code = "root-key-inside"
    what = "the root key's folder lies inside central's folder"
    remedy = "name a folder outside it with --root-dir, best on a stick that is locked away"


class NoCentral(PulkError):
    """The folder holds no central. Name the one that `pulk central init` made."""

    code = "no-central"
    what = "there is no central here: {missing} is missing"
    remedy = (
        "name the folder that `pulk central init` made; "
        "after a restore from a backup without keys put them back first"
    )


@dataclass(frozen=True, slots=True)
class Home:
    """The places in one central's folder, which must be on a local disk."""

    root: Path

    @property
    def database(self) -> Path:
        """The database: a merge of the archive that can be made again from it."""
        return self.root / "pulk.sqlite"

    @property
    def archive(self) -> Path:
        """The record: accepted bundles and central's own commits."""
        return self.root / "archive"

    @property
    def parked(self) -> Path:
        """Bundles that newer trust or a decision can still admit."""
        return self.root / "parked"

    @property
    def quarantine(self) -> Path:
        """What was refused."""
        return self.root / "quarantine"

    @property
    def uploads(self) -> Path:
        """Files under way; what lies here while no server runs is nothing."""
        return self.root / "uploads"

    @property
    def partial(self) -> Path:
        """Beginnings of uploads that broke off; they may be removed at any time."""
        return self.root / "partial"

    @property
    def deltas(self) -> Path:
        """Copies of work bundles without what their sites have; they can be made again."""
        return self.root / "deltas"

    @property
    def sidecars(self) -> Path:
        """What carriers of bundles say of themselves; for people alone, it may be removed."""
        return self.root / "custody"

    @property
    def trust(self) -> Path:
        """The trust file."""
        return self.root / quickstart.TRUST_FILE

    @property
    def central_key(self) -> Path:
        """The key that signs work and commits."""
        return self.root / quickstart.CENTRAL_KEY

    @property
    def registrar_key(self) -> Path:
        """The key that signs sites' certificates."""
        return self.root / quickstart.REGISTRAR_KEY

    @property
    def token(self) -> Path:
        """The administrator's first access token."""
        return self.root / "admin.token"

    @property
    def address(self) -> Path:
        """The URL of the server, there while one listens."""
        return self.root / "address"

    @property
    def config(self) -> Path:
        """The configuration file."""
        return self.root / configs.NAME

    @property
    def lock(self) -> Path:
        """The file that the one process which may write holds locked."""
        return self.root / "lock"

    @property
    def root_dir(self) -> Path:
        """Where `init` puts the root key unless told otherwise: beside, never inside."""
        return self.root.with_name(f"{self.root.name}-root")


@dataclass(frozen=True, slots=True)
class Created:
    """A new central: where the root key lies, and the words that sites' operators compare."""

    home: Home
    root_dir: Path
    root_fingerprint: str


def create(home: Home, root_dir: Path | None = None, copies: int = 1) -> Created:
    """Make central's folder: keys, trust version 1, first token, configuration.

    The token comes last; without it the folder counts as half made and is refused by `open_home`.

    Args:
        home: a folder that is missing or empty.
        root_dir: for the root key; missing folders are made with mode 0700.
        copies: on how many devices a bundle must be archived to be called safe.

    Raises AlreadyMade, RootKeyInside, KeyFileRefused.
    """
    root, root_dir = home.root.absolute(), (root_dir or home.root_dir).absolute()
    if root.exists() and any(root.iterdir()):
        raise AlreadyMade(where=str(root))
    if root_dir.resolve().is_relative_to(root.resolve()):
        raise RootKeyInside(where=str(root_dir))
    publish.make_folder(root)
    root.chmod(publish.FOLDER_MODE)
    make_folders(home)
    authority = quickstart.make_authority(root_dir, root)
    versions.keep(home.trust, authority.trust)
    complete(home, copies)
    return Created(home, root_dir, fingerprint.of_roots(authority.trust))


def complete(home: Home, copies: int = 1) -> None:
    """Make configuration and first token where they are missing; the token comes last."""
    if not home.config.exists():
        publish.write_file(home.root, home.config, configs.text_of(copies).encode())
    if not home.token.exists():
        token = secrets.token_urlsafe(TOKEN_BYTES)
        publish.write_new_file(home.root, home.token, f"{token}\n".encode())


def make_folders(home: Home) -> None:
    """Make the folders of a central where they are missing (mode 0700)."""
    for name in FOLDERS:
        publish.make_folder(home.root / name)


def open_home(folder: Path) -> Home:
    """Return the home of a central that was made here. Raises NoCentral."""
    home = Home(folder.absolute())
    for path in (home.trust, home.central_key, home.token):
        if not path.exists():
            raise NoCentral(where=str(folder), missing=path.name)
    make_folders(home)
    return home


def clear_uploads(home: Home) -> int:
    """Remove what an earlier server was receiving when it ended; return how many files."""
    left = [path for path in home.uploads.iterdir() if not path.is_dir()]
    for path in left:
        path.unlink(missing_ok=True)
    return len(left)


def upload_place(home: Home) -> Path:
    """Return a new file name in `uploads`."""
    return home.uploads / f"{os.getpid()}-{os.urandom(8).hex()}"


def now_us() -> int:
    """Return UTC microseconds by this machine's clock."""
    return time.time_ns() // 1000
