"""What central does durably: each with what it starts from and what must be true after it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from bundle.fates import Fate
from bundle.ids import SiteName
from bundle.intervals import IntervalSet
from bundle.trust import enrolment
from bundle.trust.keys import MemoryKey
from bundle.wire.manifest import Kind
from bundle.wire.read import open_bundle
from central.core.facts import ControlWord
from tests.central.conftest import chain
from tests.central.scripted_site import Held, Played, ScriptedSite
from tests.kills.plant import Plant

JOBS = 3
DONE = [{"done": JOBS}, {"done": JOBS}, {"done": 1}]


@dataclass(frozen=True, slots=True)
class Act:
    """One durable transition.

    `do` says what central answers; done again it gives the same. Once it answered, `check` passes,
    and `counts`, `attempts` and `wall_ms` hold, however often it was begun: they come from what the
    sites played, not from central. `opens`: it opens central itself.
    """

    do: Callable[[Plant], str]
    counts: list[list[dict[str, int]]]
    attempts: int = 0
    wall_ms: int = 0
    opens: bool = False
    check: Callable[[Plant], None] = lambda _: None


def after(
    do: Callable[[Plant], str], counts: list[dict[str, int]], played: Iterable[Played]
) -> Act:
    """An act after which exactly these shards count."""
    every = [one for shard in played for one in shard.segment.attempts]
    return Act(do, [counts], len(every), sum(one.usage.wall_ms for one in every))


def bringing(
    bundles: list[Path],
    counts: list[dict[str, int]],
    played: Iterable[Played],
    outcome: str = "merged",
) -> Act:
    """Bring bundles: each is archived, and its disposition and its receipt say so."""

    def do(plant: Plant) -> str:
        for path in bundles:
            assert plant.bring(path) == outcome
        return outcome

    def check(plant: Plant) -> None:
        w = plant.authority._w
        for path in bundles:
            with open_bundle(path, w.trust, audience=None, kinds=frozenset(Kind)) as bundle:
                manifest, id_ = bundle.manifest, bundle.id
            assert manifest.sequence in w.store.bundles.receipt(manifest.stream).arrived()
            if manifest.kind is not Kind.REPORT:  # reports are lossy
                known = plant.authority.known(id_)
                assert known is not None and known.outcome == outcome
                assert w.archive.has(id_) == (outcome == "merged")

    return replace(after(do, counts, played), check=check)


def ask(plant: Plant, site: ScriptedSite) -> list[Held]:
    """Have a site get work."""
    assert plant.bring(site.report(100)) == "merged"
    return [one for one in site.fetch(plant.authority) if one.leases]


def playing(site: ScriptedSite, held: Iterable[Held], **how: object) -> list[Played]:
    """Have a site play all that it holds."""
    return [site.play(one, lease, **how) for one in held for lease in one.leases]  # type: ignore[arg-type]


def result(plant: Plant) -> Act:
    """A result completes a dataset."""
    plant.submit(chain(JOBS))
    site = plant.site("north")
    played = playing(site, ask(plant, site))
    return bringing([site.result(played)], DONE, played)


def failures(plant: Plant) -> Act:
    """A result of which some tasks failed, then one that ends its leases with nothing more."""
    plant.submit(chain(JOBS))
    site = plant.site("north")

    def fate(place: tuple[int, int], tried: int) -> Fate:
        fails = place == (0, 1) or (place == (1, 2) and not tried)
        return Fate.PAYLOAD_ERROR if fails else Fate.SUCCESS

    played = playing(site, ask(plant, site), fate=fate)
    counts = [{"failed": 1, "done": 2}, {"held": 1, "done": 2}, {"held": 1}]
    return bringing([site.result(played)], counts, played)


def rivals(plant: Plant) -> Act:
    """A second site ran everything too, with other outputs: central pins what was first."""
    plant.submit(chain(JOBS))
    north, south = plant.site("north"), plant.site("south")
    first = playing(north, ask(plant, north))
    plant.clock.pass_hours(24 * 365)
    second = playing(south, ask(plant, south), salt="other")
    assert plant.bring(north.result(first)) == "merged"
    return bringing([south.result(second)], DONE, [*first, *second])


def several(plant: Plant) -> Act:
    """Three bundles of one dataset, one after the other, with a report between them."""
    plant.submit(chain(JOBS, fan_in=False))
    site = plant.site("north")
    held = ask(plant, site)
    played = [
        site.play(one, lease, jobs=IntervalSet.of([job]), complete=job == JOBS - 1)
        for job in range(JOBS)
        for one in held
        for lease in one.leases
    ]
    bundles = [site.result([one]) for one in played]
    bundles.insert(1, site.report(0))
    return bringing(bundles, DONE[:2], played)


def refused(plant: Plant) -> Act:
    """A site brings results of another one's leases."""
    plant.submit(chain(JOBS))
    north, south = plant.site("north"), plant.site("south")
    stolen = playing(north, ask(plant, north))
    leased = [{"leased": JOBS}, {"leased": JOBS}, {"leased": 1}]
    return bringing([south.result(stolen)], leased, [], "refused")


