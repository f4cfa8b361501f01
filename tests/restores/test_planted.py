"""Planted bugs: each makes a history or a story fail, so that they can fail."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bundle.errors import PulkError
from bundle.ids import Epoch
from bundle.records.receipt import StreamReceipt
from central import epochs, restore
from central.store.protocol import Store
from relay import accept, resync, stream
from relay import custody as custodies
from relay import tick as ticks
from tests.restores.history import History
from tests.restores.test_forks import goes_past_what_it_had_said
from tests.restores.test_restore import (
    later_results_rest_on_lost_ones,
    merged_by_the_old_central_in_a_stream_that_ended,
)
from tests.restores.world import World

SEEDS = 40
Patch = pytest.MonkeyPatch


def streams_that_are_not_named_stay(patch: Patch) -> None:
    """What a restored central no longer knows of at all is never sent again."""
    real = stream.every

    def apply(spool: Any, manifest: Any) -> None:
        named = {one.stream for one in manifest.receipts}
        patch.setattr(custodies.stream, "every", lambda _: [s for s in real(spool) if s in named])
        try:
            applied(spool, manifest)
        finally:
            patch.setattr(custodies.stream, "every", real)

    applied = custodies.apply_receipts
    patch.setattr(accept.custody, "apply_receipts", apply)


def an_old_epochs_word_is_kept(patch: Patch) -> None:
    """What an earlier central had merged counts as merged in the new one."""
    real = custodies.custody.join_receipt

    def join(known: Any, news: StreamReceipt, epoch: Epoch) -> Any:
        return real(known, news, max(known.epoch, epoch)._replace(counter=known.epoch.counter or 1))

    patch.setattr(custodies.custody, "join_receipt", join)


def nothing_is_told_again(patch: Patch) -> None:
    """Results that refer to a lease that central forgot stay parked."""
    patch.setattr(resync, "_explained", lambda *_: iter(()))
    patch.setattr(ticks.resync, "resync", resync.resync)


def the_pool_is_not_merged(patch: Patch) -> None:
    """An old backup forgets what a later one made safe."""
    real = restore.bundle_files

    def files(root: Path) -> Iterator[Path]:
        return iter(()) if root.parent.name == "backups" else real(root)

    patch.setattr(restore, "bundle_files", files)


def the_epoch_stays(patch: Patch) -> None:
    """A restored central goes on in its old epoch, so sites know nothing of it."""

    def begin(store: Store, *_: object) -> Epoch:
        return epochs.current(store)

    patch.setattr(epochs, "begin", begin)


def a_head_tells_its_number_only(patch: Patch) -> None:
    """A central that was set back and gave the number again since goes on."""
    real = epochs.is_beyond
    patch.setattr(epochs, "is_beyond", lambda head, *known: real(replace(head, named=None), *known))


def histories(disk: Path, other: Path) -> None:
    """Seeded histories until one fails."""
    for seed in range(SEEDS):
        here, away = disk / str(seed), other / str(seed)
        here.mkdir()
        away.mkdir()
        History(here, away, seed=seed).run()


def rests_on_lost_ones(disk: Path, other: Path) -> None:
    later_results_rest_on_lost_ones(World(disk, other, seed=21, copies=1))


def stream_that_ended(disk: Path, other: Path) -> None:
    merged_by_the_old_central_in_a_stream_that_ended(World(disk, other, seed=22))


def went_past(disk: Path, other: Path) -> None:
    goes_past_what_it_had_said(World(disk, other, seed=3), 1)


BUGS = (
    (a_head_tells_its_number_only, went_past),
    (streams_that_are_not_named_stay, stream_that_ended),
    (nothing_is_told_again, rests_on_lost_ones),
    (an_old_epochs_word_is_kept, histories),
    (the_pool_is_not_merged, histories),
    (the_epoch_stays, histories),
)


@pytest.mark.campaign
@pytest.mark.parametrize(("bug", "story"), BUGS, ids=lambda one: one.__name__)
def test_a_planted_bug_is_found(
    bug: Callable[[Patch], None],
    story: Callable[[Path, Path], None],
    tmp_path: Path,
    other_device: Path,
    monkeypatch: Patch,
) -> None:
    bug(monkeypatch)
    with pytest.raises((AssertionError, PulkError)):
        story(tmp_path, other_device)
