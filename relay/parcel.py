"""A parcel: a small spool with a fixed set of shards, for a node that does not see the site's.

One tar file: `spool/` with the shards on offer there, their work bundles, the seals and files that
they build upon; `relay.toml`; `pilot/`, a pilot folder; `inputs`, which files need not come back. A
pilot works on it as on any spool, and what it seals is brought back (`relay.returns`).
"""

from __future__ import annotations

import contextlib
import io
import logging
import tarfile
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

from bundle.errors import PulkError
from bundle.fates import Fate
from bundle.ids import BundleId
from bundle.limits import SEAL_LIMITS
from bundle.records import foreign
from bundle.records import seal as seals
from bundle.records import segment as segments
from bundle.spool import publish
from bundle.spool.bounded import read_bounded
from bundle.spool.layout import FOLDERS, ShardName, Spool
from relay import config as configs
from relay.home import Home
from relay.sources import Sources
from relay.works import Work

_LOG = logging.getLogger(__name__)
NAME = "parcel.tar"  # as site_adapters call it
SPOOL, PILOT, INPUTS = "spool", "pilot", "inputs"
COMMAND = ("-I", PILOT, "run", "--spool", SPOOL, "--batch-id", "{batch_id}")
_SENT = Spool(Path(SPOOL))


def write(
    home: Home, live: Iterable[Work], held: Path, shards: Iterable[ShardName], to: Path
) -> None:
    """Write the parcel of shards whose files lie in `held`. Raises PulkError, OSError."""
    by_lease = {plan.lease: (work, plan) for work in live for plan in work.plans}
    bundles: set[BundleId] = set()
    files: set[bytes] = set()
    with (
        Sources(home.spool, home.trust(), home.site) as sources,
        to.open("xb") as out,
        tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for folder in ("", *FOLDERS):
            _add_folder(tar, _SENT.root / folder)
        for shard in shards:
            work, plan = by_lease[shard.lease]
            tar.add(held / f"{shard}.shard", str(_SENT.claimable(shard)))
            if work.id not in bundles:
                bundles.add(work.id)
                _add_folder(tar, _SENT.work(work.id))
                _add_folder(tar, _SENT.kept_seals(work.id))
                tar.add(home.spool.work_bundle(work.id), str(_SENT.work_bundle(work.id)))
            lease = sources.lease(work.id, shard.lease)
            files.update(file for pin in lease.pins for file, _ in pin.outputs)
            files.update(foreign.files_of(lease.foreign))
            leases = {one.lease for one in work.plans if one.shard in plan.needs} | {plan.lease}
            for path in (
                one for each in sorted(leases) for one in home.spool.seals_of(work.id, each)
            ):
                name = str(_SENT.kept_seals(work.id) / path.name)
                if name not in tar.getnames():
                    tar.add(path, name)
                files.update(_outputs(path))
        tar.add(home.spool.trust, str(_SENT.trust))
        _add_bytes(tar, INPUTS, "".join(_add_files(home, tar, files)).encode())
        for path, name in _settings(home):
            tar.add(path, name)
        tar.add(home.folder / home.config.pilots.folder, PILOT)


def _add_files(home: Home, tar: tarfile.TarFile, files: Iterable[bytes]) -> Iterator[str]:
    """Add files by their digests, yield their names as lines; the pilot tells of one that lacks."""
    for file in sorted(files):
        path, name = home.spool.data(file), _SENT.data(file)
        if path.is_file():
            tar.add(path, str(name))
            yield f"{name.relative_to(_SENT.folder('data'))}\n"


def _outputs(path: Path) -> set[bytes]:
    try:
        seal = seals.decode(read_bounded(path, SEAL_LIMITS), where=str(path))
        attempts = segments.decode(seal.segment).attempts
    except (PulkError, FileNotFoundError) as error:
        _LOG.warning("seal left out of a parcel", extra={"reason": str(error)})
        return set()
    return {file for one in attempts if one.fate is Fate.SUCCESS for file, _ in one.outputs}


def _settings(home: Home) -> Iterator[tuple[Path, str]]:
    """Yield relay.toml and the lists of software that it names, by their place beside it."""
    path = home.folder / configs.NAME
    yield path, configs.NAME
    named = tomllib.loads(path.read_text(encoding="utf-8")).get("tasks", {})
    for file in named.get("software_files", {}).values():
        place = Path(file)
        if not place.is_absolute() and ".." not in place.parts:
            yield home.folder / place, str(place)


def _add_folder(tar: tarfile.TarFile, path: Path) -> None:
    about = tarfile.TarInfo(str(path))
    about.type, about.mode = tarfile.DIRTYPE, 0o700
    tar.addfile(about)


def _add_bytes(tar: tarfile.TarFile, name: str, raw: bytes) -> None:
    about = tarfile.TarInfo(name)
    about.size, about.mode = len(raw), 0o600
    tar.addfile(about, io.BytesIO(raw))


@contextlib.contextmanager
def written(
    home: Home, live: Iterable[Work], held: Path, shards: Iterable[ShardName]
) -> Iterator[Path]:
    """Write a parcel for as long as the body lasts. Raises PulkError, OSError."""
    folder = home.tmp / f"parcel-{held.name}"
    publish.make_folder(folder)
    try:
        write(home, live, held, shards, folder / NAME)
        yield folder / NAME
    finally:
        publish.remove(folder)
