"""Matching: may a step run at a site? Each reason why not is an obstacle with both sides of it.

What a site has not told keeps nothing away (see `bundle.records.profile`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from bundle.dataset.asks import NETWORK_CLASSES, Account, Requires
from bundle.dataset.spec import Request
from bundle.records.profile import Gpu, Profile
from central.core.obstacles import Code, Obstacle, amount, duration, mib, size


@dataclass(frozen=True, slots=True)
class Needs:
    """What one task of a step asks for."""

    request: Request
    requires: Requires = field(default_factory=Requires)


def mismatches(needs: Needs, profile: Profile) -> tuple[Obstacle, ...]:
    """Return why nodes of a site can't run a task; nothing where they can."""
    found = [
        _cpu(needs, profile),
        _memory(needs, profile),
        _disk(needs, profile),
        _walltime(needs, profile),
        _gpu(needs, profile),
        _os(needs, profile),
        _arch(needs, profile),
        _libc(needs, profile),
        _software(needs, profile),
        _network(needs, profile),
    ]
    return tuple(one for one in found if one is not None)


def fits(needs: Needs, profile: Profile) -> bool:
    """Return whether nodes of a site can run a task."""
    return not mismatches(needs, profile)


def refusals(
    account: Account, dataset: str, site: str, profile: Profile, *, user: str = ""
) -> tuple[Obstacle, ...]:
    """Return why a dataset's or a site's lists keep the one from the other.

    Args:
        account: the dataset's.
        dataset: its id.
        site: the site's name.
        profile: what the site reported.
        user: who is charged, where the account's own word is overruled.
    """
    found: list[Obstacle] = []
    if account.allow and site not in account.allow:
        allowed = ", ".join(account.allow)
        text = f"the dataset may run at {allowed} only"
        remedy = "add the site to `sites.allow` of the document"
        found.append(Obstacle(Code.NOT_ALLOWED, text, allowed, site, remedy))
    if site in account.deny:
        text = "the dataset's `sites.deny` names this site"
        remedy = "take the site out of `sites.deny` of the document"
        found.append(Obstacle(Code.DENIED, text, "another site", site, remedy))
    names = {user or account.user, account.group, dataset} - {""}
    denied = sorted(names.intersection(profile.deny))
    listed = not profile.allow or bool(names.intersection(profile.allow))
    if denied or not listed:
        text = (
            f"the site refuses {', '.join(denied)}" if denied else "the site runs for others only"
        )
        has = ", ".join(profile.deny if denied else profile.allow)
        remedy = "ask the site's operator to change `allow` or `deny` in relay.toml"
        found.append(Obstacle(Code.REFUSED_BY_SITE, text, ", ".join(sorted(names)), has, remedy))
    return tuple(found)


def _too_small(code: Code, what: str, needs: str, has: str) -> Obstacle:
    text = f"it asks for {needs} of {what}; a node here has {has}"
    remedy = f"lower `request.{code}` of the step, or run it where nodes have {needs}"
    return Obstacle(code, text, needs, has, remedy)


def _cpu(needs: Needs, profile: Profile) -> Obstacle | None:
    if not 0 < profile.cpu_milli < needs.request.cpu_milli:
        return None
    asked, has = needs.request.cpu_milli / 1000, profile.cpu_milli / 1000
    return _too_small(Code.CPU, "cpu", f"{amount(asked)} cores", f"{amount(has)} cores")


def _memory(needs: Needs, profile: Profile) -> Obstacle | None:
    if not 0 < profile.memory_mib < needs.request.memory_mib:
        return None
    asked, has = needs.request.memory_mib, profile.memory_mib
    return _too_small(Code.MEMORY, "memory", mib(asked), mib(has))


def _disk(needs: Needs, profile: Profile) -> Obstacle | None:
    if not 0 < profile.disk_bytes < needs.request.disk_bytes:
        return None
    asked, has = needs.request.disk_bytes, profile.disk_bytes
    return _too_small(Code.DISK, "disk", size(asked), size(has))


def _walltime(needs: Needs, profile: Profile) -> Obstacle | None:
    if not 0 < profile.task_ms < needs.request.walltime_ms:
        return None
    asked, has = duration(needs.request.walltime_ms), duration(profile.walltime_ms)
    text = f"it asks for {asked}; an allocation here lasts {has} at most"
    if profile.margin_ms:
        text += f", of which {duration(profile.margin_ms)} go to a pilot's start and end"
    least = f"{profile.task_ms // 1000} s"
    remedy = f"lower `request.walltime` of the step to {least} or less, or run it elsewhere"
    return Obstacle(Code.WALLTIME, text, asked, has, remedy)


