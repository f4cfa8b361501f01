"""What a file of keys and trust says, as plain values; of a private key its public half only."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bundle import canonical
from bundle.trust import certificate, draft, enrolment, fingerprint, roots, signed, trust_file
from bundle.trust import versions as version_files
from bundle.trust.errors import MalformedTrust
from bundle.trust.keys import KEY_FILE_LIMITS, KeyFile
from bundle.trust.survey import is_pinned
from bundle.trust.trust_file import CHAIN_LIMITS, Trust
from bundle.wire import header
from bundle.wire.read import peek_trust

PRIVATE = {"role", "seed"}


def describe(path: Path) -> dict[str, Any]:
    """Return what a file is and says. Raises MalformedTrust, KeyFileRefused, WeakKey.

    Trust file, chain, draft, certificate, request, answer, public root keys, private key file, or a
    bundle, of which the trust chain inside is shown.
    """
    where = str(path)
    try:
        with path.open("rb") as file:
            start = file.read(KEY_FILE_LIMITS.bytes_max + 1)
    except OSError as error:
        reason = error.strerror or str(error)
        raise MalformedTrust(where=where, part="file", reason=reason) from error
    if start.startswith(header.MAGIC):
        chain = peek_trust(path)
        return {"type": "bundle", "trust": _chain(trust_file.decode_chain(chain) if chain else [])}
    value = _value(start) if len(start) <= KEY_FILE_LIMITS.bytes_max else None
    if isinstance(value, dict) and set(value) == PRIVATE:
        found = KeyFile.load(path)
        return {"type": "private key", "role": found.role.value, "key": key(found.public)}
    return _public(version_files.read_bytes(path), where)


def key(public: bytes) -> dict[str, str]:
    """Return a public key as hex and words."""
    return {"hex": public.hex(), "words": fingerprint.of_key(public)}


def trust(found: Trust) -> dict[str, Any]:
    """Return what a trust version says."""
    return {
        "version": found.version,
        "root_fingerprint": fingerprint.of_roots(found),
        "threshold": found.threshold,
        "roots": [key(one) for one in found.roots],
        "central": key(found.current_central),
        "central_next": key(found.next_central) if found.next_central else None,
        "centrals": [key(one) for one in found.centrals],
        "registrar": key(found.current_registrar),
        "registrars": [key(one) for one in found.registrars],
        "revoked": [
            {
                "key": key(one.key),
                "kept": [
                    {
                        "stream": kept.stream.hex(),
                        "runs": kept.sequences.to_wire(),
                        "last": kept.ids[-32:].hex(),
                        "pinned": is_pinned(kept),
                    }
                    for kept in one.kept
                ],
            }
            for one in found.revocations
        ],
    }


def standing(found: draft.Standing) -> dict[str, Any]:
    """Return who signed a version and whose signature is missing."""
    return {
        "version": found.after.version,
        "signed_current": len(found.signed_before),
        "missing_current": found.missing_before,
        "signed_new": len(found.signed_after),
        "missing_new": found.missing_after,
        "complete": found.is_complete,
    }


def words(about: Any, indent: str = "") -> list[str]:
    """Return plain values as indented lines for a person."""
    lines: list[str] = []
    for name, value in about.items() if isinstance(about, dict) else enumerate(about):
        label = name if isinstance(name, str) else "-"
        if isinstance(value, dict) and set(value) == {"hex", "words"}:
            lines.append(f"{indent}{label}: {value['hex'][:16]}  {value['words']}")
        elif isinstance(value, (dict, list)) and value:
            lines += [f"{indent}{label}:", *words(value, f"{indent}  ")]
        else:
            empty = "none" if value in ([], {}, None, "") else value
            lines.append(f"{indent}{label}: {empty}")
    return lines


def _public(raw: bytes, where: str) -> dict[str, Any]:
    value = _value(raw)
    if isinstance(value, list):
        return _draft_or_chain(trust_file.decode_chain(raw, where=where), where)
    names = set(value) if isinstance(value, dict) else set()
    if names == {"roots", "threshold"}:
        found = roots.decode(raw, where=where)
        return {
            "type": "root keys",
            "root_fingerprint": found.fingerprint,
            "threshold": found.threshold,
            "roots": [key(one) for one in found.keys],
        }
    if names == {"certificate", "trust"}:
        inside, raw_certificate = enrolment.read_answer(raw, where=where)
        held = certificate.verify(raw_certificate, inside, where=where)
        about = {"site": held.site, "key": key(held.key)}
        return {"type": "enrolment answer", **about, "trust": trust(inside)}
    if names == {"body", "signatures"}:
        return _signed(raw, where)
    raise MalformedTrust(where=where, part="file", reason="it is no file of keys or trust")


def _signed(raw: bytes, where: str) -> dict[str, Any]:
    """Tell a trust file, a certificate and a request by the fields of what is signed."""
    record = signed.decode(raw, "file", where=where, least=0)
    body = _value(record.body)
    names = set(body) if isinstance(body, dict) else set()
    if "threshold" in names:
        return _draft_or_chain([raw], where)
    if "serial" in names:
        held = certificate.read(raw, where=where)
        signers = [key(one.key) for one in record.signatures]
        about = {"site": held.site, "key": key(held.key), "issued_us": held.issued_us}
        return {"type": "certificate", **about, "signed_by": signers}
    request = enrolment.check_request(raw, where=where)
    about = {"site": request.site, "key": key(request.key), "created_us": request.created_us}
    return {"type": "enrolment request", **about}


def _draft_or_chain(files: Sequence[bytes], where: str) -> dict[str, Any]:
    found = draft.standing(list(files), where=where)
    about = {"signatures": standing(found), **trust(found.after)}
    if len(files) == 1:
        return {"type": "trust file", **about}
    assert found.before is not None  # noqa: S101  there are two files
    changes = draft.changes(found.before, found.after)
    return {"type": "trust chain", "versions": len(files), "changes": changes, **about}


def _chain(files: Sequence[bytes]) -> list[dict[str, Any]]:
    return [trust(trust_file.read(one)) for one in files]


def _value(raw: bytes) -> Any:
    try:
        return canonical.decode(raw, CHAIN_LIMITS)
    except canonical.NotCanonical:
        return None
