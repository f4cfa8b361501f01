"""Mutants of larger bundles, by thousands, in a process that may hold 64 MiB more than at rest.

A mutant is refused with a typed error, or it is read and holds, under an id that is known, exactly
what that id stands for. `PULK_SEED` and `PULK_MUTANTS` make a run again or a longer one.
"""

from __future__ import annotations

import os
import random
import resource
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from bundle.errors import PulkError
from bundle.trust import trust_file
from bundle.trust.trust_file import TrustView
from bundle.wire.errors import BundleRefused
from bundle.wire.manifest import Kind
from bundle.wire.read import open_bundle, peek_trust
from tests.attacks import mutants
from tests.attacks.bounded import Ready, run_bounded
from tests.attacks.mutants import Corpus, mutant
from tests.attacks.vector_parts import KEYS

pytestmark = pytest.mark.sweeps

SAMPLE, CAMPAIGN = 2_000, 100_000
TEXT_CHARS_MAX = 4_000


def contents(path: Path, trust: TrustView) -> tuple[str, bytes, dict[int, bytes]]:
    """Id, manifest and every chunk that is there; raises BundleRefused."""
    with open_bundle(path, trust, audience=None, kinds=frozenset(Kind)) as bundle:
        there = filter(bundle.present, range(len(bundle.places)))
        return bundle.id, bundle.manifest_bytes, {place: bundle.chunk(place) for place in there}


def judge(size: str, seed: str, count: str) -> Ready:
    """Return what judges so many mutants; it says how many were read, and the codes of refusals."""
    corpus = Corpus.large() if size == "large" else Corpus.small()
    users = frozenset({KEYS["user"].public})
    trust = TrustView(trust_file.verify(corpus.trust), users)
    folder = Path(tempfile.mkdtemp())
    path = folder / "mutant.pulk"
    known: dict[str, tuple[bytes, dict[int, bytes]]] = {}
    for made in corpus.bundles:
        path.write_bytes(made.file())
        try:
            identity, raw, chunks = contents(path, trust)
        except BundleRefused:
            continue  # of the small ones some need a newer trust file
        known.setdefault(identity, (raw, {}))[1].update(chunks)

    def act() -> dict[str, Any]:
        said: Counter[str] = Counter()
        for number in range(int(count)):
            path.write_bytes(mutant(corpus, random.Random(f"{seed} {number}")))
            try:
                identity, raw, chunks = contents(path, trust)
            except BundleRefused as error:
                said[error.code] += 1
                check_words(error, number)
                continue
            said["read"] += 1
            if identity in known:
                whole = known[identity]
                assert raw == whole[0], number
                assert chunks.items() <= whole[1].items(), number
                said["known"] += 1
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
        return {"said": said, "peak_mib": peak}

    return act


def check_words(error: PulkError, number: int) -> None:
    """A refusal names where and what to do, on one line that a terminal shows as it is."""
    text = error.text()
    assert error.code != "bundle-refused", number
    assert error.where, number
    assert error.remedy, number
    assert text.isprintable(), (number, text)
    assert len(text) < TEXT_CHARS_MAX, (number, len(text))


def seed_of_this_run() -> int:
    seed = int(os.environ.get("PULK_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"PULK_SEED={seed}")
    return seed


@pytest.mark.parametrize("size", ["small", "large"])
def test_a_sample_of_mutants_is_refused_or_means_what_it_says(size: str) -> None:
    said = run_bounded(judge, size, seed_of_this_run(), SAMPLE // 2)["said"]
    assert said["known"] < said["read"] < SAMPLE // 2
    assert said["known"] > 0
    assert len(said) > 8  # refusals of many kinds


@pytest.mark.campaign
@pytest.mark.parametrize("size", ["small", "large"])
def test_a_hundred_thousand_mutants_are_refused_or_mean_what_they_say(size: str) -> None:
    count = int(os.environ.get("PULK_MUTANTS", CAMPAIGN))
    found = run_bounded(judge, size, seed_of_this_run(), count, timeout_s=3600)
    print(found)
    assert found["said"]["known"] > 0


def peeked(seed: str, count: str) -> Ready:
    """Return what looks for a trust chain in mutants, which is done before anything is verified."""
    corpus, path = Corpus.small(), Path(tempfile.mkdtemp()) / "mutant.pulk"
    start = trust_file.verify(corpus.trust)

    def act() -> int:
        refused = 0
        for number in range(int(count)):
            path.write_bytes(mutant(corpus, random.Random(f"{seed} {number}")))
            try:
                chain = peek_trust(path)
                if chain:
                    assert trust_file.advance(start, chain, where=str(path)).version in (1, 2, 3)
            except PulkError as error:
                check_words(error, number)
                refused += 1
        return refused

    return act


def test_a_trust_chain_in_mutants_is_followed_or_refused() -> None:
    assert run_bounded(peeked, seed_of_this_run(), 700) > 0


def test_a_number_names_a_mutant() -> None:
    corpus = Corpus.small()
    for number in range(50):
        one, two = (mutant(corpus, random.Random(number)) for _ in range(2))
        assert one == two
    assert {one.__name__ for one in mutants.MUTATIONS} >= {"insider_manifest", "insider_chunk"}
