"""Two network namespaces of this machine, a site and central, joined by one cable.

The site's end has a firewall that lets nothing in but answers, and that can be closed altogether.
Needs root, iproute2 and nftables; the rules are the two files beside this one.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.testbed import debian

SITE_ADDRESS, CENTRAL_ADDRESS = "10.231.7.1", "10.231.7.2"
UPLINK = "uplink"  # the site's end of the cable
PACKAGES = ("iproute2", "nftables")
_RULES = Path(__file__).parent
_LIMIT_S = 20


class Unavailable(Exception):
    """There can be no namespaces here; the text says why."""


class Network:
    """The cable and both of its ends. `site` and `central` are commands to begin others with."""

    def __init__(self) -> None:
        self._names = [f"pulk-{os.getpid()}-{one}" for one in ("site", "central")]
        try:
            for name in self._names:
                _run("ip", "netns", "add", name)
                _run("ip", "-n", name, "link", "set", "lo", "up")
            here, there = self._names
            _run("ip", "-n", here, "link", "add", UPLINK, "type", "veth", "peer", "name", UPLINK,
                 "netns", there)  # fmt: skip
            for name, address in ((here, SITE_ADDRESS), (there, CENTRAL_ADDRESS)):
                _run("ip", "-n", name, "address", "add", f"{address}/30", "dev", UPLINK)
                _run("ip", "-n", name, "link", "set", UPLINK, "up")
            _run(*self.site, "nft", "-f", str(_RULES / "outbound_only.nft"))
        except (OSError, subprocess.SubprocessError) as error:
            self.close()
            said = getattr(error, "stderr", None) or str(error).encode()
            raise Unavailable(f"no network namespaces here: {said!r}") from error

    @property
    def site(self) -> tuple[str, ...]:
        return "nsenter", f"--net=/run/netns/{self._names[0]}"

    @property
    def central(self) -> tuple[str, ...]:
        return "nsenter", f"--net=/run/netns/{self._names[1]}"

    def sent_bytes(self) -> int:
        """How much has left the site so far."""
        said = _run(*self.site, "cat", "/proc/net/dev")
        (line,) = [one for one in said.splitlines() if one.strip().startswith(f"{UPLINK}:")]
        return int(line.partition(":")[2].split()[8])

    @contextlib.contextmanager
    def closed(self) -> Iterator[None]:
        """Let nothing pass for a while."""
        _run(*self.site, "nft", "-f", str(_RULES / "closed.nft"))
        try:
            yield
        finally:
            _run(*self.site, "nft", "delete", "table", "inet", "closed")

    def close(self) -> None:
        """Remove both; the cable goes with them."""
        for name in self._names:
            with contextlib.suppress(OSError, subprocess.SubprocessError):
                _run("ip", "netns", "delete", name)


def join() -> Network:
    """Make both, what they need installed where it is missing. Raises Unavailable."""
    if os.geteuid() != 0:
        raise Unavailable("network namespaces with a firewall need root")
    if any(shutil.which(one) is None for one in ("ip", "nft", "nsenter")):
        reason = debian.install(PACKAGES)
        if reason or shutil.which("nft") is None:
            raise Unavailable(f"nftables is not here: {reason}")
    return Network()


def _run(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, timeout=_LIMIT_S, check=True)
    return done.stdout.decode()
