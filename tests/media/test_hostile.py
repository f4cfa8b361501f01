"""A hostile medium, a wrong order, a bad day: nothing is lost, nothing wrong lands."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from bundle import canonical
from bundle.media import card as cards
from bundle.media import eject
from bundle.media.card import CARD
from bundle.media.errors import CustodyHeld, MediumFailed, SameFolder
from bundle.media.fill import Filling, fill, forget
from bundle.media.goods import goods_in
from bundle.media.parts import split
from bundle.media.sight import look, plain_files
from bundle.trust.keys import MemoryKey
from bundle.wire import thin
from bundle.wire.errors import ChunkMismatch, UnknownKey
from bundle.wire.header import Header, pack
from bundle.wire.manifest import Kind
from bundle.wire.preauth import bundle_type, pae
from bundle.wire.read import open_bundle
from tests.media.made import Press
from tests.media.test_take import Became, landed, taken

pytestmark = pytest.mark.sweeps


def export(press: Press, medium: Path) -> frozenset[str]:
    """Fill a medium as `pulk bundle export` does; return what counts as carried."""
    return fill(goods_in(press.goods), medium, Filling(press.goods / "pulk-carried", "a")).carried


def test_a_medium_frees_nothing_of_itself(press: Press, stick: Path, tmp_path: Path) -> None:
    path = press.make()
    export(press, stick)
    checked = eject.check(stick, eject.read_card(stick).rows)
    (tmp_path / "link").symlink_to(stick)
    for same in (stick, tmp_path / "link", stick / ".." / "stick"):
        with pytest.raises(SameFolder):
            eject.free(stick, same, checked)
    assert (stick / path.name).exists()
    twin = tmp_path / "twin"  # another folder, the very same file: no second copy
    twin.mkdir()
    (twin / path.name).hardlink_to(stick / path.name)
    assert eject.free(stick, twin, checked) == []
    assert (twin / path.name).exists()


def test_no_link_leads_around_custody(press: Press, stick: Path, tmp_path: Path) -> None:
    path = press.make()
    export(press, stick)
    checked = eject.check(stick, eject.read_card(stick).rows)
    spool = tmp_path / "spool"
    for name in ("streams", "claimed", "out"):
        (spool / name).mkdir(parents=True)
    shutil.copy(path, spool / "out")
    (tmp_path / "link").symlink_to(spool / "out")
    with pytest.raises(CustodyHeld):
        eject.free(stick, tmp_path / "link", checked)
    assert (spool / "out" / path.name).exists()


def test_a_medium_below_the_folder_that_it_is_taken_into(
    press: Press, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = press.make()
    (tmp_path / "here" / "stick").mkdir(parents=True)
    shutil.copy(path, tmp_path / "here" / "stick")
    monkeypatch.chdir(tmp_path / "here")
    assert taken(Path("stick"), Path())[path.name].became is Became.LANDED
    with pytest.raises(SameFolder):
        taken(Path("stick"), Path("../here/stick"))


def test_a_card_is_believed_by_no_export(press: Press, stick: Path) -> None:
    kept, other = press.make(0), press.make(1)
    export(press, stick)
    card = eject.read_card(stick)
    (row,) = [one for one in card.rows if one.facts.id == other.stem]
    lie = row._replace(facts=row.facts._replace(id=kept.stem))
    (stick / kept.name).unlink()
    (stick / CARD).write_bytes(cards.encode(card._replace(rows=(lie,))))
    forget(press.goods / "pulk-carried")
    assert export(press, stick) == {kept.stem, other.stem}
    assert (stick / kept.name).read_bytes() == kept.read_bytes()


def test_nesting_deeper_than_a_path_can_name_is_told(
    press: Press, stick: Path, tmp_path: Path
) -> None:
    shutil.copy(press.make(), stick / "x")
    here = os.open(stick, os.O_RDONLY)
    for _ in range(2500):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    try:
        found = taken(stick, tmp_path / "into")
    finally:
        subprocess.run(["rm", "-rf", str(stick)], check=True)  # deeper than shutil can go
    assert found.pop("x").became is Became.LANDED
    (deep,) = found.values()
    assert (deep.became, deep.text) == (Became.FOREIGN, os.strerror(errno.ENAMETOOLONG))


def test_folders_that_become_links_are_not_followed(press: Press, stick: Path) -> None:
    (stick / "a").mkdir()
    (stick / "a" / "x").touch()
    (stick / "b").touch()
    told: list[str] = []
    walk = plain_files(stick, lambda path, _: told.append(path.name))
    assert next(walk).name == "b"
    shutil.rmtree(stick / "a")
    (stick / "a").symlink_to(press.goods)
    press.make()
    assert list(walk) == []
    assert told == ["a"]


def test_a_bad_sector_costs_its_chunk_alone(
    press: Press, stick: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = press.make(0, chunks=4), press.make(1)
    for path in (bad, good):
        shutil.copy(path, stick)
    target = (stick / bad.name).stat().st_ino
    size = bad.stat().st_size
    real, real_at = os.read, os.pread

    def read(descriptor: int, count: int) -> bytes:
        if os.fstat(descriptor).st_ino == target and count > 100:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(descriptor, count)

    def pread(descriptor: int, count: int, at: int) -> bytes:
        if os.fstat(descriptor).st_ino == target and at + count > size - 10:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real_at(descriptor, count, at)

    monkeypatch.setattr(os, "read", read)
    monkeypatch.setattr(os, "pread", pread)
    found = taken(stick, tmp_path / "into")
    assert found[good.name].became is Became.LANDED
    assert (found[bad.name].became, set(found[bad.name].missing)) == (Became.KEPT, {3})
    assert found[bad.name].damaged == (bad.name,)


def test_a_medium_that_changes_while_it_is_read_lands_nothing(
    press: Press, stick: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = press.make(chunks=4)
    parts = [part.path for part in split(whole, stick, 3000)]
    real: Callable[..., bool] = thin.Copy.holds

    def holds(copy: thin.Copy, place: int) -> bool:
        is_held = real(copy, place)
        if is_held and place == 3 and copy.path == parts[-1]:
            raw = parts[-1].read_bytes()
            parts[-1].write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
        return is_held

    monkeypatch.setattr(thin.Copy, "holds", holds)
    with pytest.raises(MediumFailed) as failed:
        taken(stick, tmp_path / "into")
    assert "changes while it is read" in failed.value.text()
    assert not landed(tmp_path / "into")
    raw = parts[-1].read_bytes()
    parts[-1].write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))  # as it was
    with pytest.raises(ChunkMismatch):
        thin.join(tmp_path / "joined", parts)
    assert not (tmp_path / "joined").exists()


def test_a_medium_pulled_out_in_the_middle_is_for_later(
    press: Press, stick: Path, tmp_path: Path
) -> None:
    for number in range(4):
        shutil.copy(press.make(number), stick)

    def judge(path: Path) -> None:
        look(path)
        if len(landed(tmp_path / "into")) == 2:
            for one in stick.iterdir():
                one.unlink()
            look(path)

    with pytest.raises(MediumFailed) as failed:
        taken(stick, tmp_path / "into", judge=judge)
    assert failed.value.transient
    assert len(landed(tmp_path / "into")) == 2


def resigned(path: Path, to: Path) -> None:
    """Write a bundle with a stranger's signature in the place of its own."""
    stranger = MemoryKey.generate()
    with thin.opened(path) as copy:
        raw = path.read_bytes()
        manifest = copy.signed[: copy.head.manifest_bytes]
        message = pae(bundle_type(copy.head.kind), manifest)
        row = {"key": stranger.public, "signature": stranger.sign(message)}
        own = canonical.encode([row])
        body = raw[copy.head.table_at :]
        head = copy.head
        made = Header(
            head.format, head.reader_min, head.kind, len(manifest), len(own), head.chunks,
            head.total_bytes - head.signatures_bytes + len(own),
        )  # fmt: skip
    to.write_bytes(pack(made) + manifest + own + body)


