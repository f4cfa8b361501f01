"""News from central: how long there was none, which is all that a site can tell of being cut off.

Whoever carries bundles can withhold them, and nothing across an air gap prevents it: the site says
aloud that nothing new came. A bundle that is seen again is no news.
"""

from __future__ import annotations

SILENT_AFTER_S = 7 * 86_400


def alarm(heard_us: int, now_us: int) -> str:
    """Return what is to be said of central's silence, or nothing.

    Args:
        heard_us: when the newest word of central was accepted here, by this clock; 0: never.
        now_us: this clock.
    """
    if not heard_us:
        return ""
    silent_s = (now_us - heard_us) // 1_000_000
    if silent_s < 0:
        return "central was last heard in the future of this clock: it was set back"
    if silent_s >= SILENT_AFTER_S:
        return f"no news from central for {silent_s // 86_400} days"
    return ""
