"""The exchange over a directory: what HTTPS does with a site, done with files on a medium."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bundle.ids import BundleId, SiteName
from bundle.media.choose import PART_BYTES_MAX
from bundle.media.copy import Progress, failing, lay_checked, silent
from bundle.media.errors import Damaged, MediumFailed
from bundle.media.facts import Facts
from bundle.media.fill import Filled, Filling, fill
from bundle.media.gaps import numbers
from bundle.media.goods import goods_of
from bundle.media.take import Became, Reception, take
from bundle.media.take import Came as Taken
from bundle.wire.manifest import CENTRAL, CENTRALS_OWN, SITES_OWN
from central import sidecars
from central.authority import Authority
from central.core.receipts import Outcome
from central.home import Home
from central.parking import Disposition

SUFFIX = ".pulk"
KEPT = frozenset({Outcome.MERGED.value, Outcome.PARKED.value})
ANSWERED = (Became.LANDED, Became.KNOWN)
PARTS = "parts"  # a folder of central's: parts of sites' bundles that wait for the rest
CARRIED = "carried"  # what went out on media, so that the next one goes on

__all__ = ["Came", "Left", "MediumFailed", "absorb_all", "is_taken", "lay", "leave_outboxes"]


@dataclass(frozen=True, slots=True)
class Came:
    """What became of one file.

    `outcome` is merged, parked or refused; skipped (meant for somebody else), waiting (parts of a
    bundle whose rest is still to come) or unfinished (a copy that was broken off).
    """

    file: str
    outcome: str
    code: str
    text: str


@dataclass(frozen=True, slots=True)
class Left:
    """A bundle that a site waits for; `carried`: all of it is on this medium or on earlier ones."""

    site: SiteName
    bundle: BundleId
    size_bytes: int
    carried: bool


def absorb_all(
    authority: Authority,
    home: Home,
    source: Path,
    *,
    remove: bool = False,
    progress: Progress = silent,
) -> list[Came]:
    """Take every bundle below a directory, whatever it is called.

    Nothing there is changed, unless `remove`: then what central has in its own custody now goes.

    Each site that brought anything is to have an answer: without it what it brought comes again
    with every trip. Raises MediumFailed.
    """
    came: list[Came] = []
    owed: set[SiteName] = set()
    for one in take(source, _reception(authority, home, progress)):
        found = list(_absorb(authority, one))
        came += found
        if one.became in ANSWERED and one.facts is not None and one.facts.kind in SITES_OWN:
            owed.add(SiteName(one.facts.producer))
        if one.became in ANSWERED and one.facts is not None:
            for name in one.files:
                beside = (source / name).with_suffix(sidecars.SUFFIX)
                sidecars.keep(home, one.facts.id, beside)
        if remove and (one.became is Became.KNOWN or {row.outcome for row in found} & KEPT):
            _remove(source, one)
    if owed:
        authority.owe(owed)
    return came


def _remove(source: Path, one: Taken) -> None:
    """Remove the files of a bundle from an exchange folder, and who carried it."""
    with failing("removing", source):
        for name in one.files:
            (source / name).unlink(missing_ok=True)
            (source / name).with_suffix(sidecars.SUFFIX).unlink(missing_ok=True)


def leave_outboxes(
    authority: Authority,
    home: Home,
    sites: list[SiteName],
    target: Path,
    *,
    size_bytes: int | None = None,
    part_bytes: int = PART_BYTES_MAX,
    progress: Progress = silent,
) -> tuple[list[Left], Filled]:
    """Write the sites' outboxes into a directory, as far as they fit. Raises MediumFailed.

    What was never carried comes first, so that the next medium goes on where this one ended.
    """
    with failing("making the directory", target):
        target.mkdir(parents=True, exist_ok=True)
    waiting = {bundle.id: site for site in sites for bundle in authority.outbox(site)}
    goods = goods_of(authority.outgoing(site, one) for one, site in waiting.items())
    how = Filling(
        memory=home.root / CARRIED,
        by="central (pulk central exchange)",
        size_bytes=size_bytes,
        part_bytes=part_bytes,
        progress=progress,
    )
    filled = fill(goods, target, how)
    wares = [good.ware for good in goods]
    left = [
        Left(waiting[one.facts.id], one.facts.id, one.file_bytes, one.facts.id in filled.carried)
        for one in wares
    ]
    return left, filled


def lay(bundle: Path, target: Path, name: BundleId) -> Path:
    """Copy a bundle into a directory, whole, synced and read back. Raises MediumFailed."""
    with failing("making the directory", target):
        target.mkdir(parents=True, exist_ok=True)
    return lay_checked(bundle, target, f"{name}{SUFFIX}")


def _reception(authority: Authority, home: Home, progress: Progress) -> Reception:
    def known(bundle: BundleId) -> bool:
        return authority.known(bundle) is not None

    def meant(facts: Facts) -> str:
        if facts.kind in CENTRALS_OWN:
            return "a bundle of central's own, meant for a site"
        return "" if facts.audience in ("", CENTRAL) else f"meant for {facts.audience}"

    return Reception(
        into=home.uploads,
        parts=home.root / PARTS,
        quarantine=home.quarantine,
        known=known,
        meant=meant,
        judge=authority.check,
        progress=progress,
    )


def _absorb(authority: Authority, one: Taken) -> Iterator[Came]:
    """Yield what became of each file of one bundle."""
    outcome, code, text = _outcome(authority, one)
    if outcome:
        for name in one.files:
            yield Came(name, outcome, code, text)


def _outcome(authority: Authority, one: Taken) -> tuple[str, str, str]:
    found: Disposition | None = None
    match one.became:
        case Became.LANDED if one.path is not None:
            with failing("taking", one.path):
                try:
                    found = authority.absorb(one.path)
                finally:
                    one.path.unlink(missing_ok=True)
        case Became.KNOWN if one.facts is not None:
            found = authority.known(one.facts.id)
        case Became.KEPT if one.facts is not None:
            chunks = f"chunks {numbers(one.missing)} of {one.facts.chunks} are still missing"
            if one.is_refused:
                text = f"the rest of it is kept, {chunks}; damaged: {', '.join(one.damaged)}"
                return Became.REFUSED.value, Damaged.code, text
            return "waiting", "", chunks
        case Became.ELSEWHERE:
            return "skipped", "", one.text
        case Became.FOREIGN:
            return "", "", ""
    if found is not None:
        return found.outcome.value, found.code, found.text
    return one.became.value, one.code, one.text


def is_taken(came: list[Came]) -> bool:
    """Whether all that looked like a bundle was taken."""
    return all(one.outcome != Became.REFUSED for one in came)
