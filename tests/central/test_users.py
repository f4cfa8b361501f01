"""Users at central: their submission bundles, their co-signatures, and what a rebuild keeps."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from bundle.dataset import spec
from bundle.ids import StreamId
from bundle.trust import cosignature, signed
from bundle.trust.cosignature import CosignatureRefused
from bundle.trust.errors import WeakKey
from bundle.trust.keys import MemoryKey
from bundle.wire.manifest import Kind, ManifestDraft
from bundle.wire.preauth import DATASET_TYPE
from bundle.wire.read import open_bundle
from bundle.wire.write import ChunkSource, write_bundle
from central import submission
from central.absorb import KINDS
from central.core.receipts import Outcome
from central.errors import IdempotencyConflict
from central.rebuild import rebuild
from central.store.sqlite import SqliteStore
from central.store.sqlite.library import sqlite3
from central.submission import Given
from central.users import UserRefused
from tests.central.conftest import Central, chain
from tests.central.crash import forget

RAW = spec.encode(chain(jobs=2))
DIGEST = spec.dataset_digest(RAW)
ANNA, BELA, CARLA = (MemoryKey(bytes([number]) * 32) for number in (1, 2, 3))


def cosigned(*keys: MemoryKey, digest: bytes = DIGEST) -> bytes:
    return cosignature.encode(cosignature.make(digest, keys))


def submit(
    central: Central, key: MemoryKey = ANNA, *, number: int = 0, record: bytes = b""
) -> Path:
    """Write a submission bundle; the same number, key and record give the same bundle."""
    path = central.folder / f"submission-{number}-{len(list(central.folder.iterdir()))}.pulk"
    stream = StreamId(number.to_bytes(16, "big"))
    submission.write(path, Given(RAW, record), key, stream=stream, created_us=1)
    return path


def scrap(central: Central, chunks: list[ChunkSource], producer: str) -> Path:
    """Write a submission bundle that no program of ours writes."""
    path = central.folder / "scrap.pulk"
    stream = StreamId(bytes(16))
    draft = ManifestDraft(
        kind=Kind.SUBMISSION, producer=producer, stream=stream, sequence=0, created_us=1
    )
    write_bundle(path, draft, chunks, ANNA)
    return path


def parked(central: Central) -> list[Path]:
    return list(central.home.parked.iterdir())


def the_dataset(central: Central) -> dict[str, object]:
    (row,) = central.authority.datasets()
    return central.authority.dataset(row["id"])


def work_chunks(central: Central, name: str = "north") -> list[tuple[str, str]]:
    """Have work packed and fetched; return kind and name of its chunks."""
    site = central.site(name)
    central.authority.absorb(site.report(100))
    (out,) = central.authority.outbox(site.name)
    path = central.authority.outgoing(site.name, out.id)
    with open_bundle(path, site.trust, audience=name, kinds=frozenset({Kind.WORK})) as bundle:
        bundle.check_all()
        return [(entry.kind, entry.name) for entry in bundle.manifest.chunks]


def test_a_submission_by_an_unknown_user_is_parked_and_merges_once_the_user_is_added(
    central: Central,
) -> None:
    found = central.authority.absorb(submit(central))
    assert (found.outcome, found.code) == (Outcome.PARKED, "unknown-key")
    assert ANNA.public.hex() in found.text
    assert "pulk central user add" in found.text
    assert not central.authority.datasets()
    assert central.authority.add_user("bela", BELA.public) == 0
    assert len(parked(central)) == 1
    assert central.authority.add_user("anna", ANNA.public) == 1
    assert not parked(central)
    assert the_dataset(central)["submitted_by"] == "anna"
    central.fsck()


def test_a_submission_that_waited_merges_at_the_next_start_too(central: Central) -> None:
    central.authority.absorb(submit(central))
    central.authority.close()
    with sqlite3.connect(central.home.database) as database:
        database.execute("INSERT INTO user VALUES (?, 'anna', 1, 0)", (ANNA.public,))
    central.reopen()
    assert the_dataset(central)["submitted_by"] == "anna"


def test_however_often_one_bundle_comes_it_is_one_dataset(central: Central) -> None:
    for _ in range(2):
        assert central.authority.absorb(submit(central)).outcome is Outcome.PARKED
    assert central.authority.add_user("anna", ANNA.public) >= 1
    for _ in range(3):
        assert central.authority.absorb(submit(central)).outcome is Outcome.MERGED
    assert len(central.authority.datasets()) == 1
    assert central.authority.absorb(submit(central, number=1)).outcome is Outcome.MERGED
    assert len(central.authority.datasets()) == 2  # asked for twice
    assert central.fsck()["datasets"] == 2


def test_a_crash_after_a_submission_loses_and_doubles_nothing(central: Central) -> None:
    central.authority.add_user("anna", ANNA.public)
    record = cosigned(ANNA, BELA)
    forget(central, lambda: central.authority.absorb(submit(central, record=record)))
    about = the_dataset(central)
    assert about["submitted_by"] == "anna"
    assert sorted(about["cosigned_by"]) == sorted(["anna", BELA.public.hex()])  # type: ignore[call-overload]
    assert central.authority.absorb(submit(central, record=record)).outcome is Outcome.MERGED
    assert len(central.authority.datasets()) == 1
    central.fsck()


def test_a_key_or_a_name_has_one_owner(central: Central) -> None:
    site = central.site()
    central.authority.add_user("anna", ANNA.public)
    central.authority.add_user("anna", ANNA.public)  # the same again
    trust = central.authority._w.trust.trust
    taken = [trust.roots[0], trust.centrals[0], trust.registrars[0], site.key.public]
    for key in (*taken, ANNA.public):
        with pytest.raises(UserRefused, match="key"):
            central.authority.add_user("bela", key)
    with pytest.raises(UserRefused, match="another key"):
        central.authority.add_user("anna", BELA.public)
    for name in ("", "-a", "a b", "a/b", "a" * 64):
        with pytest.raises(UserRefused, match="name"):
            central.authority.add_user(name, BELA.public)
    for key in (bytes(32), b"\x01" + bytes(31), b"\xff" * 32, b"short"):
        with pytest.raises(WeakKey):
            central.authority.add_user("bela", key)
    assert [row["name"] for row in central.authority.users()] == ["admin", "anna"]
    with pytest.raises(UserRefused, match="no such user"):
        central.authority.remove_user("bela")


def test_nothing_more_of_a_removed_user_is_taken_and_what_was_merged_stays(
    central: Central,
) -> None:
    central.authority.add_user("anna", ANNA.public)
    central.authority.absorb(submit(central))
    central.authority.remove_user("anna")
    assert [one["name"] for one in central.authority.users()] == ["admin"]
    assert central.authority.absorb(submit(central, number=1)).outcome is Outcome.PARKED
    assert the_dataset(central)["submitted_by"] == "anna"
    central.fsck()  # the archived bundle of a removed user still verifies
    central.reopen()
    assert len(central.authority.datasets()) == 1
    central.authority.add_user("anna", BELA.public)  # the name is free again
    assert len(central.authority.datasets()) == 1
    central.authority.add_user("anna-again", ANNA.public)
    assert len(central.authority.datasets()) == 2


def test_a_submission_whose_parts_do_not_fit_is_refused_and_changes_nothing(
    central: Central,
) -> None:
    central.authority.add_user("anna", ANNA.public)
    mine, document = ANNA.public.hex(), ChunkSource("dataset", DIGEST.hex(), 1, RAW)
    forged = signed.encode(replace(signed.sign(DATASET_TYPE, DIGEST, [ANNA]), body=b"o" * 32))
    records = [cosigned(BELA, digest=b"o" * 32), forged, b"junk"]
    rows = [[document, ChunkSource("cosignature", DIGEST.hex(), 1, one)] for one in records]
    rows += [[], [document, document], [ChunkSource("dataset", "d", 1, b"\xc0")]]
    cases = [(chunks, mine) for chunks in rows]
    cases += [([document], "north"), ([document], BELA.public.hex())]
    for chunks, producer in cases:
        found = central.authority.absorb(scrap(central, chunks, producer))
        assert (found.outcome, found.code) == (Outcome.REFUSED, "malformed-content")
    assert not central.authority.datasets()
    assert central.authority.absorb(submit(central)).outcome is Outcome.MERGED


def test_cosignatures_travel_with_the_work_and_not_with_what_is_not_cosigned(
    central: Central,
) -> None:
    key = "one"
    record = cosigned(ANNA, BELA)
    central.authority.submit(RAW, idempotency_key=key, token_id=1, cosignature=record)
    central.submit(chain(jobs=3))
    chunks = work_chunks(central)
    assert [name for kind, name in chunks if kind == "cosignature"] == [DIGEST.hex()]
    assert len([name for kind, name in chunks if kind == "dataset"]) == 2
    assert the_dataset_of(central, DIGEST)["cosigned_by"] == [
        key.public.hex() for key in sorted((ANNA, BELA), key=lambda one: one.public)
    ]


def the_dataset_of(central: Central, digest: bytes) -> dict[str, object]:
    row = next(one for one in central.authority.datasets() if one["digest"] == digest.hex())
    return central.authority.dataset(row["id"])


def test_a_site_is_given_only_what_meets_the_demand_that_it_reports(central: Central) -> None:
    central.submit(chain(jobs=3))
    central.authority.submit(RAW, idempotency_key="a", token_id=1, cosignature=cosigned(ANNA))
    site, both = central.site(), f"{ANNA.public.hex()} {BELA.public.hex()}"

    def given(demand: str) -> set[bytes]:
        central.authority.absorb(site.report(100, profile=(("cosignatures", demand),)))
        found = site.fetch(central.authority)
        return {lease.dataset_digest for held in found for lease in held.leases}

    assert given(f"2 {both}") == set()
    assert given(f"1 {BELA.public.hex()}") == set()
    assert given(f"1 {both}") == {DIGEST}
    central.authority.submit(RAW, idempotency_key="b", token_id=1, cosignature=cosigned(BELA))
    assert given(f"2 {both}") == {DIGEST}
    assert given("cannot be read") == {spec.dataset_digest(spec.encode(chain(jobs=3)))}


def test_results_of_a_cosigned_dataset_come_home_as_always(central: Central) -> None:
    central.authority.submit(RAW, idempotency_key="k", token_id=1, cosignature=cosigned(ANNA))
    central.site().work_all(central.authority)
    (row,) = central.authority.datasets()
    assert central.counts(row["id"]) == [{"done": 2}, {"done": 2}, {"done": 1}]
    central.fsck()


def test_submitting_a_document_again_adds_its_new_cosigners(central: Central) -> None:
    for key, record in (("a", cosigned(ANNA)), ("b", cosigned(BELA)), ("c", b"")):
        central.authority.submit(RAW, idempotency_key=key, token_id=1, cosignature=record)
    rows = central.authority.datasets()
    assert len(rows) == 3
    for row in rows:
        assert len(central.authority.dataset(row["id"])["cosigned_by"]) == 2
    with pytest.raises(IdempotencyConflict):
        central.authority.submit(RAW, idempotency_key="a", token_id=1, cosignature=cosigned(CARLA))


def test_a_wrong_cosignature_refuses_the_submission(central: Central) -> None:
    for record in (b"junk", cosigned(ANNA, digest=b"o" * 32)):
        with pytest.raises(CosignatureRefused):
            central.authority.submit(RAW, idempotency_key="k", token_id=1, cosignature=record)
    assert not central.authority.datasets()


def test_a_crowd_of_unknown_cosigners_does_not_keep_out_those_that_a_site_demands(
    central: Central,
) -> None:
    crowd = [MemoryKey(bytes([number]) * 32) for number in range(20, 36)]
    for key, record in (("k", cosigned(*crowd)), ("l", cosigned(ANNA))):
        central.authority.submit(RAW, idempotency_key=key, token_id=1, cosignature=record)
    site = central.site()
    demand = ("cosignatures", f"1 {ANNA.public.hex()}")
    central.authority.absorb(site.report(100, profile=(demand,)))
    (work,) = [one for one in central.authority.outbox(site.name) if one.size_bytes]
    path = central.authority.outgoing(site.name, work.id)
    with open_bundle(path, site.trust, audience=site.name, kinds=KINDS) as bundle:
        (place,) = bundle.find(cosignature.CHUNK)
        keys = cosignature.read(bundle.chunk(place)).keys
    assert ANNA.public in keys
    assert len(keys) == len(crowd)


@pytest.mark.parametrize("seed", range(4))
def test_rebuild_keeps_cosignatures_and_submitters_in_any_order(
    central: Central, tmp_path: Path, seed: int
) -> None:
    central.authority.add_user("anna", ANNA.public)
    central.authority.absorb(submit(central, record=cosigned(BELA, CARLA)))
    central.site().work_all(central.authority)
    live = central.fsck()
    home = replace(central.home, root=tmp_path / "fresh")
    made = rebuild(home, central.home.archive, central.home.trust, shuffle=seed, repeat=2)
    assert made["ok"], made["problems"]
    assert made["state_hash"] == live["state_hash"]
    store = SqliteStore(home.database)
    try:
        (row,) = store.datasets.datasets()
        assert {one.key for one in store.datasets.cosignatures(DIGEST)} == {
            BELA.public,
            CARLA.public,
        }
        assert store.datasets.submitter(row.no) == ANNA.public
    finally:
        store.close()


def test_a_lost_database_learns_submissions_and_their_users_again(
    central: Central,
) -> None:
    central.authority.add_user("anna", ANNA.public)
    central.authority.absorb(submit(central, record=cosigned(BELA)))
    central.authority.close()
    central.home.database.unlink()
    central.reopen()
    assert the_dataset(central)["cosigned_by"] == [BELA.public.hex()]
    assert the_dataset(central)["submitted_by"] == "anna"
    central.reopen()
    assert len(central.authority.datasets()) == 1
    assert the_dataset(central)["submitted_by"] == "anna"
    central.fsck()


def test_the_archive_holds_cosignatures_under_centrals_own_signature(central: Central) -> None:
    central.authority.submit(RAW, idempotency_key="k", token_id=1, cosignature=cosigned(ANNA))
    kinds = set()
    for path in central.home.archive.rglob("*.pulk"):
        with open_bundle(path, central.authority._w.trust, audience=None, kinds=KINDS) as bundle:
            bundle.check_all()
            kinds |= {(bundle.manifest.kind, entry.kind) for entry in bundle.manifest.chunks}
    assert (Kind.COMMIT, "cosignature") in kinds


def test_an_old_copy_of_the_archive_is_whole(central: Central, tmp_path: Path) -> None:
    central.authority.add_user("anna", ANNA.public)
    central.authority.absorb(submit(central))
    copy = tmp_path / "copy"
    shutil.copytree(central.home.archive, copy)
    home = replace(central.home, root=tmp_path / "fresh")
    made = rebuild(home, copy, central.home.trust, shuffle=None, repeat=1)
    assert made["ok"]
    assert (made["parked"], made["people"]) == (0, 2)  # who signed it stands in a commit
    assert made["datasets"] == 1  # its commit


def test_a_submissions_document_is_decoded_before_it_is_merged_and_no_other_bundle(
    central: Central,
) -> None:
    central.authority.add_user("anna", ANNA.public)
    found = central.authority._submitted(submit(central))
    assert found is not None and found.digest == DIGEST
    assert central.authority._submitted(submit(central, BELA, number=1)) is None  # a stranger's
    assert central.authority._submitted(central.site().report(1)) is None
    assert central.authority._submitted(central.folder / "gone.pulk") is None
