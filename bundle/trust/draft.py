"""The next version of the trust file: what it says, who signed it so far, what it would change.

A draft file is a chain of two: the version in force, and the next one with the signatures it has.
So whoever holds a root key sees on a machine without a network what the signature would change.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bundle.trust import fingerprint, trust_file, versions
from bundle.trust.errors import DraftImpossible, NotARootKey, TrustRefused
from bundle.trust.keys import Signer
from bundle.trust.revocation import Revocation
from bundle.trust.trust_file import Trust


@dataclass(frozen=True, slots=True)
class Standing:
    """Who signed a version so far. `before` is None where the file does not hold it."""

    before: Trust | None
    after: Trust
    signed_before: frozenset[bytes]
    signed_after: frozenset[bytes]

    @property
    def missing_before(self) -> int:
        """How many more of the present root keys must sign."""
        needed = self.before.threshold if self.before else 0
        return max(0, needed - len(self.signed_before))

    @property
    def missing_after(self) -> int:
        """How many more of the new version's own root keys must sign."""
        return max(0, self.after.threshold - len(self.signed_after))

    @property
    def is_complete(self) -> bool:
        """Whether it can be taken, as far as the file shows."""
        return not self.missing_before and not self.missing_after


def following(trust: Trust, **changes: Any) -> Trust:
    """Return the next version with some changes. Raises DraftImpossible where nothing changes."""
    after = replace(trust, version=trust.version + 1, raw=b"", **changes)
    if replace(after, version=trust.version).says_same(trust):
        raise DraftImpossible(reason="it would say the same as the version in force")
    return after


def rotated(
    trust: Trust, centrals: Iterable[bytes] = (), registrars: Iterable[bytes] = ()
) -> Trust:
    """Return the next version with fresh keys published behind those that are there."""
    return following(
        trust,
        centrals=(*trust.centrals, *centrals),
        registrars=(*trust.registrars, *registrars),
    )


def lack(trust: Trust, revoked: Iterable[bytes]) -> tuple[int, int]:
    """Return how many fresh central and registrar keys a revocation of these keys calls for."""
    keys = set(revoked)
    online = {trust.current_central, trust.next_central}
    return len(keys & online), int(trust.current_registrar in keys)


def revoked(
    trust: Trust,
    added: Iterable[Revocation],
    centrals: Iterable[bytes] = (),
    registrars: Iterable[bytes] = (),
) -> Trust:
    """Return the next version with revocations added or put in place of those of the same key."""
    by_key = {one.key: one for one in (*trust.revocations, *added)}
    return following(
        trust,
        centrals=(*trust.centrals, *centrals),
        registrars=(*trust.registrars, *registrars),
        revocations=tuple(by_key.values()),
    )


def check_place(path: Path, before: Trust) -> None:
    """Let a draft be written to a new name, or over a draft that is of no more use.

    That is one that nobody signed, or whose version is in force. Raises DraftImpossible.
    """
    reason = ""
    if path.is_dir():
        reason = "it is a folder: name a file in it"
    elif path.exists() or path.is_symlink():
        reason = _worth(path, before)
    if reason:
        raise DraftImpossible(where=str(path), reason=reason)


def _worth(path: Path, before: Trust) -> str:
    """Return why a file must not be replaced by a draft, or nothing."""
    try:
        files = versions.read_files(path)
        if len(files) > 1:
            found = standing(files)
            signed = len(found.signed_before | found.signed_after)
            if not signed or found.after.version <= before.version:
                return ""
            return f"{signed} root keys signed the draft there: take it, or remove it first"
    except TrustRefused:
        pass
    return "there is another file, which is not replaced: name a new one"


def encode(before: Trust, after: Trust) -> bytes:
    """Return a draft file nobody signed yet. Raises MalformedTrust."""
    return trust_file.encode_chain([before.raw, trust_file.encode(after, [])])


def standing(files: list[bytes], *, where: str = "") -> Standing:
    """Return who signed the last version of a draft or chain. Raises TrustRefused."""
    if not files:
        raise DraftImpossible(where=where, reason="the file holds no trust version")
    after = trust_file.read(files[-1], where=where)
    before = trust_file.verify(files[-2], where=where) if len(files) > 1 else None
    return Standing(
        before,
        after,
        trust_file.signers(files[-1], before.roots) if before else frozenset(),
        trust_file.signers(files[-1], after.roots),
    )


def signed_by(files: list[bytes], root: Signer, *, where: str = "") -> list[bytes]:
    """Return a draft with one more root's signature. Raises NotARootKey, TrustRefused."""
    found = standing(files, where=where)
    roots = {*found.after.roots, *(found.before.roots if found.before else ())}
    if root.public not in roots:
        raise NotARootKey(
            where=where,
            key=root.public.hex(),
            before=found.before.version if found.before else found.after.version - 1,
            after=found.after.version,
        )
    return [*files[:-1], trust_file.cosign(files[-1], root)]


def changes(before: Trust, after: Trust) -> list[str]:
    """Return in words what a version changes, a line each."""
    lines = [
        f"{sign} {role} {name(key)}"
        for role, old, new in (
            ("root", before.roots, after.roots),
            ("central", before.centrals, after.centrals),
            ("registrar", before.registrars, after.registrars),
        )
        for sign, keys in (("-", _less(old, new)), ("+", _less(new, old)))
        for key in keys
    ]
    for role, signed, signs in (
        ("central", before.current_central, after.current_central),
        ("the registrar", before.current_registrar, after.current_registrar),
    ):
        if signed != signs:
            lines.append(f"{role} signs with {_or_none(signs)}, until now with {_or_none(signed)}")
    if before.threshold != after.threshold:
        lines.append(f"threshold {before.threshold} becomes {after.threshold}")
    old_kept = {one.key: one for one in before.revocations}
    for one in after.revocations:
        kept = sum(kept.count for kept in one.kept)
        if one.key not in old_kept:
            lines.append(f"revoked: {name(one.key)}, {kept} bundles kept")
        elif one != old_kept[one.key]:
            earlier = sum(kept.count for kept in old_kept[one.key].kept)
            lines.append(f"requalified: {name(one.key)}, {kept} bundles kept, before {earlier}")
    gone = set(old_kept) - {one.key for one in after.revocations}
    lines += [f"NO LONGER REVOKED: {name(key)}" for key in sorted(gone)]
    return lines


def _or_none(key: bytes | None) -> str:
    return name(key) if key else "no key"


def name(key: bytes) -> str:
    """Return a key as people compare it: first hex digits and six words."""
    return f"{key.hex()[:16]} ({fingerprint.of_key(key)})"


def _less(keys: Iterable[bytes], others: Iterable[bytes]) -> list[bytes]:
    known = set(others)
    return [key for key in keys if key not in known]
