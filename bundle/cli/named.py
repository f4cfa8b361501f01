"""Files as people name them: in full, or cut short where that fits one bundle only."""

from __future__ import annotations

import argparse
from pathlib import Path

CHARS_MIN = 4  # of a name that is cut short
FITS_SHOWN = 4


def bundle_path(text: str) -> Path:
    """Return a path, or the one bundle file whose name begins so; raises ArgumentTypeError."""
    path = Path(text)
    if len(path.name) < CHARS_MIN or path.exists() or path.is_symlink():
        return path
    try:
        rows = sorted(one for one in path.parent.iterdir() if one.name.startswith(path.name))
    except OSError:
        return path
    fits = [one for one in rows if one.name.endswith(".pulk") and one.is_file()]
    if len(fits) > 1:
        shown = ", ".join(one.name for one in fits[:FITS_SHOWN])
        more = ", ..." if len(fits) > FITS_SHOWN else ""
        raise argparse.ArgumentTypeError(f"{text!r} fits {len(fits)} files: {shown}{more}")
    return fits[0] if fits else path
