"""The way Pulk does not go: one claim and one report over REST for every task.

A small honest server in a process of its own (aiohttp, SQLite with a partial index, one
transaction per request, synchronous=NORMAL) and a client with 16 connections.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import sys
from pathlib import Path

import aiohttp
from aiohttp import web

CONNECTIONS = 16


def serve(database: str, tasks: int) -> None:
    """Serve until killed; prints its port as the first line."""
    db = sqlite3.connect(database, isolation_level=None)
    db.executescript(
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;"
        "CREATE TABLE task"
        " (id INTEGER PRIMARY KEY, dataset TEXT, job INT, status TEXT, usage TEXT);"
        "CREATE INDEX ready ON task (id) WHERE status = 'ready';"
    )
    db.execute("BEGIN")
    db.executemany(
        "INSERT INTO task (dataset, job, status) VALUES ('d', ?, 'ready')",
        ((job,) for job in range(tasks)),
    )
    db.execute("COMMIT")

    async def claim(request: web.Request) -> web.Response:
        await request.read()
        row = db.execute(
            "UPDATE task SET status = 'leased' WHERE id = "
            "(SELECT id FROM task WHERE status = 'ready' LIMIT 1) RETURNING id, dataset, job"
        ).fetchone()
        if row is None:
            return web.Response(status=204)
        return web.json_response({"id": row[0], "dataset": row[1], "job": row[2]})

    async def report(request: web.Request) -> web.Response:
        body = await request.json()
        db.execute(
            "UPDATE task SET status = 'done', usage = ? WHERE id = ? AND status = 'leased'",
            (json.dumps(body), int(request.match_info["id"])),
        )
        return web.json_response({})

    async def main() -> None:
        app = web.Application()
        app.router.add_post("/claim", claim)
        app.router.add_put("/task/{id}", report)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        addresses = runner.addresses
        print(addresses[0][1], flush=True)
        await asyncio.Event().wait()

    asyncio.run(main())


async def drive(port: int) -> int:
    """Claim and report until nothing is left; returns how many tasks were reported."""
    usage = {"wall_ms": 3600000, "cpu_ms": 3500000, "memory_mib": 900, "digest": "0" * 64}
    base = f"http://127.0.0.1:{port}"
    done = 0
    connector = aiohttp.TCPConnector(limit=CONNECTIONS)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def one() -> None:
            nonlocal done
            while True:
                async with session.post(f"{base}/claim", json={"site": "s"}) as answer:
                    if answer.status == 204:
                        return
                    task = await answer.json()
                async with session.put(f"{base}/task/{task['id']}", json=usage) as answer:
                    await answer.read()
                done += 1

        await asyncio.gather(*(one() for _ in range(CONNECTIONS)))
    return done


if __name__ == "__main__":
    serve(str(Path(sys.argv[1])), int(sys.argv[2]))
