"""What a commit says is read back as it was said; what is no commit is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundle import canonical
from bundle.ids import DatasetId, Epoch, SiteName
from bundle.limits import LEASE_LIMITS
from bundle.shape import WrongShape
from central.core import commit as commits
from central.core.authorise import Visibility
from central.core.commit import Access, Commit, Submission, told

DATASETS = st.binary(min_size=1, max_size=4).map(lambda raw: DatasetId(raw.hex()))
NAMES = st.text("abc-._@", max_size=8)
EPOCHS = st.builds(Epoch, st.integers(0, 2**32), st.binary(min_size=16, max_size=16))
NUMBERS = st.integers(1, 2**40)


@given(
    EPOCHS,
    NUMBERS,
    st.lists(st.tuples(DATASETS, NAMES, NAMES, st.sampled_from(Visibility)), max_size=3),
    st.lists(st.tuples(DATASETS, st.binary(min_size=32, max_size=32)), max_size=3),
    st.sampled_from([(), (SiteName("north"),)]),
)
def test_a_commit_is_read_back(
    epoch: Epoch,
    number: int,
    said: list[tuple[DatasetId, str, str, Visibility]],
    submitted: list[tuple[DatasetId, bytes]],
    presumed: tuple[SiteName, ...],
) -> None:
    made = Commit(
        submissions=tuple(Submission(of, digest, 7) for of, digest in submitted),
        presumed=presumed,
        access=tuple(Access(*one, told(epoch, number)) for one in said),
    )
    assert commits.decode(commits.encode(made), epoch, number) == made
    assert made.count() == len(said) + len(submitted) + len(presumed)


@given(EPOCHS, NUMBERS, NUMBERS, st.binary(min_size=16, max_size=16))
def test_the_greatest_word_is_the_newest(epoch: Epoch, one: int, other: int, nonce: bytes) -> None:
    assert (told(epoch, one) < told(epoch, other)) == (one < other)
    later = Epoch(epoch.counter + 1, nonce)
    assert told(epoch, max(one, other)) < told(later, min(one, other))


def test_an_unknown_visibility_is_refused() -> None:
    epoch = Epoch(1, b"n" * 16)
    said = Access(DatasetId("a" * 26), "anna", "", Visibility.PUBLIC, told(epoch, 1))
    raw = commits.encode(Commit(access=(said,)))
    value = canonical.decode(raw, LEASE_LIMITS, where="test")
    assert isinstance(value, dict)
    value["access"][0][3] = "secret"
    with pytest.raises(WrongShape, match="a visibility"):
        commits.decode(canonical.encode(value), epoch, 1)
