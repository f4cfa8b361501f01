"""Files that a document names: read only below its own folder, and of bounded size."""

from __future__ import annotations

from pathlib import Path

from bundle.dataset.refusals import BeyondLimit, DatasetRefused
from bundle.limits import DOCUMENT_BYTES_MAX, DOCUMENT_FILE_BYTES_MAX


def bytes_beside(
    source: str, base: Path | None, where: str, bytes_max: int = DOCUMENT_FILE_BYTES_MAX
) -> bytes:
    """Read a file below the document's folder; a document from elsewhere must not reach further."""
    if base is None:
        reason = "a document without a folder cannot name files: give text"
        raise DatasetRefused(where=where, reason=reason)
    try:
        path = (base / source).resolve()
        if not path.is_relative_to(base.resolve()):
            raise DatasetRefused(where=where, reason=f"{source!r} is outside the document's folder")
        if not path.is_file():
            raise DatasetRefused(where=where, reason=f"there is no file {path}")
        size = path.stat().st_size
        if size > bytes_max:
            allowed = f"at most {bytes_max}"
            raise BeyondLimit(where=where, quantity="bytes", found=size, allowed=allowed)
        return path.read_bytes()
    except (OSError, ValueError) as error:
        raise DatasetRefused(where=where, reason=f"cannot read {source!r}: {error}") from None


def text_beside(source: str, base: Path | None, where: str) -> str:
    """Read a text file below the document's folder. Raises DatasetRefused."""
    try:
        return bytes_beside(source, base, where, DOCUMENT_BYTES_MAX).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        reason = f"{source!r} is not UTF-8 text: {error.reason} at byte {error.start}"
        raise DatasetRefused(where=where, reason=reason) from None
