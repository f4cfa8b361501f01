"""Giving a courier a pass: the site's word that a key may carry its bundles."""

from __future__ import annotations

from pathlib import Path

from bundle.ids import parse_site
from bundle.spool import publish
from bundle.trust import courier, public_key
from bundle.trust.courier import Pass
from relay.home import Home, now_us

_DAY_US = 86_400 * 1_000_000


def give(home: Home, key: str, target: Path, days: int) -> Pass:
    """Write a pass for a public key: 64 hex digits, or a file that begins with them.

    Raises TrustRefused.
    """
    now = now_us()
    public = public_key.read(key, Path.cwd())
    given = Pass(parse_site(home.site), public, now, now + days * _DAY_US)
    raw = courier.wrap(home.certificate, courier.issue(given, home.signer))
    publish.write_file(target.absolute().parent, target.absolute(), raw)
    return given
