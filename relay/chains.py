"""Central's chain of commits as this site saw it: two that part ways are both refused.

Two centrals that run with one key, or one that was set back without knowing it, say different
things under one number. Neither is taken until a person decides: `pulk relay heed` here, or
`pulk central take-over` there, which begins a later epoch. What was merged before stays.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from bundle.errors import PulkError
from bundle.ids import BundleId, Epoch
from bundle.intervals import IntervalSet
from bundle.records.head import OUTVOTED
from bundle.spool.layout import Spool
from bundle.wire.manifest import Manifest
from relay import state

EPOCHS_MAX = 64  # that are remembered, the latest


class CentralForked(PulkError):
    """Two centrals speak with one key, or one was set back unnoticed: their words contradict.

    Let central's operator find out which one counts and run `pulk central take-over` there, or
    decide here with `pulk relay heed`. Results are kept meanwhile, and work goes on.
    """

    code = "central-forked"
    transient = True
    what = "central's epoch {epoch} contradicts what came before: {reason}"
    remedy = "ask central's operator to run `pulk central take-over`, or use `pulk relay heed`"


class ChainRefused(PulkError):
    """The work bundle is of a central that was outvoted by a later epoch. Nothing of it is used."""

    code = OUTVOTED
    what = "epoch {epoch} was forked, and a later one is heeded here"
    remedy = "nothing; if it is the right one, run `pulk relay heed` with its epoch"


class NoSuchEpoch(PulkError):
    """`pulk relay heed` names an epoch that never came. `pulk relay status` lists them."""

    code = "no-such-epoch"
    what = "{text!r} names {found} of the epochs that came here"
    remedy = "give more digits of an epoch that `pulk relay status` shows"


@dataclass(frozen=True, slots=True)
class Chains:
    """The epochs that came, those that contradicted another, and those a person chose."""

    heard: tuple[Epoch, ...] = ()
    forked: frozenset[bytes] = frozenset()  # nonces
    heeded: frozenset[bytes] = frozenset()

    def undecided(self) -> list[Epoch]:
        """Return the forked epochs that no later one has settled."""
        good = [one.counter for one in self.heard if one.nonce not in self.forked]
        newest = max(good, default=-1)
        return [one for one in self.heard if one.nonce in self.forked and one.counter > newest]


def read(spool: Spool) -> Chains:
    """Return what is known of central's chain."""
    value = state.read_map(state.folder(spool) / "chains")
    if value is None:
        return Chains()
    heard = tuple(Epoch(row.count(0), row.bytes(1)) for row in value.readers("heard"))
    forked, heeded = value.bytes("forked"), value.bytes("heeded")
    return Chains(heard, _nonces(forked), _nonces(heeded))


def check(spool: Spool, manifest: Manifest, bundle: BundleId) -> None:
    """Note the epoch of a verified work bundle. Raises CentralForked, ChainRefused."""
    epoch = manifest.epoch
    if epoch is None:
        return
    known = read(spool)
    fresh, reason = _join(spool, known, epoch, manifest, bundle)
    if fresh != known:
        _write(spool, fresh)
    if epoch.nonce not in fresh.forked:
        return
    if epoch in fresh.undecided():
        raise CentralForked(where=bundle, epoch=words(epoch), reason=reason or "as said before")
    raise ChainRefused(where=bundle, epoch=words(epoch))


def heed(spool: Spool, text: str) -> Epoch:
    """Take the epoch that a person chose, and no other of its number. Raises NoSuchEpoch."""
    known = read(spool)
    found = [one for one in known.heard if words(one).startswith(text) and text]
    if len(found) != 1:
        raise NoSuchEpoch(text=text, found=len(found))
    (epoch,) = found
    rivals = {one.nonce for one in known.heard if one.counter == epoch.counter} - {epoch.nonce}
    chosen = known.heeded - rivals | {epoch.nonce}
    _write(spool, replace(known, forked=known.forked - {epoch.nonce} | rivals, heeded=chosen))
    return epoch


def words(epoch: Epoch) -> str:
    """Return an epoch as people type it: number and the first digits of its nonce."""
    return f"{epoch.counter}.{epoch.nonce.hex()[:12]}"


def _join(
    spool: Spool, known: Chains, epoch: Epoch, manifest: Manifest, bundle: BundleId
) -> tuple[Chains, str]:
    """Return what is known with one more bundle, and in what it contradicts the others."""
    heard = known.heard
    if epoch not in heard:
        heard = tuple(sorted({*heard, epoch}))[-EPOCHS_MAX:]
    rivals = {
        one.nonce for one in heard if one.counter == epoch.counter and one.nonce != epoch.nonce
    }
    joined = replace(known, heard=heard)
    if rivals - known.forked:
        forked = (known.forked | rivals | {epoch.nonce}) - known.heeded
        return replace(joined, forked=forked), "there are two epochs of this number"
    came = state.read_received(spool).get(manifest.stream, IntervalSet())
    is_other = manifest.sequence in came and not state.is_seen(spool, bundle)
    if is_other and epoch.nonce not in known.heeded:
        reason = f"another bundle came as number {manifest.sequence}"
        return replace(joined, forked=known.forked | {epoch.nonce}), reason
    return joined, ""


def _write(spool: Spool, known: Chains) -> None:
    value = {
        "heard": [list(one) for one in known.heard],
        "forked": b"".join(sorted(known.forked)),
        "heeded": b"".join(sorted(known.heeded)),
    }
    state.write_map(spool, state.folder(spool) / "chains", value)


def _nonces(raw: bytes) -> frozenset[bytes]:
    return frozenset(raw[at : at + 16] for at in range(0, len(raw), 16))
