"""Play worlds by their seeds: `python -m tests.simulation SEED [SEED ...]` tells their stories."""

from __future__ import annotations

import sys
import time

from tests.simulation.world import world

for text in sys.argv[1:]:
    begun_s = time.perf_counter()
    with world(int(text)) as made:
        try:
            made.run()
        finally:
            print("\n".join(made.machine.story))
            print(made.plan, dict(made.fired), f"{time.perf_counter() - begun_s:.2f} s")
