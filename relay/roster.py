"""The roster: who works here, as one tick sees it. Each claim is read once in its life.

What was read is kept in `state/roster`, so that a tick among ten thousand pilots lists one folder
and reads one file. Claims do not change but for `retired`, which no tick asks for; where the file
is lost or damaged it is made anew from the spool.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from bundle import shape
from bundle.ids import PILOT_RUN_BYTES, PilotRun
from bundle.records.seal import Claim
from bundle.spool.layout import Spool
from bundle.trust.keys import PUBLIC_BYTES
from relay import claims, state

KEPT_MAX = 30_000  # claims that are kept; of more the rest is read at every tick
_BETWEEN = "\n"
_TEXTS = ("batch_id", "host", "boot_id", "offline", "isolation")
_NUMBERS = ("pid", "start_ticks", "started_us", "slots")


@dataclass(frozen=True, slots=True)
class Roster:
    """Claims by pilot, and the pilots that have a folder and no readable claim.

    The key of the radio is left out: who needs it reads the claim itself.
    """

    claims: Mapping[PilotRun, Claim]
    forlorn: tuple[PilotRun, ...]


def read(spool: Spool, *, keep: bool = True) -> Roster:
    """Return who works here now; remember the claims that were read, unless not to `keep` them."""
    runs = claims.pilot_runs(spool)
    kept = _kept(spool)
    found: dict[PilotRun, Claim] = {}
    forlorn = []
    for run in runs:
        if (known := kept.get(run)) is not None:
            found[run] = known
        elif (claim := claims.read(spool, run)) is not None:
            found[run] = replace(claim, radio_key=b"", retired="")
        else:
            forlorn.append(run)
    if keep and found.keys() != kept.keys():
        _keep(spool, list(found.values())[:KEPT_MAX])
    return Roster(found, tuple(forlorn))


def _kept(spool: Spool) -> dict[PilotRun, Claim]:
    value = state.read_map(state.folder(spool) / "roster")
    if value is None:
        return {}
    try:
        raw = value.bytes("runs")
        runs = [raw[at : at + PILOT_RUN_BYTES] for at in range(0, len(raw), PILOT_RUN_BYTES)]
        raw = value.bytes("keys", PUBLIC_BYTES * len(runs))
        keys = [raw[at : at + PUBLIC_BYTES] for at in range(0, len(raw), PUBLIC_BYTES)]
        texts = [value.text(name).split(_BETWEEN) for name in _TEXTS]
        numbers = [value.counts(name) for name in _NUMBERS]
        rows = zip(runs, keys, *texts, *numbers, strict=True)
        return {PilotRun(run): _claim(PilotRun(run), *row) for run, *row in rows if run}
    except (shape.WrongShape, ValueError):
        return {}


def _claim(
    run: PilotRun,
    key: bytes,
    batch_id: str,
    host: str,
    boot_id: str,
    offline: str,
    isolation: str,
    pid: int,
    start_ticks: int,
    started_us: int,
    slots: int,
) -> Claim:
    about = (batch_id, host, boot_id, pid, start_ticks, started_us, slots, offline, isolation)
    return Claim(run, key, *about)


def _keep(spool: Spool, found: Iterable[Claim]) -> None:
    rows = [one for one in found if not any(_BETWEEN in getattr(one, name) for name in _TEXTS)]
    value: dict[str, object] = {"runs": b"".join(one.pilot_run for one in rows)}
    value["keys"] = b"".join(one.pilot_key for one in rows)
    value |= {name: _BETWEEN.join(getattr(one, name) for one in rows) for name in _TEXTS}
    value |= {name: [getattr(one, name) for one in rows] for name in _NUMBERS}
    with contextlib.suppress(OSError):  # a disk that is full: they are read again
        state.write_map(spool, state.folder(spool) / "roster", value)
