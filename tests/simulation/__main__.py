"""Play worlds: `python -m tests.simulation SEED` tells a story, `SEED COUNT` plays a row of seeds.

A row says for each seed that fails why, and in the end which faults came how often.
"""

from __future__ import annotations

import sys
import time

from tests.simulation.faults import Fault, Fired
from tests.simulation.world import play, world


def tell(seed: int) -> None:
    """Play one world and print its story, also where it fails."""
    with world(seed) as made:
        try:
            made.run()
        finally:
            print("\n".join(made.machine.story))
            print(made.plan)


def row(first: int, count: int) -> int:
    """Play worlds one after the other; return how many failed."""
    fired: Fired = Fired()
    failed, begun_s, attempts = 0, time.perf_counter(), 0
    for seed in range(first, first + count):
        try:
            made = play(seed)
        except Exception as error:
            failed += 1
            print(f"{seed}: {type(error).__name__}: {error}", flush=True)
        else:
            fired += made.fired
            attempts += len(made.ledger.said)
    for fault in Fault:
        print(f"{fired[fault]:8} {fault.value}")
    took_s = time.perf_counter() - begun_s
    print(f"{count} worlds, {failed} failed, {attempts} attempts, {took_s / count:.2f} s each")
    return failed


if __name__ == "__main__":
    numbers = [int(text) for text in sys.argv[1:]]
    if len(numbers) == 1:
        tell(numbers[0])
    else:
        sys.exit(bool(row(*numbers)))
