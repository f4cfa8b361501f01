"""How many worlds show each planted bug: `python -m tests.simulation.show [SEEDS [PROCESSES]]`."""

from __future__ import annotations

import json
import sys
from concurrent.futures import ProcessPoolExecutor

from tests.conftest import REPOSITORY
from tests.simulation.planted import BUGS
from tests.simulation.test_planted import SEEDS, fails


def shown(bug_no: int, seeds: int) -> tuple[int, list[int], list[int]]:
    """Return the seeds whose worlds fail with a bug, and of those the ones that fail without it."""
    bug = BUGS[bug_no]
    found = [seed for seed in range(seeds) if fails(bug, seed, planted=True)]
    return bug_no, found, [seed for seed in found if fails(bug, seed, planted=False)]


def main(seeds: int, processes: int) -> None:
    """Print the table, and write it to `.campaign/planted.json`."""
    table = {}
    with ProcessPoolExecutor(processes) as pool:
        for no, found, anyway in pool.map(shown, range(len(BUGS)), [seeds] * len(BUGS)):
            table[BUGS[no].name] = {"worlds": seeds, "failed": len(found), "anyway": anyway}
            print(
                f"{len(found) - len(anyway):3} of {seeds}  {BUGS[no].name}  {anyway or ''}",
                flush=True,
            )
    folder = REPOSITORY / ".campaign"
    folder.mkdir(exist_ok=True)
    (folder / "planted.json").write_text(json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    main(*(int(text) for text in sys.argv[1:]) if sys.argv[1:] else (SEEDS, 2))
