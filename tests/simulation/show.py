"""How many worlds show each planted bug: `python -m tests.simulation.show [SEEDS [FIRST]]`.

FIRST is the number of the bug to begin with. `.campaign/planted.json` grows with the table.
"""

from __future__ import annotations

import json
import os
import sys
from concurrent.futures import ProcessPoolExecutor

from tests.conftest import REPOSITORY
from tests.simulation.planted import BUGS
from tests.simulation.test_planted import fails


def shown(number: int, seeds: int) -> tuple[str, list[int], list[int]]:
    """Return a bug, the seeds whose worlds fail with it, and of those the ones that always do."""
    bug = BUGS[number]
    found = [seed for seed in range(seeds) if fails(bug, seed, planted=True)]
    return bug.name, found, [seed for seed in found if fails(bug, seed, planted=False)]


def table(seeds: int = 10, first: int = 0, processes: int | None = None) -> None:
    """Print the table and write it."""
    path = REPOSITORY / ".campaign" / "planted.json"
    path.parent.mkdir(exist_ok=True)
    found = {}
    with ProcessPoolExecutor(processes or os.cpu_count()) as pool:
        numbers = range(first, len(BUGS))
        for name, failed, anyway in pool.map(shown, numbers, [seeds] * len(numbers)):
            found[name] = {"worlds": seeds, "show it": len(failed) - len(anyway), "anyway": anyway}
            path.write_text(json.dumps(found, indent=1) + "\n")
            print(f"{len(failed) - len(anyway):3} of {seeds}  {name}", anyway or "", flush=True)


if __name__ == "__main__":
    table(*map(int, sys.argv[1:]))
