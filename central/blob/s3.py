"""Blobs as objects in S3, or what speaks like it, through fsspec and s3fs.

Access keys come from where every client of S3 finds them (environment, profile, instance role),
never from central.toml. An object appears whole or not at all; it counts as kept once the store
itself said its size and, where it gives one, its MD5.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bundle.errors import PulkError
from bundle.spool import publish
from central.blob.contract import BlobDamaged, BlobMissing, BlobTrouble

PIECE_BYTES = 8 << 20
PART_BYTES = 64 << 20  # of a larger object; up to it the ETag is the MD5 of the whole
RETRIES = 3
CONNECT_S, READ_S = 10, 60


class NoS3(PulkError):
    """s3fs is not installed here, and [archive] url names S3. Install the extra `s3`."""

    code = "no-s3"
    what = "s3fs is not installed"
    remedy = "pip install 'pulk[s3]'"


class S3Blobs:
    """See `contract.Blobs`. May be used from any thread."""

    def __init__(self, url: str, *, endpoint: str = "") -> None:
        """Work below `s3://bucket/prefix`; `endpoint` is the address of what is not Amazon's.

        Raises NoS3.
        """
        try:
            import s3fs
        except ImportError:
            raise NoS3(where=url) from None
        self._root = url.removeprefix("s3://").strip("/")
        self._place = f"{endpoint or 's3'} {self._root.partition('/')[0]}"
        self._fs: Any = s3fs.S3FileSystem(
            client_kwargs={"endpoint_url": endpoint} if endpoint else {},
            config_kwargs={
                "connect_timeout": CONNECT_S, "read_timeout": READ_S,
                "retries": {"max_attempts": RETRIES},
            },
            use_listings_cache=False,
            skip_instance_cache=True,
        )  # fmt: skip

    @property
    def place(self) -> str:
        """See `contract.Blobs.place`: endpoint and bucket."""
        return self._place

    def put(self, source: Path, name: str) -> None:
        """See `contract.Blobs.put`."""
        size = source.stat().st_size
        there = self._info(name)
        if there is None:
            with _translated("writing", name):
                self._fs.put_file(str(source), self._key(name), chunksize=PART_BYTES)
            there = self._info(name)
        if there is None or there[0] != size:
            found = "nothing" if there is None else f"{there[0]} bytes"
            raise BlobDamaged(name=name, reason=f"{found} there, not {size}")
        if there[1] and there[1] != _md5(source):
            raise BlobDamaged(name=name, reason="its MD5 is another")

    def size(self, name: str) -> int | None:
        """See `contract.Blobs.size`."""
        found = self._info(name)
        return None if found is None else found[0]

    def read(self, name: str, first: int, count: int) -> bytes:
        """See `contract.Blobs.read`."""
        size = self._size(name)
        if first >= size or count <= 0:
            return b""
        with _translated("reading", name):
            end = min(size, first + count)
            return bytes(self._fs.cat_file(self._key(name), start=first, end=end))

    def fetch(self, name: str, target: Path) -> None:
        """See `contract.Blobs.fetch`."""
        size, at = self._size(name), 0
        with publish.replacing(target) as written:
            while at < size:
                piece = self.read(name, at, PIECE_BYTES)
                if not piece:
                    raise BlobDamaged(name=name, reason=f"{at} bytes of {size} came")
                written.write(piece)
                at += len(piece)

    def names(self) -> Iterator[str]:
        """See `contract.Blobs.names`."""
        with _translated("listing", ""):
            found = self._fs.find(self._root)
        prefix = f"{self._root}/"
        yield from sorted(one.removeprefix(prefix) for one in found)

    def remove(self, name: str) -> None:
        """See `contract.Blobs.remove`."""
        with _translated("removing", name):
            self._fs.call_s3("delete_object", Bucket=self._bucket, Key=self._path(name))

    @property
    def _bucket(self) -> str:
        return self._root.partition("/")[0]

    def _path(self, name: str) -> str:
        return self._key(name).partition("/")[2]

    def _key(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _size(self, name: str) -> int:
        found = self._info(name)
        if found is None:
            raise BlobMissing(name=name)
        return found[0]

    def _info(self, name: str) -> tuple[int, str] | None:
        """Return size, and MD5 in hex where the ETag is one."""
        with _translated("looking for", name):
            try:
                found = self._fs.call_s3("head_object", Bucket=self._bucket, Key=self._path(name))
            except FileNotFoundError:
                return None
        tag = str(found.get("ETag", "")).strip('"')
        is_md5 = len(tag) == 32 and "ServerSideEncryption" not in found
        return int(found["ContentLength"]), tag if is_md5 else ""


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


@contextmanager
def _translated(action: str, name: str) -> Iterator[None]:
    try:
        yield
    except _failures() as error:
        reason = str(error) or type(error).__name__
        raise BlobTrouble(where="s3", action=action, name=name, reason=reason[:200]) from error


def _failures() -> tuple[type[Exception], ...]:
    """Return how the client below fails."""
    from botocore.exceptions import BotoCoreError, ClientError

    return OSError, ValueError, BotoCoreError, ClientError
