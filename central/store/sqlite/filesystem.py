"""Where a database may lie: SQLite's locks can't be trusted on network filesystems."""

from __future__ import annotations

from pathlib import Path

from central.errors import BadFilesystem

NETWORK_KINDS = frozenset(
    {
        "9p",
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "fuse.ceph",
        "fuse.glusterfs",
        "fuse.sshfs",
        "gpfs",
        "lustre",
        "nfs",
        "nfs4",
        "orangefs",
        "pvfs2",
        "smb3",
        "smbfs",
    }
)


def check_filesystem(folder: Path) -> None:
    """Refuse a folder on a network filesystem. Raises BadFilesystem."""
    kind = filesystem_kind(folder, Path("/proc/self/mountinfo").read_text())
    if kind in NETWORK_KINDS:
        raise BadFilesystem(where=str(folder), kind=kind)


def filesystem_kind(folder: Path, mountinfo: str) -> str:
    """Return the type of the filesystem that a folder lies on, by the kernel's list of mounts."""
    path = folder.resolve()
    best, kind = -1, ""
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        fields = left.split()
        if len(fields) < 5 or not right:
            continue
        mount = Path(fields[4].encode().decode("unicode_escape"))
        depth = len(mount.parts)
        if (path == mount or mount in path.parents) and depth >= best:
            best, kind = depth, right.split()[0]
    return kind
