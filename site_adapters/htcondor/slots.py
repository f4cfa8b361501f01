"""What a collector's ads say of a pool's machines. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from site_adapters.contract import Limits

ATTRIBUTES = (
    "Machine", "Name", "SlotType", "State", "TotalSlotCpus", "Cpus", "TotalSlotMemory", "Memory",
    "TotalSlotGPUs", "GPUs", "CUDADeviceName", "GPUs_DeviceName",
)  # fmt: skip
_VERSION = re.compile(r"(?:^|: )v?(\d+\.\d+\.\d+)")


@dataclass(frozen=True, slots=True)
class Slot:
    """One slot as a whole, however much of it is used now. `gpus` is (model, count)."""

    machine: str
    name: str
    cpus: int
    memory_mib: int
    gpus: tuple[str, int] = ("", 0)


def from_ads(ads: Iterable[Mapping[str, object]]) -> list[Slot]:
    """Return the slots that ads tell of; what is cut out of another slot is left out."""
    found = []
    for ad in ads:
        low = {name.lower(): value for name, value in ad.items()}
        if str(low.get("slottype", "")).lower() == "dynamic":
            continue
        model = low.get("cudadevicename") or low.get("gpus_devicename") or ""
        found.append(
            Slot(
                machine=str(low.get("machine", "")),
                name=str(low.get("name", "")),
                cpus=_first(low, "totalslotcpus", "cpus"),
                memory_mib=_first(low, "totalslotmemory", "memory"),
                gpus=(str(model), _first(low, "totalslotgpus", "gpus")),
            )
        )
    return found


def limits(found: Iterable[Slot], walltime_s: int) -> Limits:
    """Return how many slots there are and how large the largest is."""
    every = list(found)
    most: dict[str, int] = {}
    for slot in every:
        model, count = slot.gpus
        if count:
            most[model] = max(most.get(model, 0), count)
    return Limits(
        nodes=len(every),
        cpus=max((slot.cpus for slot in every), default=0),
        memory_mib=max((slot.memory_mib for slot in every), default=0),
        gpus=tuple(sorted(most.items())) if every else None,
        walltime_s=walltime_s,
    )


def version(text: object) -> str:
    """Return the number in what HTCondor calls a version."""
    found = _VERSION.search(text) if isinstance(text, str) else None
    return found[1] if found else "unknown"


def _first(ad: Mapping[str, object], *names: str) -> int:
    for name in names:
        value = ad.get(name)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0:
            return int(value)
    return 0
