"""Where a pilot ran: the facts of its node that travel in every segment's header."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bundle import shape


@dataclass(frozen=True, slots=True)
class HostGpu:
    """A device that tasks could be given. `mig` is empty for a whole GPU; 0 MiB: unknown."""

    uuid: str
    model: str
    memory_mib: int = 0
    mig: str = ""


@dataclass(frozen=True, slots=True)
class Host:
    """Where a pilot ran. `offline` is `namespace` or `none: <reason>`.

    What follows `offline` may be missing on the wire and is then unknown. `restarts` says how often
    the scheduler had started this batch job before. `modules` are those loaded, as `name/version`.
    `isolation` is `isolated` or `plain: <reason>`. `containers` is the runtime's name and version.
    """

    name: str
    kernel: str
    cpu_model: str
    cores: int
    memory_mib: int
    boot_id: str
    python: str
    pulk: str
    offline: str
    swap_mib: int = 0
    numa_nodes: int = 0
    gpus: tuple[HostGpu, ...] = ()
    scratch: str = ""  # type of the filesystem that tasks write to
    scheduler: str = ""
    batch_id: str = ""
    restarts: int = 0
    modules: tuple[str, ...] = ()
    isolation: str = ""
    containers: str = ""


_TEXTS = ("name", "kernel", "cpu_model", "boot_id", "python", "pulk", "offline")
_LATER_TEXTS = ("scratch", "scheduler", "batch_id", "isolation", "containers")
_LATER_COUNTS = ("swap_mib", "numa_nodes", "restarts")


def to_wire(host: Host) -> dict[str, Any]:
    """Return a host as plain values; what is unknown is left out."""
    made: dict[str, Any] = {name: getattr(host, name) for name in (*_TEXTS, "cores", "memory_mib")}
    for name in (*_LATER_TEXTS, *_LATER_COUNTS):
        if value := getattr(host, name):
            made[name] = value
    if host.modules:
        made["modules"] = list(host.modules)
    if host.gpus:
        made["gpus"] = [
            {name: getattr(one, name) for name in HostGpu.__slots__} for one in host.gpus
        ]
    return made


def from_wire(value: shape.Reader) -> Host:
    """Read a host; keys of later versions are passed over. Raises WrongShape."""
    told: dict[str, Any] = {name: value.text(name) for name in _TEXTS}
    told |= {name: value.text(name) for name in _LATER_TEXTS if value.has(name)}
    told |= {name: value.count(name) for name in _LATER_COUNTS if value.has(name)}
    return Host(
        **told,
        cores=value.count("cores"),
        memory_mib=value.count("memory_mib"),
        modules=value.texts("modules") if value.has("modules") else (),
        gpus=tuple(map(_gpu, value.readers("gpus"))) if value.has("gpus") else (),
    )


def _gpu(row: shape.Reader) -> HostGpu:
    return HostGpu(
        uuid=row.text("uuid"),
        model=row.text("model"),
        memory_mib=row.count("memory_mib"),
        mig=row.text("mig"),
    )
