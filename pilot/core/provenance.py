"""What an attempt ran with, as `name==version` words: the site's, the container's, its own.

The words of `OURS` are the pilot's: they name a digest, or what a task was granted, and a payload
that says them of itself is not believed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

OURS = frozenset(
    {"env", "modules", "conda", "pip", "files", "container", "checkpoint", "grant", "document"}
)
MODULES_MAX = 256
WORD_CHARACTERS_MAX = 200


def digest_word(name: str, content: bytes) -> str:
    """Return the word that names a digest of what something consists of."""
    return f"{name}==sha256:{hashlib.sha256(content).hexdigest()}"


def environment_word(variables: Mapping[str, str]) -> str:
    """Return the word for the environment that the site gives every task.

    What a step adds stands in its document; what tells one task from another is left out. So all
    attempts under one configuration share the word.
    """
    lines = (f"{name}={variables[name]}\0" for name in sorted(variables))
    return digest_word("env", "".join(lines).encode(errors="surrogateescape"))


def modules(*environments: Mapping[str, str]) -> tuple[str, ...]:
    """Return the environment modules loaded, sorted; of the first environment that has any."""
    for environment in environments:
        names = environment.get("LOADEDMODULES", "").split(":")
        kept = sorted({one[:WORD_CHARACTERS_MAX] for one in names if one and one.isprintable()})
        if kept:
            return tuple(kept[:MODULES_MAX])
    return ()


def is_word(text: str) -> bool:
    """Return whether a text is `name==version`, without spaces."""
    return 0 < text.find("==") < len(text) - 2 and len(text.split()) == 1 and text.isprintable()


class Provenance:
    """Puts the words of one site before those of each attempt; the few results are remembered."""

    _REMEMBERED_MAX = 1000

    def __init__(self, site: Iterable[str]) -> None:
        """Start with words that hold for every attempt."""
        self._site = frozenset(filter(is_word, site))
        self._known: dict[tuple[str, str], str] = {}
        self._plain = self._joined("", "")

    def words(self, said: str, container: str = "") -> str:
        """Return an attempt's words, sorted, joined by spaces.

        `said` is what the payload said of itself, `container` the digest of the image it ran in.
        """
        if not said and not container:
            return self._plain
        key = (said, container)
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= self._REMEMBERED_MAX:
                self._known.clear()
            found = self._known[key] = self._joined(said, container)
        return found

    def _joined(self, said: str, container: str) -> str:
        own = {word for word in said.split() if word.partition("==")[0] not in OURS}
        image = f"container=={container}"
        return " ".join(sorted(self._site | own | ({image} if is_word(image) else set())))
