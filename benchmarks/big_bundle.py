"""One step with a large data bundle in a process of its own: prints its seconds and peak memory.

`python -m benchmarks.big_bundle STEP FOLDER`, where FOLDER holds `root`, `central` and `file`.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bundle.digest import file_digest
from bundle.ids import StreamId
from bundle.trust.keys import KeyFile
from bundle.trust.quickstart import CENTRAL_KEY, TRUST_FILE
from bundle.trust.trust_file import TrustView
from bundle.wire import files, thin
from bundle.wire.manifest import Kind, ManifestDraft
from bundle.wire.read import open_bundle
from bundle.wire.write import write_bundle

PARTS = 4
CREATED_US = 1_764_000_000_000_000


def _write(folder: Path) -> str:
    """Make the bundle and return its id."""
    file = folder / "file"
    draft = ManifestDraft(
        kind=Kind.DATA,
        producer="central",
        stream=StreamId(bytes(16)),
        sequence=0,
        created_us=CREATED_US,
    )
    sources = files.file_sources(file_digest(file), file)
    key = KeyFile.load(folder / "central" / CENTRAL_KEY)
    return write_bundle(folder / "bundle", draft, sources, key)


def _verify(folder: Path) -> str:
    return _verified(folder, folder / "bundle")


def _verify_joined(folder: Path) -> str:
    return _verified(folder, folder / "joined")


def _verified(folder: Path, path: Path) -> str:
    trust = TrustView.load(folder / "central" / TRUST_FILE)
    with open_bundle(path, trust, audience=None, kinds=frozenset({Kind.DATA})) as bundle:
        bundle.check_all()
        return bundle.id


def _hash(folder: Path) -> str:
    """Hash the bundle's file: the floor of verifying it."""
    with (folder / "bundle").open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _split(folder: Path) -> str:
    """Write the bundle as parts; each is verified where it is read."""
    with thin.opened(folder / "bundle") as copy:
        chunks = len(copy.places)
    for part in range(PARTS):
        keep = range(part * chunks // PARTS, (part + 1) * chunks // PARTS)
        thin.write_thin(folder / "bundle", folder / f"part-{part}", keep)
    return str(chunks)


def _join(folder: Path) -> str:
    parts = [folder / f"part-{part}" for part in range(PARTS)]
    absent = thin.join(folder / "joined", parts)
    assert not absent, f"{len(absent)} chunks are absent"
    return str(PARTS)


STEPS: dict[str, Callable[[Path], str]] = {
    "write": _write,
    "verify": _verify,
    "hash": _hash,
    "split": _split,
    "join": _join,
    "verify-joined": _verify_joined,
}


def _peak_mib() -> float:
    """Return the most resident memory that this process ever had."""
    status = Path("/proc/self/status").read_text().split()
    return int(status[status.index("VmHWM:") + 1]) / 1024


def main() -> None:
    """Run the step that the command line names."""
    step, folder = STEPS[sys.argv[1]], Path(sys.argv[2])
    started = time.monotonic()
    said = step(folder)
    found: dict[str, Any] = {"said": said, "seconds": time.monotonic() - started}
    print(json.dumps(found | {"peak_mib": _peak_mib()}))


if __name__ == "__main__":
    main()
