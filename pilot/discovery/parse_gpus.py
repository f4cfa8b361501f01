"""What the GPU makers' tools print: nvidia-smi as CSV, XML and list, rocm-smi as JSON. Pure.

A row that lacks what a mask needs is passed over; `Refused` says that the whole text is none.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from xml.parsers import expat

from bundle.limits import MIB
from pilot.core.node import Gpu
from pilot.discovery.parse_system import number

QUERY = ("index", "uuid", "name", "memory.total", "pci.bus_id", "mig.mode.current")
DEVICES_MAX = 4096
XML_DEPTH_MAX = 32
_UUID = re.compile(r"(?:GPU|MIG)-[0-9A-Za-z/-]{4,80}", re.ASCII)
_LISTED = re.compile(r"GPU ([0-9]{1,4}): (.{1,200}) \(UUID: ([^)\s]{1,90})\)", re.ASCII)
_INSTANCE = re.compile(
    r"\s+MIG (\S{1,40})\s+Device\s+([0-9]{1,3}): \(UUID: ([^)\s]{1,90})\)", re.ASCII
)
_PROFILE = re.compile(r"([0-9]{1,4})gb", re.ASCII)


class Refused(Exception):
    """The text is not what the tool prints; the argument says why."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A GPU as a tool shows it: with its place on the bus, and its MIG instances' memory.

    `instances_mib` is by the instance's index; `mig` tells that the GPU is cut into instances.
    """

    gpu: Gpu
    bus: str = ""
    mig: bool = False
    instances_mib: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Instance:
    """A MIG instance as `nvidia-smi -L` lists it."""

    parent: str
    index: int
    profile: str
    uuid: str


def query_csv(raw: bytes) -> tuple[Seen, ...]:
    """Read `nvidia-smi --query-gpu=... --format=csv`, whatever its columns. Raises Refused."""
    lines = [line for line in raw.decode(errors="replace").splitlines() if line.strip()]
    names = [part.strip().partition(" [")[0] for part in lines[0].split(",")] if lines else []
    if "uuid" not in names:
        raise Refused("no column uuid")
    found = []
    for place, line in enumerate(lines[1 : DEVICES_MAX + 1]):
        row = dict(zip(names, (part.strip() for part in line.split(",")), strict=False))
        if not _UUID.fullmatch(row.get("uuid", "")):
            continue
        index = number(row.get("index", ""))
        gpu = Gpu(
            uuid=row["uuid"],
            model=_model(row.get("name", "")),
            memory_mib=_mib(row.get("memory.total", "")),
            index=index if index >= 0 else place,
        )
        mig = row.get("mig.mode.current") == "Enabled"
        found.append(Seen(gpu, _bus(row.get("pci.bus_id", "")), mig))
    return tuple(found)


def query_xml(raw: bytes) -> tuple[Seen, ...]:
    """Read `nvidia-smi -q -x`. Raises Refused, also for what declares entities."""
    reader = _Xml()
    parser = expat.ParserCreate()
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    parser.EntityDeclHandler = _no_entities
    try:
        parser.Parse(raw, True)
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise Refused(f"no XML: {error}") from error
    if not reader.is_log:
        raise Refused("not the log of nvidia-smi")
    return tuple(reader.found)


def listing(raw: bytes) -> tuple[tuple[Seen, ...], tuple[Instance, ...]]:
    """Read `nvidia-smi -L`: the GPUs, and the MIG instances under them. Raises Refused."""
    gpus: list[Seen] = []
    instances: list[Instance] = []
    for line in raw.decode(errors="replace").splitlines():
        if (one := _LISTED.fullmatch(line.rstrip())) and _UUID.fullmatch(one[3]):
            gpus.append(Seen(Gpu(one[3], _model(one[2]), index=int(one[1]))))
        elif gpus and (one := _INSTANCE.fullmatch(line.rstrip())) and _UUID.fullmatch(one[3]):
            instances.append(Instance(gpus[-1].gpu.uuid, int(one[2]), one[1], one[3]))
        if len(gpus) + len(instances) > DEVICES_MAX:
            raise Refused("too many devices")
    if not gpus:
        raise Refused("no GPU listed")
    return tuple(gpus), tuple(instances)


def cut_into_instances(
    seen: tuple[Seen, ...], listed: tuple[Instance, ...]
) -> tuple[tuple[Gpu, ...], tuple[str, ...]]:
    """Put the instances in place of the GPUs that are cut; return notes for what can't be used."""
    found: list[Gpu] = []
    notes: list[str] = []
    for one in seen:
        if not one.mig:
            found.append(one.gpu)
            continue
        instances = [each for each in listed if each.parent == one.gpu.uuid]
        for each in instances:
            told = one.instances_mib.get(each.index) or _profile_mib(each.profile)
            profile = replace(one.gpu, uuid=each.uuid, memory_mib=told, mig=each.profile)
            found.append(profile)
        if not instances:
            notes.append(f"GPU {one.gpu.index} is in MIG mode and has no instance: not used")
    return tuple(found), tuple(notes)


