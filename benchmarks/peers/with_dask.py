"""Dask: a scheduler and two workers of one thread each. `python -m ... TASKS FOLDER`."""

from __future__ import annotations

import sys

from distributed import Client, LocalCluster

from benchmarks.peers.said import SLOTS, measure, run_true


def main(tasks: str, folder: str) -> None:
    """Measure."""
    with (
        LocalCluster(
            n_workers=SLOTS,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address=None,
            local_directory=folder,
        ) as cluster,
        Client(cluster) as client,
    ):

        def run(count: int) -> None:
            ended = client.gather(client.map(run_true, range(count), pure=False))
            assert ended == [0] * count

        measure(int(tasks), run)


if __name__ == "__main__":
    main(*sys.argv[1:])
