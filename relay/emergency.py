"""Seals that pilots laid elsewhere because the spool took no more: brought into the spool.

Before pilots are salvaged: such a seal holds all that its journal does, and more.
"""

from __future__ import annotations

import logging

from bundle.errors import PulkError
from bundle.limits import SEAL_LIMITS
from bundle.spool import publish
from bundle.spool.bounded import read_bounded
from bundle.spool.layout import SealName
from relay import quarantine
from relay.errors import SealRefused
from relay.home import Home
from relay.listing import names

_LOG = logging.getLogger(__name__)


def bring(home: Home) -> int:
    """Move every emergency seal to where seals are collected; return how many. Repeatable.

    One whose pilot was salvaged meanwhile comes too late: it is quarantined, and what it alone
    held runs again.
    """
    if not home.config.pilots.emergency:
        return 0
    folder, brought = home.folder / home.config.pilots.emergency, 0
    for name in (found for text in names(folder) if (found := SealName.parse(text))):
        path = folder / str(name)
        try:
            raw = read_bounded(path, SEAL_LIMITS)
            publish.write_new_file(home.tmp, home.spool.seal(name), raw)
            brought += 1
        except FileNotFoundError:
            continue  # another tick was first
        except publish.AlreadyThere:
            error = SealRefused(where=str(path), reason="its journal was salvaged before it came")
            if home.spool.seal(name).read_bytes() != raw:
                quarantine.put_bytes(home.spool, str(name), raw, error)
        except (PulkError, OSError) as failure:  # still no room, or it is damaged: it stays there
            _LOG.warning("emergency seal waits", extra={"seal": str(name), "reason": str(failure)})
            continue
        path.unlink(missing_ok=True)
    return brought
