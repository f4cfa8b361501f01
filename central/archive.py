"""The archive: every accepted bundle and central's own commits as blobs. It is the record.

A bundle is there, synced, name and all, before the database says so: a crash in between leaves a
file that the next start merges. It lies in the folder `archive/`, or in S3 with `archive/` as a
bounded cache; mirrors on other devices make it safe sooner than the next backup.
"""

from __future__ import annotations

import copy
import logging
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from bundle.errors import PulkError
from bundle.ids import BundleId
from bundle.spool import publish
from central.blob.cache import Cache
from central.blob.contract import Blobs
from central.blob.folder import MODE, FolderBlobs
from central.blob.s3 import S3Blobs
from central.config import Config
from central.home import Home

SUFFIX = ".pulk"
FILE_URL = "file://"
BESIDE = "beside"
_NAME = re.compile(r"([0-9a-f]{64})\.pulk")
_LOG = logging.getLogger(__name__)

__all__ = ["MODE", "SUFFIX", "Archive", "bundle_files", "open_archive"]


class Archive:
    """Bundles by id, in 256 folders."""

    def __init__(
        self,
        root: Path,
        copies: int,
        *,
        mirrors: Iterable[Blobs] = (),
        remote: Blobs | None = None,
        cache_bytes_max: int = 0,
        is_elsewhere: bool = False,
    ) -> None:
        """Work in a folder, made where it is missing.

        Args:
            root: the archive itself, or where copies lie for a while if there is a `remote`.
            copies: how many devices must hold a bundle before it counts as safe.
            mirrors: further places; one that fails delays safety, not merging.
            remote: the archive itself, elsewhere.
            cache_bytes_max: how much stays in `root` if there is a `remote`.
            is_elsewhere: `root` is not made but must be there.
        """
        self.root = root
        self._copies = copies
        self._local = FolderBlobs(root)
        self._is_elsewhere = is_elsewhere
        self._remote = remote
        self._mirrors = tuple(mirrors)
        self._cache = Cache(root, cache_bytes_max)
        self.is_read_only = False
        self.is_behind = bool(self._mirrors)  # a mirror may lack something

    def path(self, bundle: BundleId) -> Path:
        """Return where a bundle lies or would lie; out of a remote it is brought first.

        The file stays there while it is among the newest that were asked for. Raises BlobTrouble.
        """
        name = name_of(bundle)
        target = self._local.path(name)
        if self._remote is None:
            return target
        if target.exists():
            self._cache.keep(target)
            return target
        if self._remote.size(name) is not None:
            publish.make_folder(target.parent)
            self._remote.fetch(name, target)
            target.chmod(MODE)
            self._cache.keep(target)
        return target

    def put(self, source: Path, bundle: BundleId) -> bool:
        """Put a verified bundle file in durably; return whether it is safe now.

        `source` must be a file of central's own: it becomes the archived file (by a link) and must
        not be written to any more; its name may be removed. Raises BlobTrouble, BlobDamaged.
        """
        if self.is_read_only:
            return self.is_safe
        name = name_of(bundle)
        if not self._is_elsewhere:  # else a disk that is not mounted would be filled in its place
            publish.make_folder(self.root)
        if self._remote is not None:
            self._remote.put(source, name)
        self._local.put(source, name)
        if self._remote is not None:
            self._cache.keep(self._local.path(name))
        return self._copy_out(source, name) >= self._copies

    def reading(self) -> Archive:
        """Return the same archive for one who reads only: what is put is there already."""
        other = copy.copy(self)
        other.is_read_only = True
        return other

    def copy(self, bundle: BundleId, target: Path) -> None:
        """Write a bundle into a new file elsewhere, synced. Raises BlobMissing, BlobTrouble."""
        self._home.fetch(name_of(bundle), target)

    def mend(self, bundle: BundleId) -> bool:
        """Give the mirrors what they lack of a bundle; return whether it is safe now."""
        return self._copy_out(self.path(bundle), name_of(bundle)) >= self._copies

    def take_back(self, bundle: BundleId) -> None:
        """Remove a bundle of central's own that nobody was told of, durably."""
        name = name_of(bundle)
        for blobs in self._all():
            blobs.remove(name)

    @property
    def place(self) -> str:
        """What tells where the archive itself lies from other places. Raises BlobTrouble."""
        return self._home.place

    @property
    def is_safe(self) -> bool:
        """Whether a bundle is safe as soon as it is put, if no mirror fails."""
        try:
            return len({self._home.place, *(one.place for one in self._mirrors)}) >= self._copies
        except PulkError:
            return self._copies <= 1

    def ids(self) -> Iterator[BundleId]:
        """Yield the ids of all bundles there, by their names."""
        names = self._home.names() if self._home is not self._local or self.root.is_dir() else ()
        for name in names:
            found = _NAME.fullmatch(name.rpartition("/")[2])
            if found and name == name_of(BundleId(found[1])):
                yield BundleId(found[1])

    def has(self, bundle: BundleId) -> bool:
        """Return whether a bundle is archived."""
        return self._home.size(name_of(bundle)) is not None

    @property
    def _home(self) -> Blobs:
        """Where the archive itself lies."""
        return self._local if self._remote is None else self._remote

    def _all(self) -> Iterator[Blobs]:
        yield from self._mirrors
        yield self._local
        if self._remote is not None:
            yield self._remote

    def _copy_out(self, source: Path, name: str) -> int:
        """Copy to the mirrors; return on how many devices the bytes are. Failures are told."""
        places = {self._home.place}
        for mirror in self._mirrors:
            try:
                mirror.put(source, name)
                places.add(mirror.place)
            except PulkError as error:
                self.is_behind = True
                _LOG.error("a mirror of the archive fails", extra={"reason": error.text()})
        return len(places)


def open_archive(home: Home, config: Config, *, beside: bool = False) -> Archive:
    """Return the archive that central.toml describes. Raises NoS3.

    `beside`: for a process that reads beside the one that writes; what it brings out of a remote
    lies in a folder of its own, for a cache is one process's.
    """
    told = config.archive
    elsewhere = folder_of(config)
    is_remote = bool(told.url) and elsewhere is None
    remote = S3Blobs(told.url, endpoint=told.endpoint) if is_remote else None
    mirrors = [FolderBlobs(Path(one)) for one in told.mirrors]
    return Archive(
        elsewhere or (home.archive / BESIDE if beside and is_remote else home.archive),
        told.copies,
        mirrors=mirrors,
        remote=remote,
        cache_bytes_max=told.cache_bytes_max,
        is_elsewhere=elsewhere is not None,
    )


def folder_of(config: Config) -> Path | None:
    """Return the folder that `[archive] url` names, None where it names none."""
    url = config.archive.url
    return Path(url.removeprefix(FILE_URL)) if url.startswith(FILE_URL) else None


def name_of(bundle: BundleId) -> str:
    """Return a bundle's name in every archive, mirror and pool."""
    return f"{bundle[:2]}/{bundle}{SUFFIX}"


def bundle_files(root: Path) -> Iterator[Path]:
    """Yield the bundle files below an archive's folder, sorted by name."""
    for path in sorted(root.glob(f"??/*{SUFFIX}")):
        if _NAME.fullmatch(path.name) and not path.is_symlink():
            yield path
