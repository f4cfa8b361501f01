"""Speaks to a pool through HTCondor's bindings, in a process of its own that may be killed.

Reads one JSON document from standard input and writes one to standard output. The bindings block,
keep state for a whole process and print as they like, so nothing else of Pulk imports them. This
file runs by its path and needs no other of Pulk.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any

MISSING = 3  # exit status: there are no bindings


def main() -> int:
    """Obey one order. Returns the exit status; what went wrong is on standard error."""
    order: dict[str, Any] = json.load(sys.stdin)
    answer = os.dup(1)
    os.dup2(2, 1)  # whatever the bindings print is no answer
    try:
        import htcondor2
    except ImportError as error:
        sys.stderr.write(f"{error}\n")
        return MISSING
    try:
        said = _ORDERS[order.pop("order")](htcondor2, **order)
    except Exception as error:  # their kinds differ between versions
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return 1
    with os.fdopen(answer, "w") as file:
        json.dump(said, file)
    return 0


def _pool(htcondor: Any, pool: str) -> Any:
    return htcondor.Collector(pool) if pool else htcondor.Collector()


def _schedd(htcondor: Any, pool: str, schedd: str) -> Any:
    if not pool and not schedd:
        named = htcondor.param.get("SCHEDD_HOST", "")
        if not named:
            return htcondor.Schedd()
        schedd = named
    where = _pool(htcondor, pool).locate(htcondor.DaemonType.Schedd, schedd or None)
    if where is None:
        raise LookupError(f"the pool knows no schedd {schedd!r}")
    return htcondor.Schedd(where)


def _plain(ads: Any, attributes: list[str]) -> list[dict[str, Any]]:
    """Return ads as plain values; what is undefined or an error is left out."""
    found = []
    for ad in ads:
        plain = {}
        for name in attributes:
            if name in ad:
                value = ad.eval(name)  # undefined and error are members of an enumeration
                if isinstance(value, (bool, int, float, str)) and not hasattr(value, "name"):
                    plain[name] = value
        found.append(plain)
    return found


def _submit(
    htcondor: Any,
    pool: str,
    schedd: str,
    constraint: str,
    description: dict[str, str],
    count: int,
    spool: bool,
) -> dict[str, Any]:
    """Submit once: what `constraint` finds in the queue was submitted before."""
    where = _schedd(htcondor, pool, schedd)
    for ad in where.query(constraint, ["ClusterId"], limit=1):
        return {"cluster": int(ad["ClusterId"]), "found": True}
    made = where.submit(htcondor.Submit(description), count=count, spool=spool)
    if spool:
        try:
            where.spool(made)
        except Exception:  # without its input it is nothing
            where.act(htcondor.JobAction.Remove, [f"{made.cluster()}.{at}" for at in range(count)])
            raise
    return {"cluster": int(made.cluster()), "found": False}


def _query(
    htcondor: Any, pool: str, schedd: str, constraint: str, attributes: list[str]
) -> list[dict[str, Any]]:
    where = _schedd(htcondor, pool, schedd)
    return _plain(where.query(constraint, attributes), attributes)


def _history(
    htcondor: Any, pool: str, schedd: str, constraint: str, attributes: list[str], since_s: int
) -> list[dict[str, Any]]:
    import classad2

    where = _schedd(htcondor, pool, schedd)
    since = classad2.ExprTree(f"EnteredCurrentStatus < {since_s}")
    return _plain(where.history(constraint, attributes, since=since), attributes)


def _act(
    htcondor: Any, pool: str, schedd: str, action: str, jobs: list[str], reason: str
) -> dict[str, Any]:
    """Remove, hold, release or vacate jobs; a few that are gone are no failure."""
    where = _schedd(htcondor, pool, schedd)
    said = where.act(getattr(htcondor.JobAction, action), jobs, reason)
    return {"done": int(said["TotalSuccess"]) if said is not None else 0}


def _retrieve(htcondor: Any, pool: str, schedd: str, jobs: list[str]) -> dict[str, Any]:
    _schedd(htcondor, pool, schedd).retrieve(jobs)
    return {}


def _let_go(htcondor: Any, pool: str, schedd: str, jobs: list[str]) -> dict[str, Any]:
    """Let ended jobs leave the queue."""
    return {"done": _schedd(htcondor, pool, schedd).edit(jobs, "LeaveJobInQueue", "false")}


def _slots(
    htcondor: Any, pool: str, constraint: str, attributes: list[str]
) -> list[dict[str, Any]]:
    found = _pool(htcondor, pool).query(htcondor.AdType.Startd, constraint, attributes)
    return _plain(found, attributes)


def _versions(htcondor: Any, pool: str, schedd: str) -> dict[str, Any]:
    where = _schedd(htcondor, pool, schedd)
    where.query("false", ["ClusterId"], limit=1)
    return {"bindings": str(htcondor.version()), "schedd": str(where._version)}


_ORDERS: dict[str, Callable[..., Any]] = {
    "submit": _submit,
    "query": _query,
    "history": _history,
    "act": _act,
    "retrieve": _retrieve,
    "let-go": _let_go,
    "slots": _slots,
    "versions": _versions,
}

if __name__ == "__main__":
    sys.exit(main())
