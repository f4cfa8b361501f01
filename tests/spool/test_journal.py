"""The journal survives a kill at any byte; names of shards and seals are read back."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundle import canonical
from bundle.fates import Fate
from bundle.ids import BundleId, DatasetId, LeaseId, PilotRun
from bundle.records.attempt import Attempt, Usage
from bundle.records.segment import Host, SegmentHeader
from bundle.records.telemetry import Sample
from bundle.shape import WrongShape
from bundle.spool import records, shard
from bundle.spool.journal import JournalWriter, frame_of, read_journal
from bundle.spool.layout import FOLDERS, SealName, ShardName, Spool
from bundle.spool.shard import ShardFile

values = st.dictionaries(
    st.text(max_size=5), st.one_of(st.integers(0, 2**40), st.binary(max_size=20)), max_size=4
)
HOST = Host("n", "k", "c", 1, 2, "b", "p", "v", "namespace")
HEADER = SegmentHeader(
    pilot_run=PilotRun(b"p" * 8),
    lease=LeaseId(b"l" * 16),
    dataset=DatasetId("d" * 26),
    dataset_digest=bytes(32),
    work=BundleId("a" * 64),
    shard=3,
    turn=2,
    host=HOST,
)


def journal(path: Path, rows: list[dict[str, object]]) -> bytes:
    writer = JournalWriter(path)
    for row in rows:
        writer.append(row)
    writer.close()
    return path.read_bytes()


@given(st.lists(values, max_size=6), st.integers(0, 2**16), st.integers(0, 2**16))
def test_a_journal_cut_or_flipped_anywhere_gives_a_prefix_of_its_records(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[dict[str, object]],
    cut: int,
    flip: int,
) -> None:
    path = tmp_path_factory.mktemp("journal") / "j"
    raw = journal(path, rows)
    assert read_journal(path).records == tuple(rows)
    path.write_bytes(raw[: cut % (len(raw) + 1)])
    read = read_journal(path)
    assert list(read.records) == rows[: len(read.records)]
    assert read.torn == (read.sound_bytes < path.stat().st_size)
    if raw:
        at = flip % len(raw)
        path.write_bytes(raw[:at] + bytes([raw[at] ^ 0x10]) + raw[at + 1 :])
        read = read_journal(path)
        assert list(read.records) == rows[: len(read.records)]
        assert read.torn
        assert read.sound_bytes <= at


def test_nothing_is_promised_before_commit_and_all_of_it_after(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path / "j")
    writer.append({"a": 1})
    assert writer.pending_bytes == len(frame_of({"a": 1}))
    assert read_journal(tmp_path / "j").records == ()
    writer.commit()
    assert read_journal(tmp_path / "j").records == ({"a": 1},)
    assert writer.pending_bytes == 0
    writer.close()


def test_a_journal_is_never_continued_by_another(tmp_path: Path) -> None:
    JournalWriter(tmp_path / "j").close()
    with pytest.raises(FileExistsError):
        JournalWriter(tmp_path / "j")


def test_a_length_beyond_the_file_is_a_torn_tail(tmp_path: Path) -> None:
    sound = frame_of({"a": 1})
    (tmp_path / "j").write_bytes(sound + b"\xff\xff\xff\xff" + bytes(20))
    read = read_journal(tmp_path / "j")
    assert (read.records, read.sound_bytes, read.torn) == (({"a": 1},), len(sound), True)


def test_attempts_logs_and_samples_come_back_as_they_were(tmp_path: Path) -> None:
    attempt = Attempt(
        5, 1, 2, 0, Fate.OOM, -1, 9, 10, 11, 12, 3, Usage(1, 2, 3, 4, 5, 6),
        (bytes(32),), ((b"f" * 32, 7),), "a==1", "why",
    )  # fmt: skip
    sample = Sample(1, 2, 3, 4, 5)
    rows = [
        records.header_record(HEADER),
        records.attempt_record(attempt, b"log"),
        records.sample_record((sample,)),
        {"kind": "of a later version"},
    ]
    journal(tmp_path / "j", rows)
    found = records.read_records(read_journal(tmp_path / "j").records)
    assert found.header == HEADER
    assert found.attempts == (attempt,)
    assert found.logs == {0: b"log"}
    assert found.samples == (sample,)


def test_a_record_of_another_shape_is_refused_by_name() -> None:
    with pytest.raises(WrongShape) as refused:
        records.read_records([{"kind": "attempt", "row": {"job": "x"}}])
    assert refused.value.where.startswith("journal[0]")


names = st.builds(
    ShardName, st.binary(min_size=16, max_size=16).map(LeaseId), st.integers(0, 10**6)
)


@given(names, st.binary(min_size=8, max_size=8).map(PilotRun))
def test_names_of_shards_and_seals_are_read_back(name: ShardName, run: PilotRun) -> None:
    assert ShardName.parse(str(name)) == name
    seal = SealName(name, run)
    assert SealName.parse(str(seal)) == seal


@given(st.text(max_size=70))
def test_any_other_name_is_nobodys(text: str) -> None:
    for kind in (ShardName, SealName):
        found = kind.parse(text)
        assert found is None or str(found) == text


@pytest.mark.parametrize(
    "text", ["AB" * 16 + "-0001", "ab" * 16 + "-1", "ab" * 16 + "-\u0661\u0661\u0661\u0661"]
)
def test_a_name_has_one_spelling(text: str) -> None:
    assert ShardName.parse(text) is None
    assert SealName.parse(f"{text}-{'cd' * 8}.seal") is None


@given(names, st.integers(0, 2**40))
def test_a_shard_file_is_read_back(name: ShardName, start_before_us: int) -> None:
    file = ShardFile(name.lease, name.turn, BundleId("a" * 64), 3, start_before_us)
    assert shard.decode(shard.encode(file), where="x") == file
    assert file.name == name


def test_a_torn_shard_file_is_refused() -> None:
    raw = shard.encode(ShardFile(LeaseId(bytes(16)), 1, BundleId("a" * 64), 3, 0))
    for cut in range(len(raw)):
        with pytest.raises((canonical.NotCanonical, WrongShape)):
            shard.decode(raw[:cut], where="x")


def test_seals_of_a_lease_are_found_waiting_and_travelling_in_order_of_turn(
    tmp_path: Path,
) -> None:
    spool = Spool(tmp_path)
    for folder in FOLDERS:
        spool.folder(folder).mkdir()
    work, lease, other = BundleId("a" * 64), LeaseId(b"l" * 16), LeaseId(b"m" * 16)
    spool.kept_seals(work).mkdir(parents=True)
    first, second = (SealName(ShardName(lease, n), PilotRun(b"p" * 8)) for n in (1, 2))
    foreign = SealName(ShardName(other, 1), PilotRun(b"p" * 8))
    (spool.kept_seals(work) / str(first)).touch()
    spool.seal(second).touch()
    spool.seal(foreign).touch()
    (spool.folder("sealed") / f"{lease.hex()}-junk").touch()
    assert [path.name for path in spool.seals_of(work, lease)] == [str(first), str(second)]
