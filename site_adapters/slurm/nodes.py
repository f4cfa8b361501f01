"""Nodes and partitions as sinfo and scontrol print them, and the limits in them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from site_adapters.contract import Limits
from site_adapters.slurm import jobs, tables, values, words
from site_adapters.slurm.values import Device

USABLE = frozenset({"IDLE", "MIXED", "ALLOCATED", "COMPLETING", "RESERVED", "PLANNED"})
_SHORT = {"ALLOC": "ALLOCATED", "COMP": "COMPLETING", "MIX": "MIXED", "DRNG": "DRAINING"}
_COLUMNS = {
    "name": ("nodelist", "nodehost", "nodename", "n", "host"),
    "state": ("statelong", "state", "statecompact", "s"),
    "cpus": ("cpus", "c", "cputot"),
    "memory": ("memory", "mem", "realmemory"),
    "gres": ("gres",),
    "partition": ("partitionname", "partition", "p", "partitions"),
    "limit": ("time", "timelimit", "maxtime"),
}


@dataclass(frozen=True, slots=True)
class Node:
    """A node, or several alike of one row. 0 and empty: not printed."""

    name: str
    states: tuple[str, ...] = ()
    cpus: int = 0
    memory_mib: int = 0
    devices: tuple[Device, ...] = ()
    partitions: tuple[str, ...] = ()

    @property
    def is_usable(self) -> bool:
        """Whether batch jobs start there, now or when others have ended."""
        flags = {"DRAIN", "DRAINED", "DRAINING", "FAIL", "DOWN", "MAINT", "NOT_RESPONDING"}
        return bool(set(self.states) & USABLE) and not set(self.states) & flags


@dataclass(frozen=True, slots=True)
class Partition:
    """A partition. `limit_s` and `nodes_max` may be `values.UNLIMITED`; None: not printed."""

    name: str
    is_default: bool = False
    is_up: bool = True
    limit_s: int | None = None
    nodes: int = 0
    nodes_max: int | None = None


def from_table(
    raw: bytes, program: str, columns: Sequence[str] | None = None, separator: str = "|"
) -> list[Node]:
    """Read a table of sinfo. Raises OutputRefused."""
    found = []
    for row in tables.rows(raw, program, columns, separator):
        said = {name.replace("_", "").lower(): word for name, word in row.words.items()}
        found.append(_node(row.line, said, program))
    return found


def from_scontrol(raw: bytes) -> list[Node]:
    """Read `scontrol show node`, on one line each or several. Raises OutputRefused."""
    return [
        _node(row.line, {name.lower(): word for name, word in row.words.items()}, "scontrol")
        for row in tables.records(raw, "scontrol", "NodeName")
    ]


def _node(line: int, said: Mapping[str, str], program: str) -> Node:
    facts = {
        name: next((said[one] for one in names if one in said), "")
        for name, names in _COLUMNS.items()
    }
    try:
        memory = values.memory_mib(facts["memory"].rstrip("+"))
        return Node(
            name=facts["name"],
            states=tuple(_SHORT.get(one, one) for one in words.node_states(facts["state"])),
            cpus=int(facts["cpus"].rstrip("+") or 0),
            memory_mib=memory or 0,
            devices=values.devices(facts["gres"]),
            partitions=tuple(one.rstrip("*") for one in facts["partition"].split(",") if one),
        )
    except ValueError as error:
        shown = " ".join(said.values())
        raise tables.refused(program, line, shown, f"a node ({error})") from error


def from_json(raw: bytes, program: str) -> list[Node]:
    """Read the nodes of `sinfo --json` (21.08, 22.05), `scontrol show nodes --json` or the REST
    service. Raises OutputRefused."""
    found = []
    for at, said in enumerate(jobs.objects(raw, program, "nodes")):
        try:
            found.append(_from_object(said))
        except (ValueError, TypeError, AttributeError) as error:
            raise tables.refused(program, at + 1, str(said), f"a node ({error})") from error
    return found


def _from_object(said: Mapping[str, Any]) -> Node:
    state, flags = said.get("state") or [], said.get("state_flags") or []
    listed = [state] if isinstance(state, str) else state
    return Node(
        name=str(said["name"]) if "name" in said else "",
        states=tuple(part for one in [*listed, *flags] for part in words.node_states(one)),
        cpus=values.number(said.get("cpus")) or 0,
        memory_mib=values.number(said.get("real_memory")) or 0,
        devices=values.devices(str(said.get("gres") or "")),
        partitions=tuple(str(one) for one in said.get("partitions") or ()),
    )


def partitions(raw: bytes) -> list[Partition]:
    """Read `scontrol show partition`, on one line each or several. Raises OutputRefused."""
    found = []
    for row in tables.records(raw, "scontrol", "PartitionName"):
        said = row.words
        try:
            most = said.get("MaxNodes", "")
            found.append(
                Partition(
                    name=said["PartitionName"],
                    is_default=said.get("Default") == "YES",
                    is_up=said.get("State", "UP") == "UP",
                    limit_s=values.duration_s(said.get("MaxTime", "")),
                    nodes=int(said.get("TotalNodes") or 0),
                    nodes_max=values.UNLIMITED if most == "UNLIMITED" else int(most or 0) or None,
                )
            )
        except ValueError as error:
            shown = " ".join(said.values())
            raise tables.refused("scontrol", row.line, shown, f"a partition ({error})") from error
    return found


def partitions_from_json(raw: bytes, program: str) -> list[Partition]:
    """Read `scontrol show partitions --json`, or the REST service. Raises OutputRefused."""
    found = []
    for at, said in enumerate(jobs.objects(raw, program, "partitions")):
        try:
            most, state = said.get("maximums") or {}, (said.get("partition") or {}).get("state")
            minutes = values.number(most.get("time"))
            found.append(
                Partition(
                    name=str(said["name"]),
                    is_up="UP" in (state or ["UP"]),
                    limit_s=minutes if minutes in (None, values.UNLIMITED) else minutes * 60,
                    nodes=values.number((said.get("nodes") or {}).get("total")) or 0,
                    nodes_max=values.number(most.get("nodes")),
                )
            )
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            raise tables.refused(program, at + 1, str(said), f"a partition ({error})") from error
    return found


def limits(nodes: Iterable[Node], known: Iterable[Partition], wanted: str) -> Limits:
    """Return the limits for pilots in the partitions `wanted` (commas), else in the default one."""
    parts = list(known)
    names = {one for one in wanted.split(",") if one} or {p.name for p in parts if p.is_default}
    chosen = [p for p in parts if p.name in names and p.is_up]
    usable = [n for n in nodes if n.is_usable and (not names or names & set(n.partitions))]
    if not usable:
        return Limits()
    gpus: dict[str, int] = {}
    for node in usable:
        for one in node.devices:
            if one.kind == "gpu":
                gpus[one.model] = max(gpus.get(one.model, 0), one.count)
    times = [p.limit_s for p in chosen if p.limit_s is not None]
    return Limits(
        nodes=len({node.name for node in usable}),
        cpus=max(node.cpus for node in usable),
        memory_mib=max(node.memory_mib for node in usable),
        gpus=tuple(sorted(gpus.items())),
        walltime_s=0 if not times or values.UNLIMITED in times else max(times),
    )
