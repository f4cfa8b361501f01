"""The loop from submission to done, with a site that plays the shards."""

from __future__ import annotations

from tests.central.conftest import Central, chain


def test_a_dataset_ends_done_and_fsck_agrees(central: Central) -> None:
    site = central.site()
    dataset = central.submit(chain(jobs=5))
    assert central.counts(dataset) == [{"ready": 5}, {"held": 5}, {"held": 1}]
    site.work_all(central.authority)
    assert central.counts(dataset) == [{"done": 5}, {"done": 5}, {"done": 1}]
    found = central.fsck()
    assert found["attempts"] == 11
    assert found["done"] == {dataset: {"0": [[0, 5]], "1": [[0, 5]], "2": [[0, 1]]}}
