"""To which addresses central may post: those whose host an administrator named, and no other.

Without such a list, whoever can set an address could have central ask what stands behind its
firewall. What a name leads to is looked at again when it is connected to.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from urllib.parse import urlsplit

NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # an IPv4 address is in it
NAT64_LOCAL = ipaddress.IPv6Network("64:ff9b:1::/48")
URL_CHARS_MAX = 2000
HTTPS_PORT, HTTP_PORT = 443, 80
_HOST = re.compile(r"[a-z0-9]([a-z0-9.-]{0,252}[a-z0-9])?|\[[0-9a-f:.]+\]")


def refusal(url: str, hosts: Iterable[str]) -> str:
    """Return why central does not post to an address; empty where it does.

    Args:
        url: the address.
        hosts: `host`, `host:port`, `*.domain`, each for https; `http://host:port` for plain HTTP.
    """
    if len(url) > URL_CHARS_MAX or not url.isascii() or not url.isprintable() or " " in url:
        return "it is too long, or has signs that an address has not"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "it is no address"
    if parts.username is not None or parts.password is not None or "\\" in url:
        return "it names a user"
    if parts.fragment:
        return "it has a fragment"
    host = (parts.hostname or "").lower()
    shown = f"[{host}]" if ":" in host else host
    if parts.scheme not in ("https", "http") or not _HOST.fullmatch(shown):
        return "it is no https address of a host"
    port = port or (HTTPS_PORT if parts.scheme == "https" else HTTP_PORT)
    if any(_fits(parts.scheme, shown, port, one) for one in hosts):
        return ""
    return "its host is not among those that the administrator allows ([notify] webhook_hosts)"


def is_private(address: str) -> bool:
    """Return whether an IP address is not one of the public internet, whatever form it has."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return True
    if isinstance(found, ipaddress.IPv6Address):
        if found in NAT64_LOCAL:
            return True
        if found in NAT64:
            return is_private(str(ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)))
        inner = found.ipv4_mapped or found.sixtofour or (found.teredo and found.teredo[1])
        if inner:
            return not inner.is_global
    return not found.is_global or found.is_multicast


def _fits(scheme: str, host: str, port: int, allowed: str) -> bool:
    wanted, given = "https", allowed.lower()
    for prefix in ("https", "http"):
        if given.startswith(f"{prefix}://"):
            wanted, given = prefix, given.removeprefix(f"{prefix}://")
    name, colon, number = given.rpartition(":")
    if not colon or not number.isdecimal() or (name.startswith("[") and not name.endswith("]")):
        name, number = given, str(HTTPS_PORT if wanted == "https" else HTTP_PORT)
    if (scheme, str(port)) != (wanted, number):
        return False
    if name.startswith("*."):
        return host.endswith(name[1:]) and len(host) > len(name) - 1
    return host == name
