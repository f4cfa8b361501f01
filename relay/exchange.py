"""Export to and import from a directory: a tick's two ends for a courier with a stick."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bundle.ids import BundleId
from bundle.media.choose import PART_BYTES_MAX
from bundle.media.copy import Progress, silent
from bundle.media.facts import Facts
from bundle.media.fill import Filled, Filling
from bundle.media.take import Became, Came, Reception
from bundle.wire.errors import BundleRefused
from bundle.wire.manifest import SITES_OWN
from relay import accept, custody, delta, lock, offer, resync, returns, state, stream, works
from relay.carrier.contract import Outgoing
from relay.carrier.directory import DirectoryCarrier
from relay.carrying import fetch
from relay.core.custody import Place
from relay.home import Home, make_spool
from relay.report import report
from relay.tick import gather


@dataclass(frozen=True, slots=True)
class Exported:
    """What was carried: bundles, those still unanswered from earlier included on request."""

    bundles: int
    left: int  # still in out/
    filled: Filled


@dataclass(frozen=True, slots=True)
class Imported:
    """What came: work bundles taken, shards new here, what was refused; and file by file."""

    bundles: int
    shards: int
    refused: int
    came: tuple[Came, ...]


def export_to(
    home: Home,
    target: Path,
    *,
    again: bool = False,
    size_bytes: int | None = None,
    part_bytes: int = PART_BYTES_MAX,
    progress: Progress = silent,
) -> Exported:
    """Pack what is ready, report, copy what is in `out/`; `again`: also what was sent before.

    A bundle counts as sent once all of it was read back from this medium, or from this one and
    those before it. Custody ends with central's receipt alone. Raises OtherTick, MediumFailed.
    """
    make_spool(home.spool)
    with lock.held(home):
        stream.recover(home.spool)
        views = returns.bring(home, home.adapter.survey())
        live = works.live(home.spool)
        resync.resync(home)
        gather(home, live, views)
        offer.offer(home, live)
        report(home, live, views, force=True)
        custody.tend(home, None)
        if again:
            custody.take_back(home)
        held = custody.in_order(home.spool)
        ready = [one for one in held if one.place is Place.OUT]
        how = Filling(
            memory=state.folder(home.spool) / "carried",
            by=f"site {home.site} (pulk relay export)",
            known=frozenset(one.id for one in held),
            size_bytes=size_bytes,
            part_bytes=part_bytes,
            progress=progress,
        )
        carrier = DirectoryCarrier(target, None)
        out = home.spool.folder(Place.OUT)
        goods = [Outgoing(one.id, out / custody.file_name(one)) for one in ready]
        filled = carrier.fill(goods, how)
        carried = [one for one in ready if one.id in filled.carried]
        sent = sum(custody.send(home, carrier, one) for one in carried)
        return Exported(sent, len(ready) - sent, filled)


def import_from(home: Home, source: Path, *, progress: Progress = silent) -> Imported:
    """Take what is new in a directory into `in/` and accept it. Raises OtherTick, MediumFailed.

    Parts wait in `parts/` until the rest of their bundle comes.
    """
    make_spool(home.spool)
    with lock.held(home):
        carrier = DirectoryCarrier(None, source, _reception(home, progress))
        fetch(home, carrier)
        for one in carrier.came:
            _tell(home, one)
        taken = accept.accept_all(home)
        custody.tend(home, None)
        offer.offer(home, works.live(home.spool))
        refused = sum(one.is_refused for one in carrier.came)
        return Imported(taken.bundles, taken.shards, taken.refused + refused, tuple(carrier.came))


def _reception(home: Home, progress: Progress) -> Reception:
    def known(bundle: BundleId) -> bool:
        return accept.is_known(home, bundle)

    def meant(facts: Facts) -> str:
        if facts.kind in SITES_OWN:
            return "what a site sends, meant for central"
        return "" if facts.audience in ("", home.site) else f"meant for {facts.audience}"

    def judge(path: Path) -> None:
        accept.open_work(home, path).close()

    def is_whole(path: Path) -> bool:
        try:
            with accept.open_work(home, path) as bundle:
                delta.check(home, bundle)
        except BundleRefused:
            return False
        return True

    return Reception(
        into=home.spool.folder("in"),
        parts=home.parts,
        quarantine=home.spool.folder("quarantine"),
        known=known,
        meant=meant,
        judge=judge,
        is_whole=is_whole,
        progress=progress,
    )


def _tell(home: Home, came: Came) -> None:
    """Let the next report say what was refused, and what should come whole."""
    if came.became is Became.REFUSED:
        name = came.facts.id if came.facts else Path(came.files[0]).stem
        state.note_refusal(home.spool, name, came.code)
    bundle = came.facts.id if came.became is Became.KEPT and came.facts else None
    if bundle and bundle not in delta.wanted_whole(home.spool):
        delta.want_whole(home, bundle)  # it may be a delta for what is gone here
