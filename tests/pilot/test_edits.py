"""Another document for what is leased: what has not begun asks for what it says, and no more."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bundle import retry
from bundle.dataset import spec
from bundle.dataset.settings import taken
from bundle.dataset.spec import Command, Dataset, Request, Step
from bundle.dataset.spec_hash import spec_hash
from bundle.fates import Fate
from bundle.ids import DatasetId, Epoch, PilotRun
from bundle.records.edit import Edit
from bundle.records.lease import Lease
from bundle.records.rules import NO_HISTORY, History, Maximum, RetryRules
from bundle.retry import Ended
from bundle.spool import edits
from bundle.spool.edits import Named
from bundle.wire.manifest import CENTRAL, Kind, ManifestDraft
from bundle.wire.write import ChunkSource, write_bundle
from central.core import retry as centrals
from pilot.core.agenda import Agenda, State
from pilot.core.lineage import Place
from pilot.newest import Newest
from tests.pilot.site_folder import STREAM, SiteFolder, dataset, fates, shell, small
from tests.pilot.test_agenda import NODE, agenda_of, datasets, lease_of
from tests.pilot.test_shards import until

EPOCH = Epoch(1, bytes(16))
OTHERS = st.lists(
    st.tuples(
        st.sampled_from([10, 4096, 9000]), st.integers(1, 4), st.sampled_from([0, 60_000, 400_000])
    ),
    min_size=8,
    max_size=8,
)
FAILED = [Fate.SUCCESS, Fate.SUCCESS, Fate.PAYLOAD_ERROR, Fate.OOM, Fate.NODE_FAILURE]


def edited(data: Dataset, others: list[tuple[int, int, int]]) -> Dataset:
    """Return a document with other requests, budgets and waits."""
    pairs = zip(data.steps, others, strict=False)
    return replace(
        data,
        steps=tuple(
            replace(
                step,
                request=replace(step.request, memory_mib=memory),
                failures_max=most,
                retry=RetryRules(backoff_ms=backoff_ms),
            )
            for step, (memory, most, backoff_ms) in pairs
        ),
    )


def play(
    agenda: Agenda, known: dict[Place, History], draws: random.Random, starts: int, now_us: int
) -> int:
    """Start and end up to so many tasks; whatever starts may, by the document in force."""
    done = 0
    while done < starts:
        start = agenda.next(NODE, now_us)
        if start is None:
            break
        step = agenda.dataset.steps[start.place[0]]
        history = known.get(start.place, NO_HISTORY)
        assert not centrals.exhausted(history, step.retry, step.failures_max)
        most = Maximum(memory_mib=NODE.memory_mib)
        assert start.request == retry.request_for(step.request, history, step.retry, most)
        fate = draws.choice(FAILED)
        ended = Ended(fate, PilotRun(b"pilot..1"), now_us, memory_peak_mib=7)
        known[start.place] = retry.after(history, ended)
        agenda.ended(start.place, ended)
        done += 1
    return done


@settings(suppress_health_check=[HealthCheck.large_base_example, HealthCheck.too_slow])
@given(datasets(), OTHERS, st.integers(0, 12), st.randoms(use_true_random=False))
def test_after_an_edit_pilot_and_central_judge_by_the_same_document(
    data: Dataset, others: list[tuple[int, int, int]], before: int, draws: random.Random
) -> None:
    agenda, known, now_us = agenda_of(data), dict[Place, History](), 1_000_000
    play(agenda, known, draws, before, now_us)
    lease, newest = lease_of(data), edited(data, others)
    spent = {place for place in agenda._states if agenda.state(place) is State.EXHAUSTED}
    waited = {
        place for place in agenda._states if agenda.state(place) in (State.READY, State.BACKING_OFF)
    }
    agenda.revise(newest, lease, frozenset(range(len(data.steps))), now_us)
    for place in agenda._states:
        step = newest.steps[place[0]]
        word = centrals.exhausted(known.get(place, NO_HISTORY), step.retry, step.failures_max)
        if place in waited:
            assert (agenda.state(place) is State.EXHAUSTED) == bool(word)
        if place in spent:
            assert agenda.state(place) is State.EXHAUSTED
    later_us = now_us
    while play(agenda, known, draws, 1000, later_us) or agenda.due_us:
        later_us = max(later_us, agenda.due_us)
        if not agenda.due_us:
            break
    stuck = [p for p in agenda._states if agenda.state(p) is State.READY]
    assert all(not NODE.fits(agenda.need(place)) for place in stuck)
    assert agenda.count(State.BACKING_OFF) == agenda.count(State.RUNNING) == 0


def test_only_steps_that_compute_the_same_take_the_newer_settings() -> None:
    one, two = Step("one", Command(("a",))), Step("two", Command(("b",)))
    leased = Dataset("d", 1, 1, (one, two))
    more = Request(memory_mib=900)
    newest = Dataset(
        "d", 1, 1, (replace(one, request=more), replace(two, run=Command(("c",)), request=more))
    )
    hashes = [(step, spec_hash(leased, step)) for step in (0, 1)]
    found, steps = taken(leased, newest, hashes, lambda step: spec_hash(newest, step))
    assert steps == {0}
    assert found == replace(leased, steps=(replace(one, request=more), two))
    other = Dataset("another", 1, 2, (one,))  # another seed: nothing there computes the same
    assert taken(leased, other, hashes, lambda step: spec_hash(other, step)) == (
        leased,
        frozenset(),
    )


def publish(
    site: SiteFolder, of: DatasetId, document: Dataset, commit: int, *, signed: bool = True
) -> Named:
    """Put an edit into the spool as a relay does; unsigned, by a key that nobody trusts."""
    raw = spec.encode(document)
    edit = Edit(of, spec.dataset_digest(raw), EPOCH, commit)
    draft = ManifestDraft(
        kind=Kind.WORK,
        producer=CENTRAL,
        stream=STREAM,
        sequence=1000 + commit,
        created_us=1,
        edits=(edit,),
    )
    key = site.authority.central if signed else site.authority.registrar
    path = site.spool.folder("tmp") / "edit"
    write_bundle(path, draft, [ChunkSource("dataset", of, 1, raw)], key)
    named = Named.of(edit)
    path.rename(site.spool.edits / str(named))
    return named


def test_the_names_are_looked_at_seldom_and_the_newest_of_them_counts(site: SiteFolder) -> None:
    of, newest = DatasetId("a" * 26), Newest(site.spool)
    assert newest.look(0.0) == frozenset() and newest.of(of) is None
    publish(site, of, dataset(Step("one", shell("true"))), 3)
    publish(site, of, dataset(Step("two", shell("true"))), 7)
    assert newest.look(1.0) == frozenset()  # not yet
    assert newest.look(60.0) == {of}
    found = newest.of(of)
    assert found is not None and found.edit.commit == 7 and found.dataset.steps[0].name == "two"
    assert newest.look(120.0) == frozenset()
    (site.spool.edits / str(Named.of(found.edit))).unlink()
    assert newest.look(180.0) == frozenset()  # an older one does not come back
    forged = publish(site, of, dataset(Step("three", shell("true"))), 9, signed=False)
    assert newest.look(240.0) == {of} and newest.of(of) is None
    assert edits.newest(site.spool.edits) == {of: forged}


@pytest.fixture
def leased(site: SiteFolder) -> tuple[Lease, Dataset]:
    """A task that waits for one that waits for a file, and then runs out of its time."""
    wait = f"touch {site.root}/begun; until test -e {site.root}/go; do sleep 0.1; done; sleep 7"
    data = dataset(
        Step("wait", shell(wait), request=small()),
        Step(
            "slow",
            shell("sleep 1"),
            needs=(0,),
            request=small(walltime_ms=300),
            failures_max=1,
        ),
    )
    return site.offered(data), data


@pytest.mark.programs
@pytest.mark.parametrize("forged", [False, True])
def test_a_task_that_waits_in_a_claimed_shard_goes_by_an_edit_that_is_signed(
    site: SiteFolder, leased: tuple[Lease, Dataset], forged: bool
) -> None:
    lease, data = leased
    with site.start(slots=1) as process:
        until((site.root / "begun").exists, 60)
        slow = replace(data.steps[1], request=small(walltime_ms=60_000))
        newest = replace(data, steps=(data.steps[0], slow))
        publish(site, lease.dataset, newest, 5, signed=not forged)
        (site.root / "go").touch()
        assert process.wait(120) == 0
    attempts = site.attempts(lease)
    assert fates(attempts) == [Fate.SUCCESS, Fate.TIME_LIMIT if forged else Fate.SUCCESS]
    digest = spec.dataset_digest(spec.encode(newest)).hex()
    words = [f"document=={digest}" in one.software.split() for one in attempts]
    assert words == [False, not forged]
