"""What `pulk bundle inspect` and `verify` say of a bundle, as plain values."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from bundle.intervals import IntervalSet
from bundle.limits import BUNDLE_BYTES_MAX
from bundle.trust.trust_file import TrustView
from bundle.wire import manifest as manifests
from bundle.wire.admit import read_signatures
from bundle.wire.errors import BundleRefused
from bundle.wire.header import Place
from bundle.wire.manifest import Kind, Manifest, bundle_id
from bundle.wire.read import open_bundle, open_plain, read_parts, read_places


def describe(path: Path, trust: TrustView | None = None) -> dict[str, Any]:
    """Return what a bundle says of itself, and with `trust` whether that can be believed.

    Without trust, nothing is verified and `verified` is null. With trust every chunk is read;
    `verified` is true, or false with the refusal's diagnostics under `refusal`. A refusal that
    leaves nothing to describe is raised.

    Raises:
        BundleRefused: the file cannot be read as a bundle at all.
    """
    found = _look(path)
    if trust is not None:
        found |= _verdict(path, trust)
    return found


def verify_whole(path: Path, trust: TrustView) -> dict[str, Any]:
    """Verify signatures and every chunk; return who signed. Raises BundleRefused."""
    with open_bundle(path, trust, audience=None, kinds=frozenset(Kind)) as bundle:
        bundle.check_all()
        return {"verified": True, "signed_by": bundle.site or bundle.manifest.producer}


def _verdict(path: Path, trust: TrustView) -> dict[str, Any]:
    try:
        return verify_whole(path, trust) | {"trust_version": trust.version}
    except BundleRefused as error:
        return {
            "verified": False,
            "trust_version": trust.version,
            "refusal": error.diagnostics(),
        }


def _look(path: Path) -> dict[str, Any]:
    where = str(path)
    descriptor, size = open_plain(path, BUNDLE_BYTES_MAX)
    try:
        head, (manifest_bytes, signatures_bytes) = read_parts(
            descriptor, size, where, frozenset(Kind)
        )
        manifest = manifests.decode(manifest_bytes, where=where)
        places = read_places(descriptor, head, manifest, where)
        signatures = read_signatures(signatures_bytes, where)
    finally:
        os.close(descriptor)
    return {
        "path": where,
        "id": bundle_id(manifest_bytes),
        "file_bytes": size,
        "manifest_bytes": len(manifest_bytes),
        "verified": None,
        "keys": [one.key.hex() for one in signatures],
        **_manifest(manifest),
        "chunks": _chunks(manifest, places),
    }


def _manifest(manifest: Manifest) -> dict[str, Any]:
    epoch = manifest.epoch
    return {
        "kind": manifest.kind.value,
        "format": manifest.format,
        "reader_min": manifest.reader_min,
        "producer": manifest.producer,
        "audience": manifest.audience,
        "stream": manifest.stream.hex(),
        "sequence": manifest.sequence,
        "previous": manifest.previous.hex(),
        "created_us": manifest.created_us,
        "epoch": None if epoch is None else {"counter": epoch.counter, "nonce": epoch.nonce.hex()},
        "commit": manifest.commit,
        "lifetime_ms": manifest.lifetime_ms,
        "raw_bytes": manifest.raw_bytes(),
        "segments": [
            {
                "digest": one.digest.hex(),
                "pilot_run": one.pilot_run.hex(),
                "batch_id": one.batch_id,
                "lease": one.lease.hex(),
                "work": one.work,
                "salvaged": not one.pilot_signature,
            }
            for one in manifest.segments
        ],
        "introduces": [one.hex() for one in manifest.introduces],
        "refers": [one.hex() for one in manifest.refers],
        "receipts": [
            {
                "stream": one.stream.hex(),
                "merged": _runs(one.merged),
                "safe": _runs(one.safe),
                "parked": _runs(one.parked),
                "refused": [[sequence, code] for sequence, code in one.refused],
            }
            for one in manifest.receipts
        ],
        "received": {stream.hex(): _runs(numbers) for stream, numbers in manifest.received},
        "rules": None
        if manifest.rules is None
        else {
            "network": manifest.rules.network,
            "node_hours_max_milli": manifest.rules.node_hours_max_milli,
        },
        "tombstones": list(manifest.tombstones),
        "trust_bytes": len(manifest.trust),
        "unknown": [name for name, _ in manifest.unknown],
    }


def _chunks(manifest: Manifest, places: tuple[Place, ...]) -> list[dict[str, Any]]:
    return [
        {
            "kind": entry.kind,
            "name": entry.name,
            "records": entry.records,
            "raw_bytes": entry.raw_bytes,
            "stored_bytes": place.stored_bytes,
            "codec": place.codec.name.lower(),
            "digest": entry.digest.hex(),
        }
        for entry, place in zip(manifest.chunks, places, strict=True)
    ]


def _runs(numbers: IntervalSet) -> list[list[int]]:
    return numbers.to_wire()
