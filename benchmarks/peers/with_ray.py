"""Ray: a node of two CPUs, remote functions. `python -m ... TASKS FOLDER`."""

from __future__ import annotations

import os
import sys

os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"}

import ray

from benchmarks.peers.said import SLOTS, measure, run_true

STORE_BYTES = 80_000_000  # the least that it takes


def main(tasks: str, folder: str) -> None:
    """Measure."""
    ray.init(
        num_cpus=SLOTS,
        include_dashboard=False,
        object_store_memory=STORE_BYTES,
        log_to_driver=False,
        _node_ip_address="127.0.0.1",
        _temp_dir=folder,
    )
    task = ray.remote(run_true)

    def run(count: int) -> None:
        assert ray.get([task.remote() for _ in range(count)]) == [0] * count

    measure(int(tasks), run)
    ray.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])
