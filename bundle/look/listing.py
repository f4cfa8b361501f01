"""What lies in a folder: every bundle file, whatever its name, and what is wrong with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bundle.errors import PulkError
from bundle.look.inspect import Advance, check, file_bytes, silent
from bundle.look.opened import open_to_look
from bundle.trust.trust_file import TrustView
from bundle.wire.read import OpenBundle


def row_of(
    path: Path,
    shown: str,
    trust: TrustView | None,
    *,
    read: bool = False,
    advance: Advance = silent,
) -> dict[str, Any]:
    """Return one row about a file; `state` is `whole`, `part` or `damaged`.

    Without `read`, damage to the chunks' bytes is not looked for. A refusal by the trust file makes
    the state `refused`; its diagnostics stand under `refusal`.
    """
    row: dict[str, Any] = {"path": shown, "file_bytes": None, "state": "damaged"}
    try:
        row["file_bytes"] = path.lstat().st_size
        with open_to_look(path, None) as bundle:
            row |= _facts(bundle)
            if read:
                check(bundle, partial=True, advance=advance)
            row["state"] = "part" if bundle.absent() else "whole"
    except PulkError as error:
        return row | {"state": "damaged", "refusal": error.diagnostics()}
    except OSError as error:
        reason = {"code": "io-failed", "what": error.strerror or str(error)}
        return row | {"state": "damaged", "refusal": reason}
    return row if trust is None else row | _judged(path, trust)


def _judged(path: Path, trust: TrustView) -> dict[str, Any]:
    try:
        with open_to_look(path, trust) as bundle:
            return {"signed_by": bundle.site or bundle.manifest.producer}
    except PulkError as error:
        return {"state": "refused", "signed_by": "", "refusal": error.diagnostics()}


def _facts(bundle: OpenBundle) -> dict[str, Any]:
    manifest = bundle.manifest
    return {
        "id": bundle.id,
        "kind": manifest.kind.value,
        "producer": manifest.producer,
        "audience": manifest.audience,
        "stream": manifest.stream.hex(),
        "sequence": manifest.sequence,
        "created_us": manifest.created_us,
        "file_bytes": file_bytes(bundle),
        "chunks": len(bundle.places),
        "present": len(bundle.places) - len(bundle.absent()),
    }
