"""What pilot and slot say of a task beside running it: checkpoints and grants, as plain values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from bundle.dataset.spec import Step
from pilot.core.room import Need

GRANT_FILE = ".pulk-grant"


def declared(step: Step, need: Need) -> dict[str, Any]:
    """Return what a request says of the abilities of a step; nothing for most."""
    asides: dict[str, Any] = {}
    kept, elastic = step.checkpoint, step.elastic
    if kept.files:
        asides["keeps"] = [list(kept.files), kept.signal, kept.every_ms]
    if elastic.cpu_milli_max or elastic.memory_mib_max:
        asides["elastic"] = elastic.signal
        asides["grant"] = granted((), need.cpu_milli, need.memory_mib)
    return asides


def granted(cpus: Iterable[int], cpu_milli: int, memory_mib: int) -> dict[str, Any]:
    """Return a grant as a slot is told of it. No cpus: it may run on all that it may run on."""
    return {"cpus": list(cpus), "cpu_milli": cpu_milli, "memory_mib": memory_mib}


def recorded(software: str, reply: Mapping[str, Any], document: bytes = b"") -> str:
    """Return the words of what an attempt ran with, with what was restored and granted.

    `document`: the digest of the one that it ran by, where that is not its lease's.
    """
    digests, milli = reply.get("restored", ()), reply.get("grant_milli", 0)
    if not digests and not milli and not document:
        return software
    words = set(software.split())
    words |= {f"checkpoint==sha256:{digest.hex()}" for digest in digests}
    if milli:
        words.add(f"grant=={milli / 1000:g}")
    if document:
        words.add(f"document=={document.hex()}")
    return " ".join(sorted(words))
