"""The kinds of fault, and the count of how often each happened."""

from __future__ import annotations

from collections import Counter
from enum import StrEnum


class Fault(StrEnum):
    """What goes wrong in a world; each is counted when it happens, not when it is planned."""

    # bundles on the way
    LOST = "bundle lost"
    LATE = "bundle late by weeks"
    DUPLICATED = "bundle delivered twice"
    REORDERED = "bundle overtaken by a later one"
    TORN = "bundle torn"
    FLIPPED = "byte flipped"
    REPLAYED = "old work bundle again"
    FORGED_KEY = "bundle signed by a stranger"
    FOREIGN_LEASE = "result for another site's lease"
    OTHER_AUDIENCE = "work bundle at the wrong site"
    STOLEN_KEY = "bundle signed with a revoked key"
    EQUIVOCATED = "one number, two bundles"
    ANSWER_LOST = "answer lost after the commit"
    # central
    CENTRAL_AWAY = "central not reached"
    CENTRAL_KILLED = "central killed inside a merge"
    CENTRAL_KILLED_COMMITTED = "central killed between commit and answer"
    CENTRAL_POWER = "central's unsynced names lost"
    CENTRAL_CLOCK = "central's clock wrong"
    RESTORED_DATABASE = "old database put back, archive kept"
    SET_BACK = "central's snapshot put back, nobody told it"
    FORKED = "central's chain forked, and a site saw it"
    RESTORED_FOLDER = "central restored from an old backup"
    # sites
    RELAY_KILLED = "relay killed inside a tick"
    RELAY_POWER = "relay's unsynced files lost"
    DISK_FULL = "relay's disk full"
    TWO_RELAYS = "two relays on one spool"
    SPOOL_COPIED = "spool copied, both go on"
    SPOOL_OLD = "spool put back from an old copy"
    SPOOL_PURGED = "spool purged"
    CLOCK_BACK = "site's clock a year back"
    CLOCK_AHEAD = "site's clock ten years ahead"
    ADAPTER_BLIND = "site's scheduler answers nothing"
    DISCONNECTED = "site away for weeks"
    # pilots and payloads
    PILOT_KILLED = "pilot killed"
    PILOT_LOST_RECORDS = "attempts that no journal has"
    JOURNAL_TORN = "journal torn"
    SALVAGED = "journal salvaged"
    PAYLOAD_FAILED = "payload failed"
    PAYLOAD_DIFFERS = "output differs between runs"
    POISON = "task that always fails"
    OUTPUT_GONE = "output gone before it travelled"
    # keys
    SITE_KEY_ROTATED = "site key rotated"
    CENTRAL_KEY_ROTATED = "central key rotated"
    KEY_REVOKED = "site key revoked with results under way"
    # people, while work is away
    REPEATED = "request repeated"
    SUSPENDED = "suspended while away"
    CANCELLED = "cancelled while away"
    RESET = "reset while away"
    DELETED = "deleted while away"
    EDITED = "edited while away"
    RESIZED = "extended, truncated, opened or closed while away"
    ADOPTED = "older results adopted while away"


Fired = Counter[Fault]
