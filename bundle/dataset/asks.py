"""What a dataset asks of the planner: on whose account, how urgent, at which sites, on what nodes.

None of it changes what a task computes, so none of it is in a spec hash. On the wire a table that
says nothing is left out, so a document without any has the digest that it always had.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bundle import shape

PRIORITY_MAX = 100  # and -100 at least; ten more is twice the share among a user's datasets
NETWORK_CLASSES = ("none", "site", "any")  # each reaches all that those before it reach
ACCOUNT, REQUIRES = "account", "requires"


@dataclass(frozen=True, slots=True)
class Account:
    """Who is charged and how urgent it is. `deadline_us` is UTC microseconds; 0: none.

    `allow` and `deny` are names of sites; an empty `allow` means every site that is not denied.
    """

    user: str = ""
    group: str = ""
    priority: int = 0
    deadline_us: int = 0
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Requires:
    """What a step needs of a node besides amounts; empty or 0 asks for nothing in particular."""

    os: str = ""
    arch: str = ""
    libc: str = ""
    software: tuple[str, ...] = ()
    network: str = ""
    gpu_model: str = ""
    gpu_memory_mib: int = 0


def account_to_wire(account: Account) -> dict[str, Any]:
    """Return the table under `account`, or nothing where it says nothing."""
    if account == Account():
        return {}
    return {
        ACCOUNT: {
            "user": account.user,
            "group": account.group,
            "priority": account.priority,
            "deadline_us": account.deadline_us,
            "allow": list(account.allow),
            "deny": list(account.deny),
        }
    }


def account_from_wire(dataset: shape.Reader) -> Account:
    """Read a dataset's account. Raises WrongShape."""
    if not dataset.has(ACCOUNT):
        return Account()
    row = dataset.reader(ACCOUNT)
    return Account(
        user=row.text("user"),
        group=row.text("group"),
        priority=row.integer("priority"),
        deadline_us=row.count("deadline_us"),
        allow=row.texts("allow"),
        deny=row.texts("deny"),
    )


def requires_to_wire(requires: Requires) -> dict[str, Any]:
    """Return the table under `requires`, or nothing where it asks for nothing."""
    if requires == Requires():
        return {}
    return {
        REQUIRES: {
            "os": requires.os,
            "arch": requires.arch,
            "libc": requires.libc,
            "software": list(requires.software),
            "network": requires.network,
            "gpu_model": requires.gpu_model,
            "gpu_memory_mib": requires.gpu_memory_mib,
        }
    }


def requires_from_wire(step: shape.Reader) -> Requires:
    """Read what a step requires. Raises WrongShape."""
    if not step.has(REQUIRES):
        return Requires()
    row = step.reader(REQUIRES)
    return Requires(
        os=row.text("os"),
        arch=row.text("arch"),
        libc=row.text("libc"),
        software=row.texts("software"),
        network=row.text("network"),
        gpu_model=row.text("gpu_model"),
        gpu_memory_mib=row.count("gpu_memory_mib"),
    )
