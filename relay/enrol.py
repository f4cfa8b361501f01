"""Making a relay and enrolling it: a request out, an answer in, two fingerprints by phone."""

from __future__ import annotations

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
from relay.errors import AlreadyMade, ConfigRefused
from relay.home import CERTIFICATE, KEY, REQUEST, make_spool, now_us, spool_of

ANSWER_BYTES_MAX = 1 << 20
_URL = re.compile(r"https?://[A-Za-z0-9.\-_:\[\]/~%]+")


@dataclass(frozen=True, slots=True)
class Made:
    """A new relay: where its request lies and the words that the admin compares."""

    request: Path
    fingerprint: str


def init(folder: Path, site: str, url: str) -> Made:
    """Make a relay's folder, key, configuration, spool and request.

    Raises AlreadyMade, CertificateRefused (the name), ConfigRefused (the address). After a crash
    part of the way it can be called again: an existing key is used, never replaced.
    """
    check_site_name(site, where="--site")
    if url and not _URL.fullmatch(url):
        raise ConfigRefused(where="--central", key="url", reason=f"{url!r} is no http(s) address")
    folder = folder.absolute()
    if (folder / CERTIFICATE).exists() or (folder / REQUEST).exists():
        raise AlreadyMade(where=str(folder))
    os.umask(0o077)
    publish.make_folder(folder)
    if not (folder / configs.NAME).exists():
        publish.write_file(folder, folder / configs.NAME, configs.text_of(site, url).encode())
    make_spool(spool_of(folder, configs.load(folder / configs.NAME)))
    path = folder / KEY
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
    key = KeyFile.load(folder / KEY, Role.SITE)
    try:
        with answer.open("rb") as file:
            raw = file.read(ANSWER_BYTES_MAX)
    except OSError as error:
        reason = error.strerror or str(error)
        raise EnrolmentRefused(where=str(answer), reason=reason) from error
    where = str(answer)
    found = enrolment.accept_answer(raw, root_words, key.public, site=config.site.name, where=where)
    here = TrustView.load(spool.trust).trust if spool.trust.exists() else None
    if here and here.version == found.trust.version and not here.says_same(found.trust):
        raise ForkedTrust(where=where, version=here.version)
    if here is None or found.trust.version > here.version:
        save_trust(spool.trust, found.trust.raw)
    publish.write_file(folder, folder / CERTIFICATE, found.certificate)
    return found.site
