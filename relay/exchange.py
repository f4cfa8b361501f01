"""Export to and import from a directory: a tick's two ends for a courier with a stick."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from relay import accept, custody, lock, offer, stream, works
from relay.accept import Accepted
from relay.carrier.directory import DirectoryCarrier
from relay.core.custody import Place
from relay.home import Home, make_spool
from relay.report import report
from relay.tick import fetch, gather


@dataclass(frozen=True, slots=True)
class Exported:
    """What was copied: bundles, those still unanswered from earlier included on request."""

    bundles: int
    left: int  # still in out/


def export_to(home: Home, target: Path, *, again: bool = False) -> Exported:
    """Pack what is ready, report, copy everything in `out/`; `again`: also what was sent before.

    Raises OtherTick, MediumFailed; what was copied by then counts as sent.
    """
    make_spool(home.spool)
    with lock.held(home):
        stream.recover(home.spool)
        views, live = home.adapter.survey(), works.live(home.spool)
        gather(home, live, views)
        offer.offer(home, live)
        report(home, live, views, force=True)
        custody.tend(home, None)
        if again:
            custody.take_back(home)
        carrier = DirectoryCarrier(target, None)
        ready = [one for one in custody.in_order(home.spool) if one.place is Place.OUT]
        sent = sum(custody.send(home, carrier, one) for one in ready)
        return Exported(sent, len(ready) - sent)


def import_from(home: Home, source: Path) -> Accepted:
    """Copy what is new in a directory into `in/` and accept it. Raises OtherTick, MediumFailed."""
    make_spool(home.spool)
    with lock.held(home):
        fetch(home, DirectoryCarrier(None, source))
        taken = accept.accept_all(home)
        custody.tend(home, None)
        offer.offer(home, works.live(home.spool))
        return taken