def test_a_strangers_signature_keeps_no_good_copy_out(
    press: Press, stick: Path, tmp_path: Path
) -> None:
    path, view = press.make(), press.trust()
    resigned(path, stick / "0-first")
    shutil.copy(path, stick / "1-second")

    def judge(one: Path) -> None:
        open_bundle(one, view, audience=None, kinds=frozenset(Kind)).close()

    with pytest.raises(UnknownKey):
        judge(stick / "0-first")
    found = taken(stick, tmp_path / "into", judge=judge)
    assert found["1-second"].became is Became.LANDED
    assert (tmp_path / "into" / path.name).read_bytes() == path.read_bytes()


def test_torn_files_take_no_room_before_they_are_judged(
    press: Press, stick: Path, tmp_path: Path
) -> None:
    """A file that declares 60 GiB, of which a few bytes are there, is read as far as it goes."""
    raw = press.make(chunks=3).read_bytes()
    for number in range(8):
        (stick / f"{number}.pulk").write_bytes(raw[:-1500])
    judged: list[int] = []

    def judge(path: Path) -> None:
        view = press.trust()
        open_bundle(path, view, audience=None, kinds=frozenset(Kind)).close()
        parts = tmp_path / "into" / "parts"
        judged.append(sum(one.stat().st_size for one in parts.iterdir()))

    (came,) = set(taken(stick, tmp_path / "into", judge=judge, is_strict=True).values())
    assert (came.became, len(came.files), len(came.damaged)) == (Became.KEPT, 8, 8)
    assert judged[0] < 1000  # a head alone
