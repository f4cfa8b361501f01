"""The contract of every carrier: it moves files and believes nothing it hears.

Only a receipt inside a signed work bundle frees anything; what `send` returns merely decides when
to send again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from bundle.ids import BundleId


class Answer(StrEnum):
    """What came back for one bundle that was sent."""

    MERGED = "merged"
    PARKED = "parked"
    REFUSED = "refused"
    CARRIED = "carried"  # taken by somebody on the way
    COPIED = "copied"  # lies on a medium, read back; nobody can answer yet


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A bundle file to be sent. `again`: it was sent before, so it may be there."""

    id: BundleId
    path: Path
    again: bool = False


class Carrier(Protocol):
    """One way to central and back."""

    def send(self, bundle: Outgoing) -> Answer | None:
        """Hand one bundle over; sending it again is harmless.

        Returns None where the answer is not one of a carrier (a captive portal's page): the
        bundle then counts as not sent. Raises CarryFailed where nothing more can be sent now.
        """

    def fetch(self, is_known: Callable[[BundleId], bool], into: Path) -> Iterator[Path]:
        """Yield new files in folder `into`, synced, whole or not: nothing of them is verified.

        `is_known` saves fetching again. The name's stem is the id that the carrier was told.
        Raises CarryFailed; what was yielded before is good.
        """
