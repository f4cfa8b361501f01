"""How tasks are held on a node, as a site's operator decides: plain values for a slot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from bundle.dataset.asks import NETWORK_CLASSES

ISOLATED = "isolated"


class Isolation(StrEnum):
    """What a site asks for: what works, isolation or nothing, or the plain way."""

    AUTO = "auto"
    REQUIRED = "required"
    PLAIN = "plain"


@dataclass(frozen=True, slots=True)
class Holding:
    """What holds a task.

    `hidden` are folders that a task must not see, `visible` what it may read all the same,
    `writable` what it may change beside its own directory. `network` is the largest class that
    a step may ask for. `processes_max` counts threads too; `files_max` are open ones of a process.
    `ram_bytes` bounds what a task may lay into /tmp, /var/tmp and /dev/shm, which are memory.
    """

    isolation: Isolation = Isolation.AUTO
    hidden: tuple[str, ...] = ()
    visible: tuple[str, ...] = ()
    writable: tuple[str, ...] = ()
    network: str = "none"
    processes_max: int = 4096
    files_max: int = 4096
    ram_bytes: int = 1 << 30

    @property
    def opens_network(self) -> bool:
        """Whether steps that ask for it reach more than their own node."""
        return self.network in ("site", "any")

    def to_wire(self) -> dict[str, Any]:
        """Return plain values for a message to a slot."""
        return asdict(self) | {"isolation": str(self.isolation)}


def from_wire(value: Mapping[str, Any]) -> Holding:
    """Read what a pilot told its slot."""
    lists = {name: tuple(value[name]) for name in ("hidden", "visible", "writable")}
    return Holding(**{**value, **lists, "isolation": Isolation(value["isolation"])})


def allows(holding: Holding, wanted: str) -> bool:
    """Whether a step that asks for a network class may have it here; empty asks for none."""
    if not wanted:
        return True
    return NETWORK_CLASSES.index(wanted) <= NETWORK_CLASSES.index(holding.network or "none")


def denied(holding: Holding, wanted: str) -> str:
    """Return why a step may not have the network class that it asks for."""
    return f"the step asks for network class {wanted!r}, tasks here get {holding.network!r}"
