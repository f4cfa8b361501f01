"""A report: what a site wants, runs and holds, so that central can plan for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bundle import canonical, shape
from bundle.ids import BundleId
from bundle.limits import SMALL_LIMITS
from bundle.records import profile as profiles
from bundle.records.profile import Profile

CHUNK = "report"  # kind and name of its chunk
HAS_MAX = 8192  # digests in `has`; what is not told is sent again, no more
_DIGEST_BYTES = 32


@dataclass(frozen=True, slots=True)
class HeldWork:
    """One work bundle that lives at the site. `open_tasks` counts those of shards not ended."""

    bundle: BundleId
    shards: int
    complete: int
    open_tasks: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """The content of a report chunk.

    `tasks_wanted`: how many unfinished tasks the site wants to hold at once, those it holds
    included, so that an old report never asks twice. `slots` counts the slots of all pilots that
    may run at once; `at_us` is UTC microseconds by the site's clock; `refused` holds bundle ids (or
    file names in quarantine) and error codes; which bundles arrived stands in the manifest.
    """

    at_us: int
    tasks_wanted: int
    slots: int
    pilots_running: int
    held: tuple[HeldWork, ...] = ()
    profile: tuple[tuple[str, str], ...] = ()  # sorted by name
    refused: tuple[tuple[str, str], ...] = ()
    has: tuple[bytes, ...] = ()  # digests of documents and files that need not be sent, ascending
    trust_version: int = 0  # of the trust file that the site holds
    head: bytes = b""  # the newest signed head of central's that came (`bundle.records.head`)
    site: Profile | None = None  # what its nodes are and what it takes; None: it says nothing


def encode(report: Report) -> bytes:
    """Return the raw bytes of a report chunk."""
    value: dict[str, Any] = {
        "at_us": report.at_us,
        "tasks_wanted": report.tasks_wanted,
        "slots": report.slots,
        "pilots_running": report.pilots_running,
        "held": [[h.bundle, h.shards, h.complete, h.open_tasks] for h in report.held],
        "profile": dict(report.profile),
        "refused": [list(one) for one in report.refused],
        "has": b"".join(report.has),
        "trust_version": report.trust_version,
    }
    if report.head:
        value["head"] = report.head
    if report.site is not None:
        value["site"] = profiles.to_wire(report.site)
    return canonical.encode(value)


def decode(raw: bytes) -> Report:
    """Read a report chunk. Raises NotCanonical or WrongShape."""
    value = shape.Reader.of(canonical.decode(raw, SMALL_LIMITS, where="report"), "report")
    return Report(
        at_us=value.count("at_us"),
        tasks_wanted=value.count("tasks_wanted"),
        slots=value.count("slots"),
        pilots_running=value.count("pilots_running"),
        held=tuple(
            HeldWork(BundleId(row.text(0)), row.count(1), row.count(2), row.count(3))
            for row in value.readers("held")
        ),
        profile=tuple(value.text_map("profile").items()),
        refused=tuple((row.text(0), row.text(1)) for row in value.readers("refused")),
        has=_digests(value),
        trust_version=value.count("trust_version"),
        site=profiles.from_wire(value.reader("site")) if value.has("site") else None,
        head=value.bytes("head") if value.has("head") else b"",
    )


def _digests(value: shape.Reader) -> tuple[bytes, ...]:
    raw = value.bytes("has")
    if len(raw) % _DIGEST_BYTES or len(raw) > HAS_MAX * _DIGEST_BYTES:
        raise shape.WrongShape(
            where="report.has", expected=f"at most {HAS_MAX} digests", found=f"{len(raw)} bytes"
        )
    return tuple(raw[at : at + _DIGEST_BYTES] for at in range(0, len(raw), _DIGEST_BYTES))
