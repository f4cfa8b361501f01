"""Parsl: its high-throughput executor with two workers. `python -m ... TASKS FOLDER`."""

from __future__ import annotations

import sys

import parsl
from parsl.config import Config
from parsl.executors import HighThroughputExecutor
from parsl.providers import LocalProvider

from benchmarks.peers.said import SLOTS, measure, run_true


def main(tasks: str, folder: str) -> None:
    """Measure."""
    executor = HighThroughputExecutor(
        label="two",
        address="127.0.0.1",
        loopback_address="127.0.0.1",
        max_workers_per_node=SLOTS,
        provider=LocalProvider(init_blocks=1, min_blocks=1, max_blocks=1),
    )
    config = Config(executors=[executor], run_dir=folder, usage_tracking=0, strategy="none")
    with parsl.load(config):
        task = parsl.python_app(run_true)

        def run(count: int) -> None:
            assert [one.result() for one in [task() for _ in range(count)]] == [0] * count

        measure(int(tasks), run)


if __name__ == "__main__":
    main(*sys.argv[1:])