def rocm_json(raw: bytes) -> tuple[Seen, ...]:
    """Read `rocm-smi --json` with unique ids, products and memory. Raises Refused."""
    try:
        value = json.loads(raw[raw.find(b"{") :])  # warnings may stand before it
    except (ValueError, RecursionError) as error:
        raise Refused(f"no JSON: {str(error)[:100]}") from error
    if not isinstance(value, dict):
        raise Refused("no map of cards")
    found: list[Seen] = []
    for name, card in value.items():
        place = number(name[4:]) if name.startswith("card") else -1
        if place < 0 or not isinstance(card, dict) or len(found) >= DEVICES_MAX:
            continue
        row = {key.lower(): text for key, text in card.items() if isinstance(text, str)}
        digits = row.get("unique id", "").lower().removeprefix("0x")
        if not re.fullmatch(r"[0-9a-f]{1,16}", digits, re.ASCII):
            continue
        numa = number(row.get("(topology) numa node", ""))
        gpu = Gpu(
            uuid=f"GPU-{digits:0>16}",
            model=_model(row.get("card series") or row.get("card model", "")),
            memory_mib=max(0, number(row.get("vram total memory (b)", ""))) // MIB,
            vendor="amd",
            index=place,
            numa=numa if 0 <= numa < 1 << 16 else -1,
        )
        found.append(Seen(gpu, _bus(row.get("pci bus", ""))))
    return tuple(sorted(found, key=lambda one: one.gpu.index))


class _Xml:
    """Gathers the few elements that matter, by their path below the root."""

    def __init__(self) -> None:
        self.found: list[Seen] = []
        self.is_log = False
        self._path: list[str] = []
        self._bus = ""
        self._row: dict[str, str] = {}
        self._instance: dict[str, str] = {}
        self._instances: dict[int, int] = {}

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._path.append(name)
        if len(self._path) > XML_DEPTH_MAX:
            raise ValueError("nested too deep")
        self.is_log = self.is_log or self._path == ["nvidia_smi_log"]
        if self._path == ["nvidia_smi_log", "gpu"]:
            self._bus, self._row, self._instances = attributes.get("id", ""), {}, {}
        elif name == "mig_device":
            self._instance = {}

    def text(self, data: str) -> None:
        inside = self._path[2:]
        if inside[:2] == ["mig_devices", "mig_device"]:
            row, key = self._instance, "/".join(inside[2:])
        else:
            row, key = self._row, "/".join(inside)
        if key in _XML_KEYS and len(row.get(key, "")) < 256:
            row[key] = row.get(key, "") + data

    def end(self, name: str) -> None:
        if name == "mig_device" and (index := number(self._instance.get("index", ""))) >= 0:
            self._instances[index] = _mib(self._instance.get("fb_memory_usage/total", ""))
        if self._path == ["nvidia_smi_log", "gpu"] and len(self.found) < DEVICES_MAX:
            uuid = self._row.get("uuid", "").strip()
            if _UUID.fullmatch(uuid):
                gpu = Gpu(
                    uuid,
                    _model(self._row.get("product_name", "")),
                    _mib(self._row.get("fb_memory_usage/total", "")),
                    index=len(self.found),
                )
                mig = self._row.get("mig_mode/current_mig", "").strip() == "Enabled"
                self.found.append(Seen(gpu, _bus(self._bus), mig, self._instances))
        self._path.pop()


_XML_KEYS = frozenset(
    {"uuid", "product_name", "fb_memory_usage/total", "mig_mode/current_mig", "index"}
)


def _no_entities(*_: object) -> None:
    raise ValueError("it declares entities")


def _mib(text: str) -> int:
    amount, _, unit = text.strip().partition(" ")
    return max(0, number(amount)) if unit.strip() == "MiB" else 0


def _profile_mib(profile: str) -> int:
    found = _PROFILE.search(profile)
    return int(found[1]) * 1024 if found else 0


def _model(text: str) -> str:
    return "".join(one for one in text.strip() if one.isprintable())[:100]


def _bus(text: str) -> str:
    """Return a place on the bus as /sys names it: four digits of domain, lower case."""
    found = re.fullmatch(r"([0-9a-f]{4,8}):([0-9a-f]{2}:[0-9a-f]{2}\.[0-7])", text.lower())
    return f"{int(found[1], 16):04x}:{found[2]}" if found else ""
