"""A site that made its results beforehand and brings them when it is told; see `queries`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from benchmarks import several
from benchmarks.queries import client_of
from benchmarks.scripted_site import ScriptedSite
from bundle.dataset import spec
from bundle.dataset.spec import Command, Dataset, Step

FIRST = 2


def main(arguments: list[str]) -> None:
    """Submit, fetch, write results, bring some, say the dataset; after a line bring the rest."""
    folder, root, words = Path(arguments[0]), Path(arguments[1]), arguments[2]
    bundles, tasks = int(arguments[3]), int(arguments[4])
    client = client_of(root)
    document = Dataset("load", bundles * tasks, 1, (Step("run", Command(("/bin/true",))),))
    dataset = client.submit(spec.encode(document), os.urandom(16).hex())["id"]
    site = ScriptedSite("load", folder, root, words, client)
    several.prepare(site, bundles, tasks)
    several.bring(site, FIRST)
    print(dataset, flush=True)
    sys.stdin.readline()
    several.bring(site, bundles)


if __name__ == "__main__":
    main(sys.argv[1:])
