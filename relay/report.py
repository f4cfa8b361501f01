"""Reports: what the site wants and holds, told when it changed or after a while."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from bundle.digest import digest
from bundle.ids import Epoch
from bundle.records import report as reports
from bundle.records.report import HeldWork, Report
from bundle.wire.errors import AbsentChunk
from bundle.wire.manifest import Kind
from bundle.wire.write import ChunkSource, write_bundle
from relay import cosign, custody, delta, heads, holding, purging, state, stream, works
from relay import profile as profiles
from relay.core.custody import Place
from relay.core.shards import tasks_open
from relay.home import Home, now_us
from relay.results import draft_of
from relay.stream import Record
from relay.works import Work
from site_adapters.contract import PilotState, PilotView


def report(home: Home, live: list[Work], views: Mapping[str, PilotView], *, force: bool) -> bool:
    """Publish a report where there is news, or the last one is old, or `force`; True if so.

    One that still waits in `out/` is not followed by another, unless `force` has news to tell.
    """
    told = state.read_refusals(home.spool)
    now = now_us()
    said = _report(home, live, views, told, now)
    news = _news(said, state.read_central(home.spool).epoch)
    last = state.read_map(state.folder(home.spool) / "reported")
    if last is not None and not force:
        waited_us = now - last.count("at_us")
        is_old = not 0 <= waited_us < home.config.carry.report_after_s * 1_000_000
        if not is_old and last.bytes("news") == news:
            return False
    waits = any(
        h.kind is Kind.REPORT and h.place is Place.OUT for h in custody.every_held(home.spool)
    )
    if waits and not (force and last is not None and last.bytes("news") != news):
        return False
    stream.publish_next(home.spool, _draft(home, said))
    value = {"at_us": now, "news": news}
    state.write_map(home.spool, state.folder(home.spool) / "reported", value)
    state.forget_refusals(home.spool, told)
    return True


def _report(
    home: Home,
    live: list[Work],
    views: Mapping[str, PilotView],
    refused: tuple[tuple[str, str], ...],
    now: int,
) -> Report:
    return Report(
        at_us=now,
        tasks_wanted=wanted(home, live),
        slots=home.config.pilots.count * home.slots,
        pilots_running=sum(view.state is PilotState.RUNNING for view in views.values()),
        held=tuple(_held(home, work) for work in live),
        profile=tuple(sorted((_profile(home) | cosign.demand(home.config)).items())),
        refused=tuple(sorted({*refused, *_whole(home)})),
        has=delta.has(home, live),
        trust_version=home.trust().version,
        site=profiles.profile(home.config, home.adapter.limits()),
        head=heads.newest(home),
    )


def _whole(home: Home) -> set[tuple[str, str]]:
    return {(one, AbsentChunk.code) for one in delta.wanted_whole(home.spool)}


def wanted(home: Home, live: list[Work]) -> int:
    """Return how many unfinished tasks the site wants to hold now."""
    capacity = home.config.capacity
    is_full = 0 < capacity.bundles <= len(live)
    if is_full or home.spool.drain.exists() or not purging.outlook(home).takes_work:
        return 0
    return capacity.tasks_wanted


def _held(home: Home, work: Work) -> HeldWork:
    ended = works.ended(home.spool, work.id)
    return HeldWork(work.id, len(work.plans), len(ended.all()), tasks_open([(work.plans, ended)]))


def _profile(home: Home) -> dict[str, str]:
    said = holding.known(home.spool)
    return {
        **({"isolation": holding.in_words(said)} if said else {}),
        "cores": str(os.cpu_count() or 0),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "python": platform.python_version(),
    }


def _news(said: Report, epoch: Epoch) -> bytes:
    """Return a digest over what is worth a report of its own.

    Times and running pilots are not; that central began a new epoch is, its every commit is not.
    """
    bare = replace(said, at_us=0, pilots_running=0, has=(), head=epoch.nonce)
    return digest("report-news", reports.encode(bare))


def _draft(home: Home, said: Report) -> stream.Draft:
    def draft(sequence: int, previous: bytes) -> tuple[Path, Record] | None:
        number = stream.current(home.spool)
        path = home.tmp / f"report-{os.getpid()}-{os.urandom(6).hex()}"
        manifest = draft_of(home, Kind.REPORT, number, sequence, previous)
        chunk = ChunkSource(reports.CHUNK, reports.CHUNK, 1, reports.encode(said))
        made = write_bundle(path, manifest, [chunk], home.signer)
        return path, Record(number, sequence, made, Kind.REPORT)

    return draft