def _gpu(needs: Needs, profile: Profile) -> Obstacle | None:
    asked = needs.request.gpu_milli
    if not asked or profile.gpus is None:
        return None
    whole, requires = -(-asked // 1000), needs.requires
    has = ", ".join(_gpu_words(one) for one in profile.gpus) or "none"
    if sum(one.count for one in profile.gpus) < whole:
        text = f"it asks for {amount(asked / 1000)} GPU; a node here has {has}"
        remedy = "run it at a site with GPUs, or tell the site's GPUs in relay.toml"
        return Obstacle(Code.GPU, text, amount(asked / 1000), has, remedy)
    model, memory = requires.gpu_model, requires.gpu_memory_mib
    right = [one for one in profile.gpus if not model or _is_model(model, one.model)]
    if sum(one.count for one in right) < whole:
        text = f"it asks for GPU model {model}; a node here has {has}"
        remedy = "drop `requires.gpu_model` of the step, or run it where there is one"
        return Obstacle(Code.GPU_MODEL, text, model, has, remedy)
    large = [one for one in right if not one.memory_mib or one.memory_mib >= memory]
    if sum(one.count for one in large) < whole:
        text = f"it asks for a GPU with {mib(memory)}; a node here has {has}"
        remedy = "lower `requires.gpu_memory` of the step, or run it where GPUs have it"
        return Obstacle(Code.GPU_MEMORY, text, mib(memory), has, remedy)
    return None


def _gpu_words(one: Gpu) -> str:
    memory = f" with {mib(one.memory_mib)}" if one.memory_mib else ""
    return f"{one.count} {one.model}{memory}"


def _is_model(wanted: str, model: str) -> bool:
    """Return whether a model is the wanted one: "A100" is in "NVIDIA A100-SXM4-40GB"."""
    return wanted.casefold() in model.casefold()


def _within(wanted: str, path: str) -> bool:
    """Return whether a path begins with the wanted parts: "linux" in "linux/debian/12"."""
    return f"{path}/".casefold().startswith(f"{wanted}/".casefold())


def _os(needs: Needs, profile: Profile) -> Obstacle | None:
    wanted, has = needs.requires.os, profile.os
    if not wanted or not has or _within(wanted, has):
        return None
    remedy = "change `requires.os` of the step, or run it where that system is"
    return Obstacle(Code.OS, f"it needs {wanted}; nodes here run {has}", wanted, has, remedy)


def _arch(needs: Needs, profile: Profile) -> Obstacle | None:
    wanted, has = needs.requires.arch, profile.arch
    if not wanted or not has or wanted == has:
        return None
    remedy = "change `requires.arch` of the step, or run it on that architecture"
    return Obstacle(Code.ARCH, f"it needs {wanted}; nodes here are {has}", wanted, has, remedy)


def _libc(needs: Needs, profile: Profile) -> Obstacle | None:
    wanted, has = needs.requires.libc, profile.libc
    if not wanted or not has:
        return None
    name, _, version = wanted.partition(" ")
    its_name, _, its_version = has.partition(" ")
    if name == its_name and _numbers(version) <= _numbers(its_version):
        return None
    text = f"it needs {wanted} or later; nodes here have {has}"
    remedy = "build for an older libc, or run it on newer nodes"
    return Obstacle(Code.LIBC, text, wanted, has, remedy)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdecimal())


def _software(needs: Needs, profile: Profile) -> Obstacle | None:
    if profile.software is None:
        return None
    missing = [
        one
        for one in needs.requires.software
        if not any(_within(one, has) for has in profile.software)
    ]
    if not missing:
        return None
    wanted, has = ", ".join(missing), ", ".join(profile.software) or "none"
    text = f"it needs {wanted}, which this site does not list"
    remedy = "have the site install it and list it under `software` in relay.toml"
    return Obstacle(Code.SOFTWARE, text, wanted, has, remedy)


def _network(needs: Needs, profile: Profile) -> Obstacle | None:
    wanted, has = needs.requires.network, profile.network
    if wanted not in NETWORK_CLASSES or has not in NETWORK_CLASSES:
        return None
    if NETWORK_CLASSES.index(wanted) <= NETWORK_CLASSES.index(has):
        return None
    text = f"it needs the network class {wanted!r}; tasks here reach {has!r}"
    remedy = "drop `requires.network` of the step, or run it where tasks may reach that"
    return Obstacle(Code.NETWORK, text, wanted, has, remedy)
