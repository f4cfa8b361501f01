"""Making a relay and enrolling it: a request out, an answer in, two fingerprints by phone."""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from bundle.spool import publish
from bundle.trust import enrolment, fingerprint
from bundle.trust.certificate import check_site_name
from bundle.trust.errors import EnrolmentRefused, ForkedTrust
from bundle.trust.keys import KeyFile, Role
from bundle.trust.quickstart import save_trust
from bundle.trust.trust_file import TrustView
from relay import config as configs
from relay import trusting
from relay.carrier import address
from relay.errors import AlreadyMade, ConfigRefused
from relay.home import CERTIFICATE, KEY, REQUEST, make_spool, now_us, spool_of

ANSWER_BYTES_MAX = 1 << 20
NEXT_KEY = "site-next.key"
FORMER = "former"  # the folder of keys that a new one followed
_PLAIN = re.compile(r"[A-Za-z0-9.\-_:\[\]/~%@+=,]+")  # what needs no escaping in TOML


@dataclass(frozen=True, slots=True)
class Made:
    """A new relay: where its request lies and the words that the admin compares."""

    request: Path
    fingerprint: str


def init(folder: Path, site: str, url: str, *, new_key: bool = False) -> Made:
    """Make a relay's folder, key, configuration, spool and request.

    With `new_key` a relay that is there asks for a certificate for a fresh key (`site-next.key`);
    it goes on with the old one until `accept`.

    Raises AlreadyMade, CertificateRefused (the name), ConfigRefused (the address). After a crash
    part of the way it can be called again: an existing key is used, never replaced.
    """
    check_site_name(site, where="--site")
    _check_address(url)
    folder = folder.absolute()
    os.umask(0o077)
    if new_key:
        return _ask_for_new_key(folder, site)
    if (folder / CERTIFICATE).exists() or (folder / REQUEST).exists():
        raise AlreadyMade(where=str(folder))
    publish.make_folder(folder)
    if not (folder / configs.NAME).exists():
        publish.write_file(folder, folder / configs.NAME, configs.text_of(site, url).encode())
    make_spool(spool_of(folder, configs.load(folder / configs.NAME)))
    return _ask(folder, folder / KEY, site)


def _ask_for_new_key(folder: Path, site: str) -> Made:
    config = configs.load(folder / configs.NAME)
    if config.site.name != site:
        reason = f"this relay is of site {config.site.name!r}"
        raise ConfigRefused(where="--site", key="site.name", reason=reason)
    return _ask(folder, folder / NEXT_KEY, site)


def _check_address(url: str) -> None:
    """Raise ConfigRefused unless it is an address that relay.toml can hold; none is fine too."""
    if not url:
        return
    try:
        address.parse(url)
    except ValueError as error:
        raise ConfigRefused(where="--central", key="url", reason=str(error)) from error
    if not _PLAIN.fullmatch(url):
        raise ConfigRefused(where="--central", key="url", reason=f"{url!r} has odd characters")


def _ask(folder: Path, path: Path, site: str) -> Made:
    key = KeyFile.load(path, Role.SITE) if path.exists() else KeyFile.create(path, Role.SITE)
    request = enrolment.make_request(site, key, created_us=now_us())
    publish.write_file(folder, folder / REQUEST, request)
    return Made(folder / REQUEST, fingerprint.of_key(key.public))


def accept(folder: Path, answer: Path, root_words: str) -> str:
    """Take central's answer after the root's fingerprint was compared; return the site's name.

    Raises WrongFingerprint, EnrolmentRefused, ForkedTrust and what a damaged answer raises; nothing
    changes then. The certificate comes last: it is what makes the folder an enrolled one.
    """
    folder = folder.absolute()
    config = configs.load(folder / configs.NAME)
    spool = spool_of(folder, config)
    try:
        with answer.open("rb") as file:
            raw = file.read(ANSWER_BYTES_MAX)
    except OSError as error:
        reason = error.strerror or str(error)
        raise EnrolmentRefused(where=str(answer), reason=reason) from error
    where = str(answer)
    path, found = _judge(raw, root_words, folder, config.site.name, where)
    here = TrustView.load(spool.trust).trust if spool.trust.exists() else None
    if here and here.version == found.trust.version and not here.says_same(found.trust):
        raise ForkedTrust(where=where, version=here.version)
    if here is None:
        trusting.begin(spool, found.trust.version)
    if here is None or found.trust.version > here.version:
        save_trust(spool.trust, found.trust.raw)
    if path.name == NEXT_KEY:
        _take_next_key(folder)
    publish.write_file(folder, folder / CERTIFICATE, found.certificate)
    return found.site


def _judge(
    raw: bytes, root_words: str, folder: Path, site: str, where: str
) -> tuple[Path, enrolment.Accepted]:
    """Return which of this relay's keys an answer is for, and what it brings."""
    paths = [folder / name for name in (NEXT_KEY, KEY) if (folder / name).exists()]
    for path in paths[:-1]:
        key = KeyFile.load(path, Role.SITE)
        with contextlib.suppress(EnrolmentRefused):
            answered = enrolment.accept_answer(raw, root_words, key.public, site=site, where=where)
            return path, answered
    path = paths[-1] if paths else folder / KEY
    key = KeyFile.load(path, Role.SITE)
    return path, enrolment.accept_answer(raw, root_words, key.public, site=site, where=where)


def _take_next_key(folder: Path) -> None:
    """Put the next key in the place of the old one, which is kept in `former/`.

    The certificate goes first: without it no tick signs anything until the new one is there.
    """
    publish.remove(folder / CERTIFICATE)
    former = folder / FORMER
    publish.make_folder(former)
    if (folder / KEY).exists():
        old = KeyFile.load(folder / KEY, Role.SITE)
        publish.move(folder / KEY, former / f"{old.public.hex()[:16]}.key")
    publish.move(folder / NEXT_KEY, folder / KEY)
