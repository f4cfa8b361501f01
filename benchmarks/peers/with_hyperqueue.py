"""HyperQueue: server and a worker of two cores, as its Python package brings them.

`python -m ... TASKS FOLDER`. The tasks' output is not kept. Its client asks once a second whether a
job has ended; so a last task, of lower priority than the others, says when.
"""

from __future__ import annotations

import sys
from pathlib import Path

from hyperqueue import Job
from hyperqueue.cluster import LocalCluster, WorkerConfig

from benchmarks.peers.said import SLOTS, TRUE, measure


def main(tasks: str, folder: str) -> None:
    """Measure."""
    ended = Path(folder, "ended")
    with LocalCluster(folder, WorkerConfig(cores=SLOTS)) as cluster:
        client = cluster.client()

        def run(count: int) -> float:
            job = Job(default_workdir=folder)
            for _ in range(count - 1):
                job.program([TRUE], stdout=None, stderr=None)
            job.program(["/usr/bin/touch", str(ended)], stdout=None, stderr=None, priority=-1)
            client.wait_for_jobs([client.submit(job)])
            return ended.stat().st_mtime

        measure(int(tasks), run)


if __name__ == "__main__":
    main(*sys.argv[1:])
