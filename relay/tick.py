"""One tick: everything a relay does, once. State is files; after a kill anywhere, tick again.

Order: lock, recover, bring back, collect, salvage, results, offer, report, carry, accept, offer,
staff, retire.
Trouble on the way to central is only told: the rest of a tick needs no network.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from relay import (
    accept,
    claims,
    custody,
    edits,
    emergency,
    holding,
    lock,
    offer,
    page,
    resync,
    retire,
    returns,
    roster,
    status,
    stream,
    works,
)
from relay.carrier.contract import Carrier
from relay.carrier.opening import carrier as carrier_of
from relay.carrying import carry
from relay.collect import Collected, collect
from relay.core.custody import LOSSY, Deed, Place
from relay.core.shards import is_over
from relay.home import Home, make_spool
from relay.report import report
from relay.results import publish_results
from relay.roster import Roster
from relay.salvage import salvage
from relay.sources import Sources
from relay.staff import drop_gone, staff
from relay.stream import Record
from relay.works import Work
from site_adapters.contract import PilotView


@dataclass(frozen=True, slots=True)
class Ticked:
    """What one tick did. `trouble`: why central could not be reached, or nothing.

    `idle`: nothing is left to do here: no work, nothing to send, nothing that is not safe. At a
    site without a carrier, what waits for a stick does not count.
    """

    collected: int = 0
    salvaged: int = 0
    offered: int = 0
    results: int = 0
    sent: int = 0
    freed: int = 0
    fetched: int = 0
    accepted: int = 0
    refused: int = 0
    started: int = 0
    retired: int = 0
    idle: bool = False
    trouble: str = ""

    def document(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)


def tick(home: Home, carrier: Carrier | None = None, *, at_once: bool = False) -> Ticked:
    """Do everything once, with a carrier in place of the one that relay.toml names, if given.

    `at_once`: try to reach central though failures of late say to wait.

    Raises OtherTick, and PulkError where the spool itself is unusable.
    """
    make_spool(home.spool)
    with lock.held(home):
        stream.recover(home.spool)
        views = returns.bring(home, home.adapter.survey())
        here = roster.read(home.spool)  # after the survey: who is gone by it had come before
        live = works.live(home.spool)
        resync.resync(home)
        collected, salvaged, results = gather(home, live, views, here)
        offered = offer.offer(home, live)
        report(home, live, views, force=False)
        carrier = carrier or carrier_of(home)
        carried = carry(home, carrier, at_once=at_once)
        taken = accept.accept_all(home)
        if taken.bundles:
            custody.tend(home, None)  # the receipts that just came
            live = works.live(home.spool)
            offered += offer.offer(home, live)
        holding.note(home.spool, here)
        started = staff(home, views, live, here)
        retired = retire.retire(home, live)
        _tidy(home, views, here)
        status.note_tick(home.spool)
        page.write(home, None if started else views)
        return Ticked(
            collected=collected,
            salvaged=salvaged,
            offered=offered,
            results=len(results),
            sent=carried.done[Deed.SEND],
            freed=carried.done[Deed.DELETE],
            fetched=carried.fetched,
            accepted=taken.bundles,
            refused=taken.refused,
            started=started,
            retired=retired,
            idle=not carried.trouble and not carried.fetched and _is_idle(home, carrier),
            trouble=carried.trouble,
        )


def gather(
    home: Home, live: list[Work], views: Mapping[str, PilotView], here: Roster | None = None
) -> tuple[int, int, list[Record]]:
    """Collect seals, salvage dead pilots, pack result bundles.

    Returns how many seals and pilots, and the new bundles.
    """
    emergency.bring(home)
    with Sources(home.spool, home.trust(), home.site) as sources:
        found: dict[str, Collected] = {one.path.name: one for one in collect(home, live, sources)}
        salvaged = salvage(home, live, views, here)
        if salvaged:  # the seals that salvage made
            found = {one.path.name: one for one in collect(home, live, sources)} | found
        results = publish_results(home, list(found.values()), sources) if found else []
    return len(found), salvaged, results


def _tidy(home: Home, views: Mapping[str, PilotView], here: Roster) -> None:
    drop_gone(home, views, here)
    edits.prune(home)
    retire.sweep(home)


def _is_idle(home: Home, carrier: Carrier | None) -> bool:
    """Return whether only others can go on: whoever plans, or whoever carries the stick."""
    spool = home.spool
    if any(spool.folder("in").iterdir()):
        return False
    if any(
        carrier or not is_over(one.plans, works.ended(spool, one.id)) for one in works.live(spool)
    ):
        return False
    if any(spool.folder("sealed").iterdir()):
        return False
    if any(spool.claim(run).exists() for run in claims.pilot_runs(spool)):
        return False
    held = custody.every_held(spool) if carrier else ()
    return not any(one.kind not in LOSSY and one.place is not Place.REJECTED for one in held)
