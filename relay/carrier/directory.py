"""A directory, a stick: the same bundle files, copied with care. See `bundle.media`.

What is found there may be partial, foreign, twice, renamed: content decides, and what lands is
still to be judged by `relay.accept`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from bundle.ids import BundleId
from bundle.media.copy import clear_under_way, failing, lay_checked, must_be_folder
from bundle.media.errors import MediumFailed
from bundle.media.fill import Filled, Filling, fill
from bundle.media.goods import goods_of
from bundle.media.take import Became, Came, Reception, take
from relay.carrier.contract import Answer, Outgoing

__all__ = ["DirectoryCarrier", "MediumFailed"]


class DirectoryCarrier:
    """See `contract.Carrier`. `came`: what became of everything that `fetch` found."""

    def __init__(
        self, to: Path | None, source: Path | None, reception: Reception | None = None
    ) -> None:
        """Copy what goes out to one folder; take what comes in from another, as told."""
        self._to, self._source, self._reception = to, source, reception
        self._carried: frozenset[BundleId] = frozenset()
        self.came: list[Came] = []

    def fill(self, bundles: Sequence[Outgoing], how: Filling) -> Filled:
        """Copy as many bundles as fit, in parts where they must be, and read all of it back.

        The folder must be there: one made here could lie beside an unmounted stick. Raises
        MediumFailed.
        """
        filled = fill(goods_of(one.path for one in bundles), self._to or Path(), how)
        self._carried |= filled.carried
        return filled

    def send(self, bundle: Outgoing) -> Answer | None:
        """Say that a bundle was carried by `fill`, or copy it now. Raises MediumFailed."""
        if self._to is None:
            return None
        if bundle.id not in self._carried:
            must_be_folder(self._to)
            with failing("copying", self._to):
                clear_under_way(self._to)
                lay_checked(bundle.path, self._to, f"{bundle.id}.pulk")
        return Answer.COPIED

    def fetch(self, is_known: Callable[[BundleId], bool], into: Path) -> Iterator[Path]:
        """Yield every bundle that is whole by now and not known. Raises MediumFailed."""
        if self._source is None or self._reception is None:
            return
        for came in take(self._source, replace(self._reception, into=into, known=is_known)):
            self.came.append(came)
            if came.became is Became.LANDED and came.path is not None:
                yield came.path
