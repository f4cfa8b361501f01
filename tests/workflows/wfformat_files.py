"""Small WfFormat files of our own, made to hold the traps of the real ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def write(folder: Path, value: Any) -> Path:
    """Write a file and return its path."""
    path = folder / "workflow.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


def modern() -> dict[str, Any]:
    """Return a diamond in schema 1.5: names repeat, half of the edges stand only in children."""

    def task(name: str, number: int, parents: list[str], children: list[str]) -> dict[str, Any]:
        made = {"id": f"{name}_{number}", "name": name, "parents": parents, "children": children}
        return made | {"inputFiles": [], "outputFiles": [f"/out/{name}.{number}"]}

    tasks = [
        task("split", 1, [], ["work_2", "work_3"]),
        task("work", 2, ["split_1"], []),
        task("work", 3, [], ["join_4"]),
        task("join", 4, ["work_2"], []),
    ]
    tasks[0]["inputFiles"] = ["raw data.txt"]
    tasks[1]["inputFiles"] = ["/out/split.1"]
    tasks[2]["inputFiles"] = ["/out/split.1", "raw data.txt"]
    tasks[3]["inputFiles"] = ["/out/work.2", "/out/work.3", "/out/split.1"]
    sizes = {"raw data.txt": 1000, "/out/split.1": 2000, "/out/work.2": 30, "/out/work.3": 0}
    sizes["/out/join.4"] = 5
    command = {"program": "rm -rf $(HOME); cat <<-END\n'\"", "arguments": ["$(reboot)"]}
    ran = [
        {"id": row["id"], "runtimeInSeconds": 10.0, "avgCPU": 50.0, "memoryInBytes": 3 << 20}
        for row in tasks
    ]
    ran[0] |= {"avgCPU": 250.0, "command": command}
    del ran[1]["avgCPU"]
    return {
        "name": "diamond",
        "schemaVersion": "1.5",
        "workflow": {
            "specification": {
                "tasks": tasks,
                "files": [{"id": key, "sizeInBytes": size} for key, size in sizes.items()],
            },
            "execution": {"tasks": ran},
        },
    }


def old() -> dict[str, Any]:
    """Return a chain in schema 1.2: key `jobs`, parents by name, memory in KB, ids beside them."""

    def job(name: str, number: int, parents: list[str], files: list[Any]) -> dict[str, Any]:
        made = {"name": name, "id": f"ID{number}", "type": "compute", "parents": parents}
        return made | {"runtime": 4, "memory": 2000, "files": files}

    jobs = [
        job("first", 1, [], [{"link": "output", "name": "a", "size": 7}]),
        job("second", 2, ["first"], [{"link": "input", "name": "a", "size": 7}]),
    ]
    return {"name": "chain", "schemaVersion": "1.2", "workflow": {"jobs": jobs}}
