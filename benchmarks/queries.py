"""What people ask of a central with 10 million tasks in 1,000 datasets, while results come in.

A process of its own brings results that it made before, as fast as central takes them; as long as
it does, eight named queries are asked in turn over one connection each. Afterwards, with nothing
else going on: the stream of all failed tasks of the large dataset.
"""

from __future__ import annotations

import http.client
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.central import served
from benchmarks.filled import Filled
from benchmarks.table import Row, below
from bundle.client import Client
from bundle.dataset import spec
from bundle.dataset.spec import Command, Dataset, Step
from central.home import Home

TASKS = 152 << 16  # 10 million, in blocks
FAILED = 103  # of every 1,024 tasks
DATASETS = 1_000
OWNERS = 25
BUNDLES, BUNDLE_TASKS = 400, 4_000  # of results that come in meanwhile
ASKED_MIN = 50
P99_MS, STREAM_ROWS_S = 50.0, 100_000.0
TIMEOUT_S = 60.0
NDJSON = "application/x-ndjson"


def measure() -> list[Row]:
    """Return the p99 of each query beside merging, and failed tasks a second."""
    with tempfile.TemporaryDirectory(prefix="pulk-queries-") as name:
        folder = Path(name)
        home, dataset, roots = _made(folder)
        with served(home.root):
            client = client_of(home.root)
            with _results_coming(folder, home, roots) as (coming, merging):
                taken, merged_s = _ask(client, queries(dataset, merging), coming)
            return [*_rows(taken, merged_s), _stream(client, dataset)]


def queries(dataset: str, merging: str) -> dict[str, str]:
    """Return the paths of the named queries, about the large dataset and the one that grows."""
    one = f"/v1/datasets/{dataset}"
    return {
        "list datasets": "/v1/datasets?limit=50",
        "list, filtered and sorted": "/v1/datasets?name=d17&sort=-submitted&limit=50",
        "search in names and descriptions": "/v1/datasets?q=neutrino+7&limit=50",
        "show a dataset": one,
        "counts by step and verdict": f"{one}/counts",
        "a page of failed tasks": f"{one}/tasks?verdict=failed&first=5000000&limit=100",
        "one task, with its attempts": f"/v1/datasets/{merging}/tasks/100/0",
        "sums over all datasets": "/v1/aggregates?by=name",
    }


def _made(folder: Path) -> tuple[Home, str, str]:
    """Make a central of one large dataset and many small ones; return the large one, and roots."""
    filled = Filled(folder, TASKS, failed=FAILED)
    for number in range(DATASETS - 1):
        document = Dataset(
            f"d{number % OWNERS}",
            1 + number,
            number,
            (Step("run", Command(("/bin/true",))),),
            description=f"neutrino {number % 10}",
        )
        filled.authority.submit(
            spec.encode(document), idempotency_key=f"small {number}", token_id=1
        )
    dataset = filled.row.id
    filled.close()
    settings = f"[planner]\nbundle_tasks_max = {BUNDLE_TASKS}\nshard_tasks_max = {BUNDLE_TASKS}\n"
    (filled.home.root / "central.toml").write_text(settings)
    return filled.home, dataset, filled.root_fingerprint


@contextmanager
def _results_coming(
    folder: Path, home: Home, roots: str
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Have a process bring results, from now on until it has no more."""
    load = folder / "load"
    load.mkdir()
    arguments = [str(load), str(home.root), roots, str(BUNDLES), str(BUNDLE_TASKS)]
    command = [sys.executable, "-m", "benchmarks.queries_load", *arguments]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None and process.stdin is not None
            merging = process.stdout.readline().strip()
            process.stdin.write("go\n")
            process.stdin.flush()
            yield process, merging
        finally:
            process.kill()


def _ask(
    client: Client, asked: dict[str, str], coming: subprocess.Popen[str]
) -> tuple[dict[str, list[float]], float]:
    """Ask in turn while results come; return what each took in ms, and how long they came."""
    taken: dict[str, list[float]] = {name: [] for name in asked}
    connection = _connection(client)
    for path in asked.values():  # the server has pages to read and modules to load
        _get(client, connection, path)
    began = time.perf_counter()
    while coming.poll() is None:
        for name, path in asked.items():
            at = time.perf_counter()
            _get(client, connection, path)
            taken[name].append(1e3 * (time.perf_counter() - at))
    took_s = time.perf_counter() - began
    assert coming.returncode == 0, "the results could not be brought"
    assert all(len(one) >= ASKED_MIN for one in taken.values()), "too few were asked"
    return taken, took_s


def _rows(taken: dict[str, list[float]], merged_s: float) -> list[Row]:
    rows = [
        Row("queries", "results merged meanwhile", BUNDLES * BUNDLE_TASKS / merged_s, "results/s")
    ]
    for name, each in taken.items():
        p99 = statistics.quantiles(each, n=100)[98]
        rows.append(below("queries", f"{name}, p99 of {len(each)}", p99, "ms", P99_MS))
        rows.append(Row("queries", f"{name}, median", statistics.median(each), "ms"))
    return rows


def _stream(client: Client, dataset: str) -> Row:
    """Read all failed tasks as lines."""
    connection = _connection(client)
    at = time.perf_counter()
    headers = {"Authorization": f"Bearer {client._token}", "Accept": NDJSON}
    connection.request("GET", f"/v1/datasets/{dataset}/tasks?verdict=failed", headers=headers)
    answer = connection.getresponse()
    assert answer.status == http.client.OK, answer.read()
    count = 0
    while piece := answer.read(1 << 20):
        count += piece.count(b"\n")
    rate = count / (time.perf_counter() - at)
    assert count == TASKS // 1024 * FAILED, f"{count} lines"
    what = f"all {count} failed tasks of the large dataset, as lines"
    against = f"{STREAM_ROWS_S:g} rows/s"
    return Row("queries", what, rate, "rows/s", against, rate / STREAM_ROWS_S, 1.0)


def _connection(client: Client) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(urlsplit(client.base).netloc, timeout=TIMEOUT_S)


def _get(client: Client, connection: http.client.HTTPConnection, path: str) -> None:
    connection.request("GET", path, headers={"Authorization": f"Bearer {client._token}"})
    answer = connection.getresponse()
    body = answer.read()
    assert answer.status == http.client.OK, body


def client_of(root: Path) -> Client:
    """Return an administrator's client of the central that serves from a folder."""
    home = Home(root)
    return Client(home.address.read_text().strip(), home.token.read_text().strip())
