"""Everything between a site and central: a line or somebody with a stick, and what befalls bundles.

A courier is the relay's carrier (see `relay.carrier.contract`). What it carries it does not
understand; what it forges it makes of what it saw.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from bundle.ids import BundleId, StreamId
from bundle.spool import publish
from bundle.trust.keys import MemoryKey
from bundle.wire.errors import BundleRefused
from relay.carrier.contract import Answer, Outgoing
from relay.errors import CarryFailed
from tests.simulation import forge
from tests.simulation.faults import Fault
from tests.simulation.machine import DAY_US, HOUR_US

if TYPE_CHECKING:
    from tests.simulation.site import Site


class Courier:
    """One site's way to central and back. `trip_us` 0: a line; else how long a trip takes."""

    def __init__(self, site: Site, trip_us: int) -> None:
        self.site, self.trip_us = site, trip_us
        self.away = False
        self._world = site.world
        self._chance: random.Random = site.world.machine.chance(f"courier {site.label}")
        self._mailbox: list[tuple[BundleId, bytes]] = []
        self._seen: list[tuple[BundleId, bytes]] = []  # work bundles that could come again
        self._last_us = 0

    # -- the relay's side ----------------------------------------------------------------

    def send(self, bundle: Outgoing) -> Answer | None:
        """See `contract.Carrier.send`."""
        if self.away:
            raise CarryFailed(method="send", reason="nobody comes")
        raw = bundle.path.read_bytes()
        with self._world.machine.apart():
            self._forge(raw)
            if self.trip_us:
                self._to_central(raw)
                return Answer.COPIED
            return self._call(raw)

    def fetch(self, is_known: Callable[[BundleId], bool], into: Path) -> Iterator[Path]:
        """See `contract.Carrier.fetch`."""
        if self.away:
            raise CarryFailed(method="fetch", reason="nobody comes")
        if not self.trip_us:
            with self._world.machine.apart():
                waiting = self._ask()
            for bundle, raw in waiting:
                if not is_known(bundle):
                    self._to_site(bundle, raw, 0)
        arrived, self._mailbox = self._mailbox, []
        for bundle, raw in arrived:
            path = into / f"{bundle}.pulk"
            publish.publish(publish.stage(self.site.spool.folder("tmp"), raw), path)
            yield path

    def _call(self, raw: bytes) -> Answer | None:
        """Send over the line and wait for the answer. Raises CarryFailed."""
        match self._mishap():
            case Fault.LOST:
                return Answer.CARRIED  # something on the way said yes
            case Fault.TORN:
                self._world.center.absorb(forge.torn(raw, self._chance))
                raise CarryFailed(method="send", reason="the line broke")
            case Fault.FLIPPED:
                self._world.center.absorb(forge.flipped(raw, self._chance))
                raise CarryFailed(method="send", reason="the line broke")
            case Fault.DUPLICATED:
                self._world.center.absorb(raw)
            case Fault.LATE:
                self._arrive_later(raw, 20 * DAY_US)
                return Answer.CARRIED
        if not self._world.center.is_up:
            self._world.fire(Fault.CENTRAL_AWAY, self.site.label)
            raise CarryFailed(method="send", reason="connection refused")
        found = self._world.center.absorb(raw)
        if found is None:
            raise CarryFailed(method="send", reason="connection reset")
        if self._world.faulty and self._chance.random() < 0.05:
            self._world.fire(Fault.ANSWER_LOST, self.site.label)
            raise CarryFailed(method="send", reason="connection reset")
        return Answer(found.outcome.value)

    def _ask(self) -> list[tuple[BundleId, bytes]]:
        found = self._world.center.outbox(self.site.name)
        if found is None:
            self._world.fire(Fault.CENTRAL_AWAY, self.site.label)
            raise CarryFailed(method="fetch", reason="connection refused")
        return found

    # -- the ways ------------------------------------------------------------------------

    def visit_central(self) -> None:
        """Take what central has for the site; it arrives after a trip."""
        if self.away:
            return
        for bundle, raw in self._world.center.outbox(self.site.name) or ():
            self._to_site(bundle, raw, self._trip())

    def _trip(self) -> int:
        return int(self.trip_us * self._chance.uniform(0.5, 1.5))

    def _to_central(self, raw: bytes) -> None:
        match self._mishap():
            case Fault.LOST:
                return
            case Fault.TORN:
                raw = forge.torn(raw, self._chance)
            case Fault.FLIPPED:
                raw = forge.flipped(raw, self._chance)
            case Fault.DUPLICATED:
                self._arrive_later(raw, self._trip())
            case Fault.LATE:
                self._arrive_later(raw, 20 * DAY_US)
                return
        self._arrive_later(raw, self._trip())

    def _arrive_later(self, raw: bytes, delay_us: int) -> None:
        at_us = self._world.machine.now_us + delay_us
        if at_us < self._last_us:
            self._world.fire(Fault.REORDERED, self.site.label)
        self._last_us = max(self._last_us, at_us)

        def arrive() -> None:
            if not self._world.center.is_up:
                self._world.machine.after(HOUR_US, arrive)
                return
            if self._world.center.absorb(raw) is None:
                self._world.machine.after(HOUR_US, arrive)  # central died over it

        self._world.machine.after(delay_us, arrive)

    def _to_site(self, bundle: BundleId, raw: bytes, delay_us: int) -> None:
        self._seen.append((bundle, raw))
        match self._mishap():
            case Fault.LOST:
                return
            case Fault.TORN:
                raw = forge.torn(raw, self._chance)
            case Fault.FLIPPED:
                raw = forge.flipped(raw, self._chance)
            case Fault.LATE:
                delay_us += 20 * DAY_US
            case Fault.DUPLICATED:
                self._land(bundle, raw, delay_us + HOUR_US)
        if self._world.faulty and self._chance.random() < 0.03:
            self._world.fire(Fault.REPLAYED, self.site.label)
            old, content = self._chance.choice(self._seen)
            self._land(BundleId(old[::-1]), content, delay_us)  # no site knows it by that name
        if self._world.faulty and self._chance.random() < 0.03 and len(self._world.sites) > 1:
            self._world.fire(Fault.OTHER_AUDIENCE, self.site.label)
            self._chance.choice(self._world.sites).courier._land(bundle, raw, delay_us)
        self._land(bundle, raw, delay_us)

    def _land(self, bundle: BundleId, raw: bytes, delay_us: int) -> None:
        def land() -> None:
            self._mailbox.append((bundle, raw))

        if delay_us:
            self._world.machine.after(delay_us, land)
        else:
            land()

    def _mishap(self) -> Fault | None:
        """Draw what befalls one bundle on one way."""
        if not self._world.faulty or self._chance.random() > self._world.plan.mishaps:
            return None
        kinds = (Fault.LOST, Fault.LATE, Fault.TORN, Fault.FLIPPED, Fault.DUPLICATED)
        fault = self._chance.choices(kinds, (5, 1, 2, 2, 3))[0]
        self._world.fire(fault, self.site.label)
        return fault

    # -- insiders ------------------------------------------------------------------------

    def _forge(self, raw: bytes) -> None:
        """Make something of a bundle that passes by, now and then; central must not fall for it."""
        world = self._world
        if not world.faulty or not world.center.is_up or self._chance.random() > world.plan.forging:
            return
        kinds = [Fault.FORGED_KEY, Fault.FOREIGN_LEASE, Fault.EQUIVOCATED]
        trust, folder = world.center.trust(), world.folder
        stolen = self.site.old_home
        if stolen is not None and trust.trust.revocation_of(stolen.signer.public):
            kinds += [Fault.STOLEN_KEY] * 3
        what = self._chance.choice(kinds)
        others = [one for one in world.sites if one.name != self.site.name]
        try:
            if what is Fault.FORGED_KEY:
                made = forge.signed_again(raw, trust, MemoryKey.generate(), folder)
            elif what is Fault.EQUIVOCATED:
                signer = self.site.home.signer
                at_us = world.machine.now_us + 1
                made = forge.signed_again(raw, trust, signer, folder, created_us=at_us)
                manifest = forge.manifest_in(raw, folder)
                world.equivocated.add((manifest.stream, manifest.sequence))
            elif what is Fault.STOLEN_KEY and stolen is not None:
                made = forge.signed_again(
                    raw, trust, stolen.signer, folder, certificate=stolen.certificate,
                    stream=StreamId(self._chance.randbytes(16)),
                )  # fmt: skip
            elif others and forge.manifest_in(raw, folder).segments:
                other = self._chance.choice(others)
                made = forge.signed_again(
                    raw, trust, other.home.signer, folder,
                    producer=other.name, certificate=other.home.certificate,
                    stream=StreamId(self._chance.randbytes(16)),
                )  # fmt: skip
            else:
                return
        except BundleRefused:
            return  # what it would be made of is not whole, or its key is revoked
        world.center.absorb_forged(made, what)
