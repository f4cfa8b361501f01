"""A first look at what may go wrong at this site; each line says what and what to do."""

from __future__ import annotations

import os
from pathlib import Path

from relay import carrying, holding, news, purging, state
from relay.home import Home, now_us
from relay.radio import look as radio
from site_adapters.contract import Finding

SHARED = frozenset(
    {"nfs", "nfs4", "lustre", "gpfs", "beegfs", "fuse.sshfs", "ceph", "smb3", "cifs"}
)


def examine(home: Home) -> list[Finding]:
    """Look at disk, rename, link, modes and clock of the spool's filesystem."""
    disk, keep = os.statvfs(home.spool.root), home.config.spool
    free = disk.f_bavail * disk.f_frsize
    kind = filesystem_of(home.spool.root)
    mode = home.spool.root.stat().st_mode & 0o777
    return [
        Finding(
            "free bytes",
            str(free),
            "" if free > keep.free_bytes_min else "free space, or lower [spool] free_bytes_min",
        ),
        Finding("filesystem", f"{kind}{' (shared)' if kind in SHARED else ''}"),
        Finding("folder mode", f"{mode:03o}", "run chmod 700 on it" if mode & 0o077 else ""),
        _links(home),
        _tasks(home),
        _way(home),
        _news(home),
        _purge(home),
        *home.adapter.examine(),
        *_radio(home),
        Finding("trust version", str(home.trust().version)),
    ]


def _tasks(home: Home) -> Finding:
    """Tell how pilots hold tasks; without namespaces a task may do what the account may."""
    holding.note(home.spool)
    word = holding.known(home.spool)
    remedy = "let nodes allow user namespaces, or run only what you trust; see docs/pilot.md"
    return Finding("tasks are held", holding.in_words(word), remedy if word[:5] == "plain" else "")


def _radio(home: Home) -> tuple[Finding, ...]:
    """Tell whether pilots can hear the running relay, where they are meant to."""
    if not home.config.radio.listen:
        return ()
    live = radio.look(home)
    if live is None:
        found = Finding("radio", "not heard", "start `pulk relay run`; pilots go by the spool")
    elif live.pilots is None:
        remedy = "see whether `pulk relay run` still lives; pilots go by the spool"
        found = Finding("radio", f"{live.endpoint} does not answer", remedy)
    else:
        found = Finding("radio", f"{live.endpoint}, {len(live.pilots)} pilots heard")
    return (found,)


def _way(home: Home) -> Finding:
    """Tell how bundles travel, and what is wrong with that; nothing is tried."""
    trouble = carrying.read(home)
    found = home.config.central.url or "by export and import"
    return Finding(
        "way to central",
        f"{found}: {trouble.text}" if trouble else found,
        "mend that, then run `pulk relay tick --now`" if trouble else "",
    )


def _purge(home: Home) -> Finding:
    """Tell what the site's purge would take."""
    found = purging.words(home)
    remedy = "carry what waits to central, or move the spool; nothing is touched to look newer"
    return Finding("purge", found or "not near", remedy if found else "")


def _news(home: Home) -> Finding:
    """Tell how long nothing new came: withheld bundles show as nothing else."""
    heard_us = state.read_central(home.spool).at_us
    alarm = news.alarm(heard_us, now_us())
    remedy = "ask central's operator by another way what was sent; look after carrier and clock"
    found = alarm or ("of late" if heard_us else "none yet")
    return Finding("news from central", found, remedy if alarm else "")


def filesystem_of(path: Path) -> str:
    """Return the type of the filesystem that holds a path, `unknown` where it can't be told."""
    best = ("", "unknown")
    try:
        lines = Path("/proc/self/mounts").read_text(errors="replace").splitlines()
    except OSError:
        return best[1]
    for line in lines:
        point, kind = line.split(" ")[1:3]
        point = point.replace("\\040", " ")
        if path.is_relative_to(point) and len(point) >= len(best[0]):
            best = (point, kind)
    return best[1]


def _links(home: Home) -> Finding:
    """Check that a name can be taken exclusively by link, on which numbering rests."""
    first, second = home.tmp / f"link-{os.getpid()}-a", home.tmp / f"link-{os.getpid()}-b"
    try:
        first.write_bytes(b"")
        os.link(first, second)
        try:
            os.link(first, second)
            return Finding("hard links", "not exclusive", "put [spool] path on another filesystem")
        except FileExistsError:
            return Finding("hard links", "exclusive")
    except OSError as error:
        reason = error.strerror or str(error)
        return Finding("hard links", reason, "put [spool] path on another filesystem")
    finally:
        first.unlink(missing_ok=True)
        second.unlink(missing_ok=True)
