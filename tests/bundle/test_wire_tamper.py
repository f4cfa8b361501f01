"""A courier can damage, swap and relabel; nothing of it is believed, nothing changes.

Every bit flip and every truncation: tests/attacks/test_every_bit.py.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bundle import canonical
from bundle.intervals import IntervalSet
from bundle.limits import MANIFEST_LIMITS
from bundle.trust.trust_file import Kept, Revocation
from bundle.wire.errors import (
    BadMagic,
    BadSignature,
    BundleRefused,
    ChunkMismatch,
    KeyNotAllowed,
    MalformedBundle,
    MalformedManifest,
    NotABundleFile,
    Parkable,
    RevokedKey,
    TooLarge,
    TrailingBytes,
    Truncated,
    UnknownKey,
    UnsupportedVersion,
    WrongAudience,
    WrongKind,
)
from bundle.wire.manifest import CENTRALS_OWN, SITES_OWN, Kind
from bundle.wire.write import ChunkSource


def small(cast: Any) -> Path:
    return cast.pack(
        [
            ChunkSource("segment", "a", 9, bytes(range(256)) + b"ab" * 200),
            ChunkSource("data", "d", 0, os.urandom(3_400)),
            ChunkSource("logs", "", 0, b""),
        ],
        cast.draft(Kind.WORK),
    )


def verdict(cast: Any, path: Path) -> str:
    """The id of a bundle that is good to its last byte; raises BundleRefused for any other."""
    with cast.open(path, audience="north", kinds=frozenset({Kind.WORK})) as bundle:
        bundle.check_all()
        return str(bundle.id)


def test_a_refusal_leaves_file_and_folder_as_they_were(cast: Any, tmp_path: Path) -> None:
    scrap = cast.scrap(small(cast).read_bytes()[:-1])
    before = {one.name: one.read_bytes() for one in cast.folder.iterdir()}
    with pytest.raises(Truncated, match=r"declares \d+; copy or fetch it again; nothing"):
        verdict(cast, scrap)
    assert {one.name: one.read_bytes() for one in cast.folder.iterdir()} == before


def test_trailing_bytes_are_refused(cast: Any) -> None:
    with pytest.raises(TrailingBytes):
        verdict(cast, cast.scrap(small(cast).read_bytes() + b"\0"))


def test_parts_of_two_bundles_do_not_make_a_third(cast: Any) -> None:
    def pack(n: int) -> Any:
        chunk = ChunkSource("segment", "a", 1, b"%d" % n * 40)
        return cast.take_apart(cast.pack([chunk], cast.draft(Kind.WORK, sequence=n)))

    one, two = pack(1), pack(2)
    for field in ("manifest", "signatures"):
        with pytest.raises(BadSignature):
            verdict(cast, cast.scrap(replace(one, **{field: getattr(two, field)}).whole()))
    with pytest.raises(ChunkMismatch, match="manifest"):
        verdict(cast, cast.scrap(replace(one, rows=two.rows, bodies=two.bodies).whole()))
    with pytest.raises(ChunkMismatch, match="table"):
        verdict(cast, cast.scrap(replace(one, bodies=two.bodies).whole()))


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("claimed", list(Kind))
def test_a_signature_counts_for_its_own_kind_only(cast: Any, kind: Kind, claimed: Kind) -> None:
    signer = {Kind.DATA: cast.central, Kind.SUBMISSION: cast.user}.get(kind)
    fields = {"producer": "central"} if kind is Kind.DATA else {}
    path = cast.pack([], cast.draft(kind, **fields), signer)
    scrap = cast.scrap(replace(cast.take_apart(path), kind=claimed).whole())
    if kind is claimed:
        cast.open(scrap).close()
    else:
        with pytest.raises(BundleRefused):
            cast.open(scrap)


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("role", ["root", "central", "registrar", "site", "user", "stranger"])
def test_each_kind_is_signed_by_its_own_role_only(cast: Any, kind: Kind, role: str) -> None:
    signer = getattr(cast, role)
    draft = cast.draft(kind)
    if kind is Kind.DATA:
        draft = replace(draft, producer="central" if role == "central" else "north")
        draft = replace(draft, certificate=cast.certificate if role == "site" else b"")
    allowed = (
        (role == "central" and kind in CENTRALS_OWN | {Kind.DATA})
        or (role == "site" and kind in SITES_OWN | {Kind.DATA})
        or (role == "user" and kind is Kind.SUBMISSION)
    )
    path = cast.pack([], draft, signer)
    if allowed:
        cast.open(path).close()
    else:
        with pytest.raises((KeyNotAllowed, UnknownKey)):
            cast.open(path)


def test_a_site_vouches_only_in_its_own_name(cast: Any) -> None:
    with pytest.raises(KeyNotAllowed, match="south"):
        cast.open(cast.pack([], cast.draft(producer="south")))
    with pytest.raises(KeyNotAllowed, match="another key"):
        cast.open(cast.pack([], cast.draft(), cast.other_site))
    renewed = cast.certify("south", cast.site)
    parts = cast.take_apart(cast.pack([], cast.draft()))
    signatures = cast.signatures(parts.kind, parts.manifest, (cast.site, renewed))
    with pytest.raises(KeyNotAllowed):
        cast.open(cast.scrap(replace(parts, signatures=signatures).whole()))


def test_a_key_that_newer_trust_may_know_is_parkable(cast: Any) -> None:
    with pytest.raises(UnknownKey) as caught:
        cast.open(cast.pack([], cast.draft(Kind.WORK), cast.stranger))
    assert isinstance(caught.value, Parkable)
    with pytest.raises(UnknownKey):
        cast.open(cast.pack([], cast.draft(Kind.SUBMISSION), cast.stranger))


def test_the_next_central_key_is_accepted_before_any_rotation(cast: Any) -> None:
    cast.open(cast.pack([], cast.draft(Kind.WORK), cast.central_next)).close()


def test_a_revoked_key_counts_only_for_what_is_kept(cast: Any) -> None:
    kept = Kept(b"s" * 16, IntervalSet(((0, 5),)), bytes(32))  # no bundle has the id of 4
    revoked = replace(cast.trust, revocations=(Revocation(cast.site.public, (kept,)),))
    trust = replace(cast.view, trust=revoked)
    cast.open(cast.pack([], cast.draft(sequence=3)), trust=trust).close()
    with pytest.raises(RevokedKey) as caught:
        cast.open(cast.pack([], cast.draft(sequence=4)), trust=trust)
    assert isinstance(caught.value, Parkable)


def test_more_signatures_change_neither_id_nor_verdict(cast: Any) -> None:
    path = small(cast)
    good, parts = verdict(cast, path), cast.take_apart(path)
    central, stranger = (cast.central, b""), (cast.stranger, b"")
    for signers in ([central, central], [stranger, central], [central, stranger]):
        signatures = cast.signatures(parts.kind, parts.manifest, *signers)
        assert verdict(cast, cast.scrap(replace(parts, signatures=signatures).whole())) == good
    too_many = cast.signatures(parts.kind, parts.manifest, *[central] * 17)
    none = canonical.encode([])
    for signatures in (too_many, none):
        with pytest.raises(MalformedBundle):
            verdict(cast, cast.scrap(replace(parts, signatures=signatures).whole()))


def test_an_algorithm_field_is_refused_wherever_it_stands(cast: Any) -> None:
    parts = cast.take_apart(cast.pack([], cast.draft()))
    for name in ("alg", "algorithm", "suite"):
        value = canonical.decode(parts.manifest, MANIFEST_LIMITS) | {name: "ed25519"}
        with pytest.raises(MalformedManifest, match="algorithm"):
            cast.open(cast.scrap(cast.resign(parts, value).whole()))
        rows = canonical.decode(parts.signatures, MANIFEST_LIMITS)
        signatures = canonical.encode([row | {name: "none"} for row in rows])
        with pytest.raises(MalformedBundle, match="other fields"):
            cast.open(cast.scrap(replace(parts, signatures=signatures).whole()))


def test_an_unknown_version_is_refused_with_the_version_to_install(cast: Any) -> None:
    whole = cast.take_apart(small(cast)).whole
    with pytest.raises(UnsupportedVersion, match=r"format 9,.*reads bundle format 9"):
        verdict(cast, cast.scrap(whole(format=9, reader_min=8)))
    with pytest.raises(MalformedBundle, match="versions"):
        verdict(cast, cast.scrap(whole(format=9)))


def test_wrong_kind_and_wrong_audience_say_where_it_belongs(cast: Any) -> None:
    path = small(cast)
    with pytest.raises(WrongKind, match="work bundle, here only report, result"):
        cast.open(path, kinds=frozenset({Kind.RESULT, Kind.REPORT}))
    with pytest.raises(WrongAudience, match="for north, not for south"):
        cast.open(path, audience="south")
    cast.open(path, audience=None).close()


def test_sizes_beyond_the_limits_are_refused_before_anything_is_read(cast: Any) -> None:
    whole = cast.take_apart(small(cast)).whole
    for field, value in (
        ("manifest_bytes", (8 << 20) + 1),
        ("signatures_bytes", (64 << 10) + 1),
        ("chunks", 65_537),
        ("total_bytes", (64 << 30) + 1),
    ):
        with pytest.raises(TooLarge):
            verdict(cast, cast.scrap(whole(**{field: value})))
    with pytest.raises(MalformedBundle, match="exceed"):
        verdict(cast, cast.scrap(whole(manifest_bytes=8 << 20)))


def test_an_endless_file_is_refused_by_its_size(cast: Any) -> None:
    path = cast.folder / "endless"
    path.touch()
    os.truncate(path, 10 << 30)
    with pytest.raises(TooLarge):
        cast.open(path, bytes_max=64 << 20)
    with pytest.raises(BadMagic):
        cast.open(path)


def test_links_folders_and_pipes_are_never_followed(cast: Any) -> None:
    link, pipe = cast.folder / "link", cast.folder / "pipe"
    link.symlink_to(small(cast))
    os.mkfifo(pipe)
    for path in (link, pipe, cast.folder, cast.folder / "missing"):
        with pytest.raises(NotABundleFile, match=str(path)):
            cast.open(path)
