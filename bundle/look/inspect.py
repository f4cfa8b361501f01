"""What `pulk bundle inspect` and `verify` say of a bundle, as plain values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bundle.errors import PulkError
from bundle.look.contents import Contents, contents
from bundle.look.effect import effect
from bundle.look.opened import open_to_look, open_unvouched
from bundle.look.records import trust_versions
from bundle.look.signers import signatures
from bundle.look.words import receipt
from bundle.trust.trust_file import TrustView
from bundle.wire.errors import BundleRefused
from bundle.wire.header import HEADER_BYTES, ROW_BYTES
from bundle.wire.manifest import Manifest
from bundle.wire.read import OpenBundle

Facts = dict[str, Any]
Advance = Callable[[int], None]


def silent(_amount: int) -> None:
    """Tell nobody."""


def describe(path: Path, trust: TrustView | None = None, advance: Advance = silent) -> Facts:
    """Return what a bundle says of itself, and with `trust` whether that can be believed.

    Without trust, nobody is asked and `verified` is null. With trust every chunk that is in this
    copy is read; `verified` is true, or false with the refusal's diagnostics under `refusal`. A
    refusal that leaves nothing to describe is raised. `advance` is told the stored bytes of each
    chunk that was verified.

    Raises:
        BundleRefused: the file cannot be read as a bundle at all.
    """
    bundle, refusal = _open(path, trust)
    with bundle:
        if trust is not None and refusal is None:
            refusal = _damage(bundle, advance)
        verdict = _verdict(bundle, trust, refusal)
        found = contents(bundle)
        return {
            "path": str(path),
            "id": bundle.id,
            **verdict,
            **manifest_facts(bundle.manifest),
            "signatures": signatures(bundle, trust),
            "file_bytes": file_bytes(bundle),
            "manifest_bytes": len(bundle.manifest_bytes),
            "absent": bundle.absent(),
            "totals": _totals(bundle, found),
            "effect": {
                "mood": "would" if verdict["verified"] else "claims to",
                "phrases": effect(bundle.manifest, found),
            },
            "problems": found.problems,
            "chunks": chunk_rows(bundle),
        }


def verify_whole(
    path: Path, trust: TrustView, *, partial: bool = False, advance: Advance = silent
) -> Facts:
    """Verify signatures and every chunk; return what was verified.

    With `partial`, chunks may be absent from this copy, and `present` says how many are there.
    Raises BundleRefused.
    """
    with open_to_look(path, trust) as bundle:
        check(bundle, partial=partial, advance=advance)
        chunks = len(bundle.places)
        return {
            "verified": True,
            "signed_by": bundle.site or bundle.manifest.producer,
            "id": bundle.id,
            "kind": bundle.manifest.kind.value,
            "chunks": chunks,
            "present": chunks - len(bundle.absent()),
        }


def check(bundle: OpenBundle, *, partial: bool, advance: Advance = silent) -> None:
    """Verify every chunk, or with `partial` those that are in this copy. Raises BundleRefused."""
    for place, stored in enumerate(bundle.places):
        if partial and not bundle.present(place):
            continue
        bundle.check_chunk(place)
        advance(stored.stored_bytes)


def manifest_facts(manifest: Manifest) -> Facts:
    """Return every field of a manifest but its chunks as plain values."""
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
        "certificate": manifest.certificate.hex(),
        "segments": [
            {
                "digest": one.digest.hex(),
                "pilot_run": one.pilot_run.hex(),
                "pilot_key": one.pilot_key.hex(),
                "batch_id": one.batch_id,
                "lease": one.lease.hex(),
                "work": one.work,
                "salvaged": not one.pilot_signature,
                "telemetry": one.telemetry,
            }
            for one in manifest.segments
        ],
        "introduces": [one.hex() for one in manifest.introduces],
        "refers": [one.hex() for one in manifest.refers],
        "receipts": [
            {
                "stream": one.stream.hex(),
                "merged": one.merged.to_wire(),
                "safe": one.safe.to_wire(),
                "parked": one.parked.to_wire(),
                "refused": [[sequence, code] for sequence, code in one.refused],
                "words": receipt(one),
            }
            for one in manifest.receipts
        ],
        "received": {stream.hex(): numbers.to_wire() for stream, numbers in manifest.received},
        "rules": None
        if manifest.rules is None
        else {
            "network": manifest.rules.network,
            "node_hours_max_milli": manifest.rules.node_hours_max_milli,
            "maximum": asdict(manifest.rules.maximum),
        },
        "tombstones": list(manifest.tombstones),
        "called_off": [lease.hex() for lease in manifest.called_off],
        "called_off_tasks": [
            [lease.hex(), step, jobs.to_wire()] for lease, step, jobs in manifest.called_off_tasks
        ],
        "edits": [
            {
                "dataset": one.dataset,
                "document": one.document.hex(),
                "epoch": one.epoch.counter,
                "commit": one.commit,
            }
            for one in manifest.edits
        ],
        "trust_bytes": len(manifest.trust),
        "trust_versions": _trust_versions(manifest.trust),
        "unknown": [name for name, _ in manifest.unknown],
    }


def chunk_rows(bundle: OpenBundle) -> list[Facts]:
    """Return one row for each chunk, in the manifest's order."""
    return [
        {
            "place": place,
            "kind": entry.kind,
            "name": entry.name,
            "records": entry.records,
            "raw_bytes": entry.raw_bytes,
            "stored_bytes": stored.stored_bytes,
            "codec": stored.codec.name.lower(),
            "digest": entry.digest.hex(),
        }
        for place, (entry, stored) in enumerate(
            zip(bundle.manifest.chunks, bundle.places, strict=True)
        )
    ]


def file_bytes(bundle: OpenBundle) -> int:
    """Return the size of a bundle's file."""
    parts = HEADER_BYTES + len(bundle.manifest_bytes) + len(bundle.signatures_bytes)
    return parts + sum(ROW_BYTES + one.stored_bytes for one in bundle.places)


def _open(path: Path, trust: TrustView | None) -> tuple[OpenBundle, BundleRefused | None]:
    """Return the bundle, and why the trust file refuses it."""
    try:
        return open_to_look(path, trust), None
    except BundleRefused as error:
        if trust is None:
            raise
        return open_unvouched(path), error


def _damage(bundle: OpenBundle, advance: Advance) -> BundleRefused | None:
    """Return what is wrong with the chunks that are in this copy."""
    try:
        check(bundle, partial=True, advance=advance)
    except BundleRefused as error:
        return error
    return None


def _verdict(bundle: OpenBundle, trust: TrustView | None, refusal: BundleRefused | None) -> Facts:
    if trust is None:
        return {"verified": None}
    found: Facts = {"verified": refusal is None, "trust_version": trust.version}
    if refusal is not None:
        return found | {"refusal": refusal.diagnostics()}
    return found | {"signed_by": bundle.site or bundle.manifest.producer}


def _totals(bundle: OpenBundle, found: Contents) -> Facts:
    return {
        "chunks": len(bundle.places),
        "absent": len(bundle.absent()),
        "records": sum(entry.records for entry in bundle.manifest.chunks),
        "files": found.files,
        "file_bytes": found.file_bytes,
        "files_absent": found.files_absent,
        "shards": found.shards,
        "tasks": found.tasks.total(),
        "segments": found.segments,
        "attempts": found.fates.total(),
        "fates": dict(found.fates),
        "samples": found.samples,
    }


def _trust_versions(chain: bytes) -> list[int]:
    if not chain:
        return []
    try:
        return trust_versions(chain)
    except PulkError:
        return []  # `trust_bytes` still tells that there is one
