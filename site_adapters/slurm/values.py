"""The ways in which Slurm writes numbers: durations, times, memory, TRES, GRES, exit codes. Pure.

Each reader gives None for what says nothing (`N/A`, `Unknown`, `(null)`, an empty text), and
ValueError for what is none of Slurm's ways.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

UNLIMITED = -1  # of a time limit or a count
NOTHING = frozenset(
    {"", "N/A", "UNKNOWN", "NONE", "(NULL)", "NOT_SET", "INVALID", "NULL", "N/S", "NOTSET"}
)
_ENDLESS = frozenset({"UNLIMITED", "INFINITE"})
_DURATION = re.compile(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?(?:\.\d+)?", re.ASCII)
_MEMORY = re.compile(r"(\d+(?:\.\d+)?)([KMGTPE]?)(?:I?B)?([CN]?)", re.ASCII)
_SHIFTS = {"K": -10, "": 0, "M": 0, "G": 10, "T": 20, "P": 30, "E": 40}
_NO_VALUES = frozenset({0xFFFFFFFE, 0xFFFFFFFFFFFFFFFE, 0xFFFE})
_ENDLESS_VALUES = frozenset({0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF, 0xFFFF})
_DEVICE = re.compile(r"(?:gres/)?([^:,()]+)(?::([^:,()]+))?(?::(\d+[KMG]?))?(?:\([^)]*\))?")


@dataclass(frozen=True, slots=True)
class Device:
    """So many generic resources of one kind, `model` where one is named."""

    kind: str
    model: str
    count: int


def duration_s(text: str) -> int | None:
    """Read `3-00:00:00`, `10:36`, `60` (minutes), `7-12`, `00:05.908` or `UNLIMITED`."""
    word = text.strip().upper()
    if word in NOTHING or word == "PARTITION_LIMIT":
        return None
    if word in _ENDLESS:
        return UNLIMITED
    found = _DURATION.fullmatch(word)
    if found is None:
        raise ValueError(f"{text!r} is no duration")
    days, *rest = (None if part is None else int(part) for part in found.groups())
    first, second, third = rest
    hours_or_minutes = first or 0
    if days is not None:  # D-H, D-H:M, D-H:M:S
        return ((days * 24 + hours_or_minutes) * 60 + (second or 0)) * 60 + (third or 0)
    if third is not None:
        return (hours_or_minutes * 60 + (second or 0)) * 60 + third
    return hours_or_minutes * 60 + (second or 0)  # M or M:S


def at_s(text: str) -> int | None:
    """Read a time as UTC seconds: `2020-10-22T11:43:33` in this machine's zone, or seconds."""
    word = text.strip()
    if word.upper() in NOTHING:
        return None
    if word.isascii() and word.isdigit():
        return int(word) or None
    return int(datetime.fromisoformat(word).timestamp())


def memory_mib(text: str) -> int | None:
    """Read `100Gn`, `3000Mc`, `7996M`, `12756K`, `0` or a number of MiB; rounded up."""
    word = text.strip().upper()
    if word in NOTHING:
        return None
    if word in _ENDLESS:
        return UNLIMITED
    found = _MEMORY.fullmatch(word)
    if found is None:
        raise ValueError(f"{text!r} is no amount of memory")
    amount, shift = float(found[1]), _SHIFTS[found[2]]
    exact = amount * 2.0**shift
    return int(exact) + (exact > int(exact))


def exit_code(text: str) -> tuple[int, int] | None:
    """Read `3:0`: exit code and signal."""
    word = text.strip()
    if word.upper() in NOTHING:
        return None
    code, _, signal = word.partition(":")
    return int(code), int(signal or 0)


def devices(text: str) -> tuple[Device, ...]:
    """Read GRES: `gpu:tesla:8(S:0-7)`, `gpu:a100:4,nvme:1`, `gpu:1`, `gpu`."""
    if text.strip().upper() in NOTHING:
        return ()
    found = []
    for one in re.split(r",(?![^(]*\))", text.strip()):
        match = _DEVICE.fullmatch(one.strip())
        if match is None:
            raise ValueError(f"{one!r} is no generic resource")
        kind, model, count = match[1], match[2] or "", match[3]
        if count is None and model and re.fullmatch(r"\d+[KMG]?", model):
            model, count = "", model
        found.append(Device(kind, model, _many(count or "1")))
    return tuple(found)


def tres(text: str) -> dict[str, str]:
    """Read `cpu=12,mem=62.50G,node=1,gres/gpu=2` as words."""
    if text.strip().upper() in NOTHING:
        return {}
    pairs = [one.partition("=") for one in text.strip().split(",")]
    if not all(name and equals for name, equals, _ in pairs):
        raise ValueError(f"{text!r} is no list of TRES")
    return {name: value for name, _, value in pairs}


def number(value: Any) -> int | None:
    """Read a number of Slurm's JSON: plain, as text, or `{set, infinite, number}`."""
    if isinstance(value, Mapping):
        if value.get("infinite") is True:
            return UNLIMITED
        if value.get("set") is False:
            return None
        value = value.get("number")
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, str):
        if value.strip().upper() in NOTHING:
            return None
        if value.strip().upper() in _ENDLESS:
            return UNLIMITED
        value = int(value)
    if not isinstance(value, int | float):
        raise ValueError(f"{value!r} is no number")
    whole = int(value)
    if whole in _NO_VALUES or whole < 0:
        return None
    return UNLIMITED if whole in _ENDLESS_VALUES else whole


def _many(text: str) -> int:
    scale = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}.get(text[-1], 1)
    return int(text.rstrip("KMG")) * scale
