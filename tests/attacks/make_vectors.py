"""Makes docs/vectors: small files of every kind, and what a reader must say of each.

    python -m tests.attacks.make_vectors [FOLDER]

The same bytes come out every time: keys are fixed (and published: for tests only), compressed
bodies are written by hand. What is expected stands here in words; no reader is asked.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tests.attacks import vector_bundles, vector_trust
from tests.attacks.vector_parts import KEYS, Made, seed_of

FOLDER = Path(__file__).parents[2] / "docs" / "vectors"
INDEX = "index.json"
NOTE = (
    "THE SEEDS BELOW ARE PRIVATE KEYS THAT ARE PUBLISHED: FOR TESTS ONLY, THEY PROTECT NOTHING. "
    "What each field means stands in docs/bundle-format.md, Test vectors."
)


def bundle_row(name: str, made: Made, about: dict[str, Any]) -> dict[str, Any]:
    """Return what a reader must say of a bundle file: why it is refused, or all that is in it."""
    row: dict[str, Any] = {
        "file": f"{name}.pulk",
        "type": "bundle",
        "kind": made.kind.value,
        "trust": "trust-1.trust",
        "audience": None,
        "kinds": None,
    }
    row |= {key: value for key, value in about.items() if key in (*row, "why", "bytes_max")}
    if code := about.get("code"):
        return row | {"verdict": "refused", "code": code}
    states = about.get("states", ["ok"] * len(made.bodies))
    chunks = [
        {
            "kind": body.entry().kind,
            "name": body.entry().name,
            "raw_bytes": body.entry().raw_bytes,
            "records": body.entry().records,
            "digest": body.entry().digest.hex(),
            "verdict": state,
        }
        for body, state in zip(made.bodies, states, strict=True)
    ]
    signer = KEYS[about["signer"]].public.hex()
    found = {"bundle_id": made.id, "signer": signer, "site": about.get("site"), "chunks": chunks}
    extra = {key: about[key] for key in ("unknown", "attempts") if key in about}
    return row | {"verdict": "ok"} | found | extra


def files() -> dict[str, bytes]:
    """Return every file by its name, the index among them."""
    found: dict[str, bytes] = {}
    rows: list[dict[str, Any]] = []
    for name, made, about in vector_bundles.every():
        raw = about.get("raw", made.file())
        if raw is not None:
            found[f"{name}.pulk"] = raw
        rows.append(bundle_row(name, made, about))
    for name, raw, about in vector_trust.every():
        found[name] = raw
        rows.append({"file": name} | about)
    keys = [
        {"role": role, "seed": seed_of(role).hex(), "public": KEYS[role].public.hex()}
        for role in KEYS
    ]
    found[INDEX] = _lines(
        {
            "note": NOTE,
            "format": 1,
            "users": [KEYS["user"].public.hex()],
            "keys": keys,
            "files": rows,
            "signatures": list(vector_trust.signatures()),
        }
    )
    return found


def _lines(index: dict[str, Any]) -> bytes:
    """Return JSON with one row of an array on a line, so that a change shows what it changes."""
    parts = []
    for name, value in index.items():
        if isinstance(value, list):
            rows = ",\n  ".join(json.dumps(row) for row in value)
            parts.append(f"{json.dumps(name)}: [\n  {rows}\n ]")
        else:
            parts.append(f"{json.dumps(name)}: {json.dumps(value)}")
    return ("{\n " + ",\n ".join(parts) + "\n}\n").encode()


def main(arguments: list[str]) -> int:
    """Write the files; what is no vector any more is removed."""
    folder = Path(arguments[0]) if arguments else FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    made = files()
    for path in folder.iterdir():
        if path.name not in made:
            path.unlink()
    for name, raw in made.items():
        (folder / name).write_bytes(raw)
    print(f"{len(made)} files, {sum(map(len, made.values()))} bytes in {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
