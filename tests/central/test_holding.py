"""Segments that are read many at once are taken, or refused and told of, as when read alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bundle.errors import PulkError
from bundle.fates import Fate
from bundle.records.attempt import Attempt
from bundle.wire.manifest import Kind
from bundle.wire.read import open_bundle
from central import intake
from central.core import segments_together
from tests.central.conftest import Central
from tests.central.scripted_site import Played
from tests.central.test_absorb import packed

Alter = Callable[[Attempt], Attempt]

ATTEMPT: dict[str, Alter] = {
    "sound": lambda one: one,
    "a failure": lambda one: replace(one, fate=Fate.PAYLOAD_ERROR, exit_code=1, outputs=()),
    "a job that is not leased": lambda one: replace(one, job=one.job + 4),
    "a job far away": lambda one: replace(one, job=2**62),
    "a step that is not leased": lambda one: replace(one, step=one.step + 3),
    "another generation": lambda one: replace(one, generation=one.generation + 1),
    "an output too few": lambda one: replace(one, outputs=()),
    "an output too many": lambda one: replace(one, outputs=(*one.outputs, (bytes(32), 1))),
    "a time that no clock shows": lambda one: replace(one, started_us=2**63 - 1),
}
WHOLE = ("sound", "empty", "another dataset", "another shard", "another lease")


FAULTS = st.lists(st.tuples(st.sampled_from(sorted(ATTEMPT)), st.sampled_from(WHOLE)), max_size=4)


def test_segments_read_together_are_taken_or_refused_as_each_is_alone(central: Central) -> None:
    site = central.site()
    _, held = packed(central, site)

    @settings(max_examples=40, deadline=None)
    @given(FAULTS)
    def both_agree(faults: list[tuple[str, str]]) -> None:
        every = [("sound", "sound"), *faults]
        path = site.result(
            [_altered(site.play(held, held.leases[0]), *one) for one in every], told=False
        )
        together = _told(central, path)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(segments_together, "BYTES_MAX", 0)  # none is short
            alone = _told(central, path)
        assert together == alone

    both_agree()


def _altered(played: Played, attempt: str, whole: str) -> Played:
    """What was played, but for its last attempt, and for what is said of all of it."""
    segment = played.segment
    *others, last = segment.attempts
    attempts = () if whole == "empty" else (*others, ATTEMPT[attempt](last))
    header = segment.header
    if whole == "another dataset":
        header = replace(header, dataset_digest=bytes(32))
    elif whole == "another shard":
        header = replace(header, shard=header.shard + 1)
    elif whole == "another lease":
        header = replace(header, lease=type(header.lease)(bytes(16)))
    return replace(played, segment=replace(segment, attempts=attempts, header=header))


def _told(central: Central, path: Path) -> object:
    workings = central.authority._w
    kinds = frozenset({Kind.RESULT})
    with open_bundle(path, workings.trust, audience=None, kinds=kinds) as bundle:
        try:
            found = intake.read_result(workings, bundle).segments
        except PulkError as error:
            return error.code, error.text()
    return [
        (
            one.entry,
            one.place,
            one.columns.summary,
            [one.columns.attempt(row) for row in range(one.columns.count)],
        )
        for one in found
    ]
