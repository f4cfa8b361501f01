"""What a revocation keeps: by place, and by id wherever one is pinned; who it concerns."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundle.intervals import IntervalSet
from bundle.trust import certificate, draft, signed, survey, trust_file
from bundle.trust.errors import DraftImpossible, MalformedTrust, NotARootKey
from bundle.trust.keys import MemoryKey
from bundle.trust.revocation import KEPT_IDS_MAX, Kept, Revocation, headed, pinned
from bundle.trust.trust_file import Trust, TrustView
from bundle.wire.errors import Parkable, RevokedKey
from bundle.wire.manifest import Kind
from bundle.wire.preauth import CERTIFICATE_TYPE

STREAM = b"s" * 16


def an_id(number: int, copy: int = 0) -> bytes:
    return hashlib.sha256(b"%d %d" % (number, copy)).digest()


places = st.sets(st.tuples(st.integers(0, 40), st.integers(0, 2)), min_size=1, max_size=60)


@given(places)
def test_pinned_keeps_exactly_what_was_named(chosen: set[tuple[int, int]]) -> None:
    kept = pinned(STREAM, [(number, an_id(number, copy)) for number, copy in chosen])
    assert not [one.problem() for one in kept if one.problem()]
    revocation = Revocation(b"k" * 32, kept)
    for number in range(42):
        for copy in range(4):
            wanted = (number, copy) in chosen
            assert revocation.keeps(STREAM, number, an_id(number, copy)) is wanted
            assert not revocation.keeps(b"t" * 16, number, an_id(number, copy))


@given(st.sets(st.integers(0, 40), min_size=1))
def test_headed_keeps_a_stream_up_to_a_last_number_that_is_pinned(numbers: set[int]) -> None:
    revocation = Revocation(b"k" * 32, headed(STREAM, [(n, an_id(n)) for n in numbers]))
    first, last = min(numbers), max(numbers)
    for number in range(42):
        assert revocation.keeps(STREAM, number, an_id(number)) is (first <= number <= last)
        assert revocation.keeps(STREAM, number, an_id(number, 1)) is (first <= number < last)


@given(places)
def test_a_revocation_is_read_back_from_a_trust_file(chosen: set[tuple[int, int]]) -> None:
    root, central, registrar = (MemoryKey(bytes([n]) * 32) for n in (1, 2, 3))
    kept = pinned(STREAM, [(number, an_id(number, copy)) for number, copy in chosen])
    trust = Trust(
        1,
        (root.public,),
        1,
        (central.public,),
        (registrar.public,),
        (Revocation(b"k" * 32, kept), Revocation(b"l" * 32)),
    )
    assert trust_file.verify(trust_file.encode(trust, [root])).says_same(trust)


@pytest.mark.parametrize(
    "kept",
    [
        Kept(STREAM, IntervalSet(), bytes(32)),
        Kept(STREAM, IntervalSet(((0, 2),)), b""),
        Kept(STREAM, IntervalSet(((0, 2),)), bytes(33)),
        Kept(STREAM, IntervalSet(((0, 2),)), bytes(96)),
    ],
)
def test_a_revocation_that_pins_too_little_or_too_much_is_refused(cast: Any, kept: Kept) -> None:
    changed = replace(cast.trust, revocations=(Revocation(b"k" * 32, (kept,)),))
    with pytest.raises(MalformedTrust):
        trust_file.encode(changed, [cast.root])


def test_what_a_trust_file_can_not_revoke(cast: Any) -> None:
    ids = b"".join(an_id(n) for n in range(KEPT_IDS_MAX + 1))
    many = Kept(STREAM, IntervalSet(((0, KEPT_IDS_MAX + 1),)), ids)
    for revocations in (
        (Revocation(cast.root.public),),
        (Revocation(cast.registrar.public),),
        (Revocation(cast.central.public), Revocation(cast.central_next.public)),
        (Revocation(b"k" * 32), Revocation(b"k" * 32)),
        (Revocation(b"k" * 32, (many,)),),
    ):
        with pytest.raises(MalformedTrust):
            trust_file.encode(replace(cast.trust, revocations=revocations), [cast.root])


def revoking(cast: Any, key: bytes, *kept: Kept, **changes: Any) -> TrustView:
    changed = replace(cast.trust, revocations=(Revocation(key, kept),), **changes)
    return replace(cast.view, trust=changed)


@pytest.mark.parametrize("pin_all", [True, False])
def test_another_bundle_with_the_last_kept_number_is_refused(cast: Any, pin_all: bool) -> None:
    honest = [cast.pack([], cast.draft(sequence=n)) for n in range(3)]
    forged = [cast.pack([], cast.draft(sequence=n, created_us=99)) for n in range(4)]
    ids = [(n, bytes.fromhex(cast.open(path).id)) for n, path in enumerate(honest)]
    kept = (pinned if pin_all else headed)(STREAM, ids)
    trust = revoking(cast, cast.site.public, *kept)
    for path in honest:
        cast.open(path, trust=trust).close()
    for path in forged if pin_all else forged[2:]:
        with pytest.raises(RevokedKey) as caught:
            cast.open(path, trust=trust)
        assert isinstance(caught.value, Parkable)


def test_a_revoked_central_key_counts_for_what_is_kept_and_signs_nothing_new(cast: Any) -> None:
    path = cast.pack([], cast.draft(Kind.WORK, sequence=7))
    kept = pinned(STREAM, [(7, bytes.fromhex(cast.open(path).id))])
    trust = revoking(cast, cast.central.public, *kept)
    cast.open(path, trust=trust).close()
    for draft_ in (cast.draft(Kind.WORK, sequence=8), cast.draft(Kind.COMMIT, sequence=7)):
        with pytest.raises(RevokedKey):
            cast.open(cast.pack([], draft_), trust=trust)
    cast.open(cast.pack([], cast.draft(Kind.WORK), cast.central_next), trust=trust).close()
    assert trust.central_keys() == {cast.central_next.public}


def test_a_revoked_registrar_counts_for_what_is_kept_whoever_signed_it(
    cast: Any, make_key: Any
) -> None:
    fresh = make_key(77)
    path = cast.pack([], cast.draft(sequence=1))
    kept = pinned(STREAM, [(1, bytes.fromhex(cast.open(path).id))])
    listed = {"registrars": (cast.registrar.public, fresh.public)}
    trust = revoking(cast, cast.registrar.public, *kept, **listed)
    cast.open(path, trust=trust).close()
    with pytest.raises(RevokedKey) as caught:
        cast.open(cast.pack([], cast.draft(sequence=2)), trust=trust)
    assert caught.value.fields["key"] == cast.registrar.public.hex()
    body = signed.decode(cast.certificate, "certificate").body
    for signers, counts in (([fresh], True), ([cast.registrar, fresh], True)):
        both = signed.encode(signed.sign(CERTIFICATE_TYPE, body, signers))
        path = cast.pack([], cast.draft(sequence=3, certificate=both))
        cast.open(path, trust=trust).close()
        assert counts


def test_a_signature_of_a_stranger_on_a_certificate_lifts_no_revocation(
    cast: Any, make_key: Any
) -> None:
    fresh = make_key(77)
    body = signed.decode(cast.certificate, "certificate").body
    good = signed.sign(CERTIFICATE_TYPE, body, [cast.registrar])
    wrong = replace(good.signatures[0], key=fresh.public)
    mixed = signed.encode(replace(good, signatures=(*good.signatures, wrong)))
    listed = {"registrars": (cast.registrar.public, fresh.public)}
    trust = revoking(cast, cast.registrar.public, **listed)
    assert certificate.verify(mixed, trust.trust).site == "north"
    with pytest.raises(RevokedKey):
        cast.open(cast.pack([], cast.draft(certificate=mixed)), trust=trust)


def test_the_last_central_key_in_force_is_the_next_one(cast: Any, make_key: Any) -> None:
    third = make_key(50).public
    trust = draft.rotated(cast.trust, [third])
    assert (trust.current_central, trust.next_central) == (cast.central_next.public, third)
    for revoked, needed in (
        ([cast.central.public], (0, 0)),
        ([cast.central_next.public], (1, 0)),
        ([cast.central_next.public, third], (2, 0)),
        ([cast.registrar.public], (0, 1)),
        ([third, cast.registrar.public], (1, 1)),
    ):
        assert draft.lack(trust, revoked) == needed
        fresh = [make_key(60 + n).public for n in range(needed[0])]
        registrars = [make_key(70).public][: needed[1]]
        after = draft.revoked(trust, [Revocation(k) for k in revoked], fresh, registrars)
        in_force = after.centrals_in_force()
        assert after.next_central == in_force[-1]
        assert {after.current_central, after.next_central}.isdisjoint(revoked)
        if not set(revoked) & {trust.current_central, trust.next_central}:
            assert after.current_central == trust.current_central


def test_a_draft_says_what_it_changes_and_whose_signatures_are_missing(
    cast: Any, make_key: Any
) -> None:
    roots = [make_key(n) for n in (81, 82, 83)]
    before = trust_file.verify(cast.trust_bytes)
    after = draft.following(before, roots=tuple(one.public for one in roots), threshold=2)
    files = trust_file.decode_chain(draft.encode(before, after))
    missing = []
    for signer in (roots[1], roots[1], cast.root, roots[2]):
        files = draft.signed_by(files, signer)
        found = draft.standing(files)
        missing.append((found.missing_before, found.missing_after, found.is_complete))
    assert missing == [(1, 1, False), (1, 1, False), (0, 1, False), (0, 0, True)]
    assert trust_file.advance(before, trust_file.encode_chain(files)).version == 2
    lines = draft.changes(before, after)
    assert lines[0].startswith(f"- root {cast.root.public.hex()[:16]}")
    assert "threshold 1 becomes 2" in lines
    for stranger in (cast.central, cast.stranger):
        with pytest.raises(NotARootKey):
            draft.signed_by(files, stranger)


def test_a_version_that_changes_nothing_is_not_prepared(cast: Any) -> None:
    with pytest.raises(DraftImpossible):
        draft.rotated(cast.trust)


def test_more_bundles_than_a_trust_file_holds_are_kept_by_stream_and_last_number(
    cast: Any,
) -> None:
    def sent(key: bytes, count: int) -> list[survey.Sent]:
        about = ("north", Kind.RESULT, STREAM)
        return [survey.Sent(key, *about, n, an_id(n), 0, False) for n in range(0, 2 * count, 2)]

    few, some, many = (b"a" * 32, b"b" * 32, b"c" * 32)
    chosen = [*sent(few, 10), *sent(some, 8192), *sent(many, 9000)]
    made = survey.revocations_of([few, some, many], chosen, cast.trust)
    assert [one.ids() for one in made] == [10, 8192, 1]
    assert made[2].keeps(STREAM, 17_998, an_id(17_998))
    assert not made[2].keeps(STREAM, 17_998, an_id(1))
    after = draft.revoked(cast.trust, made)
    raw = trust_file.encode(after, [cast.root])
    assert trust_file.verify(raw).says_same(after)
    again = survey.revocations_of([b"d" * 32], sent(b"d" * 32, 8192), after)
    assert [one.ids() for one in again] == [1]  # there is no room for more
    assert trust_file.verify(trust_file.encode(draft.revoked(after, again), [cast.root]))


def test_a_survey_believes_signatures_only(cast: Any, tmp_path: Path) -> None:
    archive = tmp_path / "archive" / "ab"
    archive.mkdir(parents=True)
    cast.pack([], cast.draft(sequence=4)).rename(archive / "a.pulk")
    parts = cast.take_apart(cast.pack([], cast.draft(sequence=5)))
    flipped = bytes([parts.signatures[-1] ^ 1])
    forged = replace(parts, signatures=parts.signatures[:-1] + flipped)
    (archive / "b.pulk").write_bytes(forged.whole())
    (archive / "c.pulk").write_bytes(b"no bundle")
    cast.pack([], cast.draft(Kind.WORK, sequence=6)).rename(archive / "d.pulk")
    keys = frozenset({cast.site.public, cast.registrar.public})
    found = survey.survey(keys, survey.files_of(tmp_path, parked=True))
    assert {(one.key, one.sequence) for one in found} == {(key, 4) for key in keys}
    with pytest.raises(DraftImpossible):
        survey.choose(found, ["ffff:3"])
    for words, count in ((["all"], 2), (["none"], 0), (["7373:3"], 0), (["7373:4"], 2)):
        if words == ["7373:3"]:
            with pytest.raises(DraftImpossible):
                survey.choose(found, words)
        else:
            assert len(survey.choose(found, words)) == count
