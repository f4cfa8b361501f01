"""What a task is told of its part of the node: which GPUs it sees, how much is its own."""

from __future__ import annotations

from collections.abc import Sequence

from pilot.core.room import Grant

_MASKS = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")


def told(grant: Grant, gpus: Sequence[str]) -> dict[str, str]:
    """Return the variables that tell a task what it was granted.

    Who was granted no GPU sees none. Fractions of cores and GPUs are decimal numbers.

    Args:
        grant: the task's.
        gpus: the UUIDs of the node's devices, in the order of `Room.gpus`.
    """
    seen = ",".join(gpus[device] for device, _ in grant.shares)
    return dict.fromkeys(_MASKS, seen) | {
        "PULK_CPUS": _decimal(grant.need.cpu_milli),
        "PULK_GPUS": _decimal(sum(milli for _, milli in grant.shares)),
        "PULK_MEMORY_MIB": str(grant.need.memory_mib),
    }


def _decimal(milli: int) -> str:
    return f"{milli / 1000:g}"
