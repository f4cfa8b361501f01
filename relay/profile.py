"""The site's profile for its report: what relay.toml says, and what this machine says of itself."""

from __future__ import annotations

import platform

from bundle.dataset import containers
from bundle.records.profile import Gpu, Profile
from relay.config import Config
from site_adapters.contract import Limits

HOUR_MS = 3_600_000


def profile(config: Config, limits: Limits | None = None) -> Profile:
    """Return what central may know of the nodes and of the site's rules.

    Operating system, architecture and libc are this machine's where relay.toml says nothing: pilots
    run here, or on nodes that share its folders and programs. What relay.toml does not say of a
    node's size is the scheduler's word, where there is one.
    """
    limits = limits or Limits()
    site = config.site
    gpus = site.gpus
    walltime_ms = round(site.walltime_hours * HOUR_MS) or limits.walltime_s * 1000
    return Profile(
        nodes=config.pilots.count,
        cpu_milli=round((site.cpus or config.batch.cpus or limits.cpus) * 1000),
        memory_mib=site.memory_mib or config.batch.memory_mib or limits.memory_mib,
        disk_bytes=site.disk_bytes,
        gpus=_scheduled(limits)
        if gpus is None
        else tuple(Gpu(g.model, g.memory_mib, g.count) for g in gpus),
        walltime_ms=walltime_ms,
        margin_ms=_margin_ms(config) if walltime_ms else 0,
        os=site.os or _os(),
        arch=site.arch or platform.machine(),
        libc=site.libc or " ".join(platform.libc_ver()).strip(),
        software=_software(config),
        network=site.network,
        allow=tuple(sorted(set(site.allow))),
        deny=tuple(sorted(set(site.deny))),
        tasks_max=site.tasks_max,
        node_hours_max_milli=round(site.node_hours_max * 1000),
        trip_ms=round(site.trip_hours * HOUR_MS),
    )


def _margin_ms(config: Config) -> int:
    """Return what of an allocation passes before a pilot's first task can start, and after.

    Pilots start nothing that could not end before they stop it.
    """
    pilots = config.pilots
    return round(1000 * (pilots.starting_s + pilots.jitter_s + pilots.stop_s))


def _software(config: Config) -> tuple[str, ...] | None:
    """Return what the site lists, and the images that it maps; None where it lists nothing."""
    if config.site.software is None:
        return None
    return (*config.site.software, *containers.words(config.tasks.images))


def _scheduled(limits: Limits) -> tuple[Gpu, ...] | None:
    """Return the GPUs that the scheduler names; None where it names none, for sites may not."""
    return tuple(Gpu(model, 0, count) for model, count in limits.gpus or ()) or None


def _os() -> str:
    """Return for example "linux/debian/12"."""
    try:
        said = platform.freedesktop_os_release()
    except OSError:
        said = {}
    words = (platform.system().lower(), said.get("ID", ""), said.get("VERSION_ID", ""))
    return "/".join(word for word in words if word)