def submission(plant: Plant) -> Act:
    """A user submits."""

    def do(plant: Plant) -> str:
        dataset = plant.submit(chain(JOBS), "asked")
        assert plant.authority.dataset(dataset)["jobs"] == JOBS
        return dataset

    return Act(do, [[{"ready": JOBS}, {"held": JOBS}, {"held": 1}]])


def reset(plant: Plant) -> Act:
    """A user resets one job of a dataset that was done."""
    dataset = plant.submit(chain(JOBS))
    site = plant.site("north")
    played = playing(site, ask(plant, site))
    assert plant.bring(site.result(played)) == "merged"

    def do(plant: Plant) -> str:
        jobs = IntervalSet.of([1])
        key = {"idempotency_key": "again", "token_id": 1}
        return str(plant.authority.control(dataset, ControlWord.RESET, jobs, (0,), **key))  # type: ignore[arg-type]

    def check(plant: Plant) -> None:
        controls = plant.authority._w.controls(plant.authority._w.dataset(dataset)).all
        assert [one.word for one in controls] == [ControlWord.RESET]

    counts = [{"ready": 1, "done": 2}, {"held": 1, "done": 2}, {"held": 1}]
    return replace(after(do, counts, played), check=check)


def packing(plant: Plant) -> Act:
    """A site reports and fetches work, after another one's leases of it expired."""
    plant.submit(chain(JOBS))
    north, south = plant.site("north"), plant.site("south")
    ask(plant, north)
    plant.clock.pass_hours(24 * 365)
    report, name = south.report(100), SiteName("south")

    def do(plant: Plant) -> str:
        assert plant.bring(report) == "merged"
        waiting = plant.authority.outbox(name)
        works = [one.id for one in waiting]
        for one in works:
            path = plant.authority.outgoing(name, one)
            open_bundle(path, south.trust, audience=name, kinds=frozenset({Kind.WORK})).close()
        return json.dumps(works)

    def check(plant: Plant) -> None:
        leased = {str(row["site"]): row["tasks_leased"] for row in plant.authority.sites()}
        assert leased == {"north": 0, "south": 2 * JOBS + 1}, leased  # promised once

    return Act(do, [[{"leased": JOBS}, {"leased": JOBS}, {"leased": 1}]], check=check)


def enrolling(plant: Plant) -> Act:
    """A site enrols."""
    plant.submit(chain(JOBS))
    request = enrolment.make_request("west", MemoryKey.generate(), created_us=1)
    words = enrolment.check_request(request).fingerprint

    def do(plant: Plant) -> str:
        assert plant.authority.enrol(request, words)
        return "enrolled"

    def check(plant: Plant) -> None:
        assert [row["site"] for row in plant.authority.sites() if row["key"]] == ["west"]

    return Act(do, [[{"ready": JOBS}, {"held": JOBS}, {"held": 1}]], check=check)


def recovery(plant: Plant) -> Act:
    """Central starts and finds archived what its database never knew: a submission and a result."""
    site = plant.site("north")
    played: list[Played] = []

    def lost() -> None:
        plant.submit(chain(JOBS))
        played.extend(playing(site, ask(plant, site)))
        assert plant.bring(site.result(played)) == "merged"

    plant.forget(lost)

    def do(plant: Plant) -> str:
        if plant.opened is None:
            plant.open()
        return str(len(plant.authority.datasets()))

    return replace(after(do, DONE, played), opens=True)


ACTS = {
    one.__name__: one
    for one in (
        result, failures, rivals, several, refused, submission, reset, packing, enrolling, recovery
    )
}  # fmt: skip
