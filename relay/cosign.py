"""A site that demands co-signatures: users' word, and not central's alone, makes it run anything.

Every document in a work bundle must be co-signed by enough of the site's listed keys, and every
lease must expand from such a document. A thief of central's key can then only have run again what
the users asked for. A document that only tells of an edit is passed over without them.
"""

from __future__ import annotations

from collections.abc import Collection

from bundle.dataset import graph, spec
from bundle.dataset.spec import Dataset
from bundle.dataset.spec_hash import spec_hash
from bundle.errors import PulkError
from bundle.records.lease import Lease
from bundle.trust import cosignature
from bundle.trust.errors import TrustRefused
from bundle.wire.read import OpenBundle
from relay import delta
from relay.config import Config
from relay.home import Home

KEY_HEX_SHOWN = 16


class CosignatureMissing(PulkError):
    """A dataset is not co-signed by enough of the keys that this site demands in relay.toml."""

    code = "cosignature-missing"
    what = "dataset {dataset} has {found} of {required} co-signatures; none by {missing}"
    remedy = (
        "have the document co-signed (`pulk dataset cosign`) and submitted with --cosignature; "
        "nothing of the bundle was used"
    )


class LeaseOutsideDocument(PulkError):
    """A lease promises what its co-signed document does not say. Central's key may be stolen."""

    code = "lease-outside-document"
    what = "lease {lease} does not expand from its co-signed document: {reason}"
    remedy = "tell central's operator at once; nothing of the bundle was used"


def demand(config: Config) -> dict[str, str]:
    """Return what the site's report says of it, so that central packs what may run here."""
    demanded = config.trust
    if not demanded.cosignatures_required:
        return {}
    keys = sorted({key.hex() for key in demanded.cosigners})
    return {cosignature.DEMAND: " ".join([str(demanded.cosignatures_required), *keys])}


def check(home: Home, bundle: OpenBundle, promised: Collection[Lease]) -> frozenset[bytes] | None:
    """Let a bundle pass that the site's co-signers stand behind; nothing is demanded by default.

    Returns the documents that they co-signed, by digest; None where nothing is demanded.

    Args:
        home: the relay, whose relay.toml says which keys and how many.
        bundle: a verified work bundle that is complete here.
        promised: its leases.

    Raises CosignatureMissing, LeaseOutsideDocument.
    """
    demanded = home.config.trust
    if not demanded.cosignatures_required:
        return None
    listed = frozenset(demanded.cosigners)
    signed = _signed(bundle, listed)
    news = {one.document for one in bundle.manifest.edits}
    news -= {lease.dataset_digest for lease in promised}
    documents: dict[bytes, Dataset] = {}
    for place in bundle.find(delta.DATASET):
        entry = bundle.manifest.chunks[place]
        if entry.digest in news:
            continue
        keys = signed.get(entry.digest, frozenset())
        if len(keys) < demanded.cosignatures_required:
            missing = ", ".join(sorted(key.hex()[:KEY_HEX_SHOWN] for key in listed - keys))
            raise CosignatureMissing(
                where=str(bundle.path),
                dataset=entry.name,
                digest=entry.digest.hex(),
                found=len(keys),
                required=demanded.cosignatures_required,
                missing=missing,
            )
        if entry.digest not in documents:
            documents[entry.digest] = spec.decode(delta.document(home, bundle, place))
            graph.check(documents[entry.digest])
    hashes: dict[tuple[bytes, int], bytes] = {}
    for lease in promised:
        reason = _problem(lease, documents.get(lease.dataset_digest), hashes)
        if reason:
            lease_hex = lease.lease.hex()
            raise LeaseOutsideDocument(where=str(bundle.path), lease=lease_hex, reason=reason)
    enough = demanded.cosignatures_required
    return frozenset(one for one, keys in signed.items() if len(keys) >= enough)


def _signed(bundle: OpenBundle, listed: frozenset[bytes]) -> dict[bytes, frozenset[bytes]]:
    """Return by document which of the listed keys co-signed it; what does not hold counts for none.

    A key counts once, however many records it stands in.
    """
    found: dict[bytes, frozenset[bytes]] = {}
    for place in bundle.find(cosignature.CHUNK):
        try:
            one = cosignature.read(bundle.chunk(place), where=str(bundle.path))
        except TrustRefused:
            continue
        found[one.digest] = found.get(one.digest, frozenset()) | (one.keys & listed)
    return found


def _problem(lease: Lease, document: Dataset | None, hashes: dict[tuple[bytes, int], bytes]) -> str:
    """Return why a lease is not of a document, or nothing; `hashes` keeps what was computed."""
    if document is None:
        return "the document is not in the bundle"
    leased = {step for block in lease.blocks for step in block.steps}
    if leased != {step for step, _ in lease.spec_hashes}:
        return "it gives spec hashes for other steps than it promises"
    for block in lease.blocks:
        last = block.jobs.spans[-1][1] if block.jobs.spans else 0
        for step in block.steps:
            if step >= len(document.steps):
                return f"there are {len(document.steps)} steps, it promises step {step}"
            if last > document.tasks_of(step):
                return (
                    f"step {step} has {document.tasks_of(step)} tasks, it promises job {last - 1}"
                )
    for step, given in lease.spec_hashes:
        key = (lease.dataset_digest, step)
        if key not in hashes:
            hashes[key] = spec_hash(document, step)
        if hashes[key] != given:
            return f"step {step} has another spec hash"
    return ""
