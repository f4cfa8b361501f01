"""How pilots here hold their tasks, as their claims say; remembered when none is left."""

from __future__ import annotations

from bundle.spool.layout import Spool
from relay import roster, state
from relay.roster import Roster

ISOLATED = "isolated"
TRUSTED = "payloads are trusted as the site's account"


def note(spool: Spool, here: Roster | None = None) -> None:
    """Remember what the pilots that are here now say; plain where one of them says so."""
    here = here or roster.read(spool)
    said = {claim.isolation for claim in here.claims.values() if claim.isolation}
    if said:
        worst = next((word for word in sorted(said) if word != ISOLATED), ISOLATED)
        if worst != known(spool):
            state.write_map(spool, state.folder(spool) / "held", {"isolation": worst})


def known(spool: Spool) -> str:
    """Return `isolated`, `plain: <reason>`, or nothing where no pilot has said it yet."""
    value = state.read_map(state.folder(spool) / "held")
    return "" if value is None else value.text("isolation")


def in_words(word: str) -> str:
    """Return what a word of `known` means for the site."""
    if word == ISOLATED:
        return word
    return f"{TRUSTED} ({word})" if word else "no pilot has said it yet"
