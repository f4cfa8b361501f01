"""In words: which sites have heard of a dataset's newest document, and which not yet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def words(about: Mapping[str, Any] | None) -> str:
    """Return it in words; nothing where no site is concerned."""
    if about is None or not about["sites"]:
        return ""
    said = ", ".join(_words(about["sites"]))
    return f"its document was edited by commit {about['commit']}: {said}"


def _words(sites: Iterable[dict[str, Any]]) -> Iterable[str]:
    for one in sites:
        if one["refused"]:
            yield f"{one['site']} passed it over for want of co-signatures"
        elif one["heard"]:
            yield f"{one['site']} has it since {one['heard']}"
        else:
            yield f"{one['site']} does not have it yet"
