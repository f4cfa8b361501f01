"""Debian packages that tests need: installed where that is possible and not declined."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence

INSTALL_S = 300
_APT = ("-y", "-qq", "-o", "Dpkg::Options::=--force-confold")


def install(packages: Sequence[str]) -> str:
    """Install packages as root on Debian, after saying so; return why not, or nothing."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return "only root on Debian can install it"
    if os.environ.get("PULK_TEST_INSTALL") == "0":
        return "PULK_TEST_INSTALL=0 declines to install it"
    names = " ".join(packages)
    print(f"Installing Debian's {names} for the tests (PULK_TEST_INSTALL=0 declines).", flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (["update", "-qq"], ["install", *_APT, "--no-install-recommends", *packages]):
        done = subprocess.run(
            ["apt-get", *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=INSTALL_S,
            check=False,
        )
        if done.returncode:
            print(done.stderr.decode(errors="replace"), file=sys.stderr)
            return f"apt-get {arguments[0]} failed"
    return ""
