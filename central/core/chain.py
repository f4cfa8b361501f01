"""What a site's head says of this central: is it behind what it once signed, or one of two?"""

from __future__ import annotations

from dataclasses import dataclass

from bundle.ids import Epoch, SiteName
from bundle.records.head import Head, Named


def is_beyond(head: Head, epoch: Epoch, commit: int, named: Named | None) -> bool:
    """Return whether a signed head can't be of this central's own past.

    It was signed after the state that this central has (which was then set back without its
    knowing), or by another one that runs with the same key. The one that was set back may have
    given the head's number again since: then what the number names is another commit.

    Args:
        head: a verified one.
        epoch: this central's own.
        commit: the number of this central's last commit.
        named: what this central's own commit of the head's number was; None where it has none.
    """
    if head.epoch != epoch:
        return head.epoch.counter >= epoch.counter
    return head.commit > commit or (head.named is not None and head.named != named)


def next_counter(known: int, now_us: int) -> int:
    """Return the number of a new epoch after a restore.

    Besides what is known it goes by the clock in seconds: an epoch that this backup never heard
    of, begun by an earlier restore, must not have the same number or a higher one.
    """
    return max(known + 1, now_us // 1_000_000)


@dataclass(frozen=True, slots=True)
class Recovering:
    """A central in a new epoch that does not know yet what the forgotten one leased.

    `begun_us`, `until_us`: UTC microseconds by its clock; after the second every lease that may
    have been forgotten has passed. `waiting`: sites that have not said yet what they hold.
    """

    begun_us: int
    until_us: int
    waiting: frozenset[SiteName] = frozenset()

    def is_over(self, now_us: int) -> bool:
        """Return whether nothing can be out that central does not know of."""
        return not self.waiting or now_us >= self.until_us

    def withholds(self, submitted_us: int, now_us: int) -> bool:
        """Return whether tasks of a dataset may be out; not of one that came since."""
        return not self.is_over(now_us) and submitted_us <= self.begun_us
