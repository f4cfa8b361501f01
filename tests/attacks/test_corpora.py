"""Inputs that others found hostile, fed to everything that reads: ../shared/data/hostile.

Archives (zip, tar, gzip) are no format of ours: nothing here unpacks any. Their files, escaping
ones and fuzzed ones, are fed to every reader as bytes that claim to be a bundle, a key, a record.
The archives' names are fed in as names. Wycheproof is in test_signatures.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import msgpack
import pytest

from bundle import canonical
from bundle.errors import PulkError
from bundle.limits import MANIFEST_LIMITS
from bundle.trust import certificate
from bundle.trust.errors import CertificateRefused
from bundle.wire.manifest import Kind
from bundle.wire.read import open_bundle
from central.document import read as documents
from relay import quarantine
from relay.accept import accept_all
from relay.tick import tick
from tests.attacks import bombs
from tests.attacks.second_records import RefusedError
from tests.attacks.second_records import canonical as second
from tests.attacks.vector_parts import Body, draft, make
from tests.central.conftest import Central, chain
from tests.conftest import SHARED_DATA
from tests.relay.world import make_world

pytestmark = pytest.mark.sweeps

HOSTILE = SHARED_DATA / "hostile"
FILES = ("msgpack", "fuzz_gzip", "fuzz_json", "fuzz_tar", "fuzz_zip", "archives", "json_nst")
READERS = bombs.readers()


@pytest.fixture(scope="module")
def hostile() -> Path:
    if not HOSTILE.is_dir():
        pytest.skip("the hostile corpora (../shared/data/hostile) are not here")
    return HOSTILE


def files(hostile: Path, *folders: str) -> Iterator[tuple[Path, bytes]]:
    for folder in folders:
        for path in sorted((hostile / folder).rglob("*")):
            if path.is_file():
                yield path, path.read_bytes()


def strings(hostile: Path) -> list[str]:
    """Naughty strings, a few hundred; each once."""
    found = list(json.loads((hostile / "strings" / BLNS).read_text()))
    for path in sorted((hostile / "strings").glob("*.txt")):
        found += path.read_text(errors="surrogateescape").splitlines()
    found += [path.name for path, _ in files(hostile, "archives")]
    found += ["../" * 40, "/etc/passwd", "a" * 256, "\x00", "CON", ".", "..", "x\ny", "\u202e"]
    return list(dict.fromkeys(found))


BLNS = "minimaxir__big-list-of-naughty-strings--blns.json"


@pytest.mark.parametrize("name", sorted(READERS))
def test_no_hostile_file_is_taken_for_anything(hostile: Path, name: str) -> None:
    _, read, _ = READERS[name]
    lenient = {"telemetry", "logs"}  # an empty array is a good log
    count = 0
    for path, raw in files(hostile, *FILES):
        count += 1
        try:
            read(raw)
            assert name in lenient, path
        except PulkError as error:
            assert error.remedy, path
    assert count > 400


def test_msgpack_of_others_is_read_where_it_is_canonical_and_only_there(hostile: Path) -> None:
    suite = json.loads((hostile / "msgpack" / SUITE).read_text())
    forms = [
        bytes.fromhex(form.replace("-", ""))
        for cases in suite.values()
        for case in cases
        for form in case["msgpack"]
    ]
    forms += [raw for _, raw in files(hostile, "msgpack")]
    read = 0
    for raw in forms:
        try:
            value = canonical.decode(raw, MANIFEST_LIMITS)
            assert canonical.encode(value) == raw
            read += 1
        except canonical.NotCanonical:
            with pytest.raises(RefusedError):
                second(raw, (MANIFEST_LIMITS.bytes_max, MANIFEST_LIMITS.elements_max))
        else:
            assert second(raw, (1 << 23, 500_000)) == value
    assert 50 < read < len(forms)
    assert msgpack.version


SUITE = "kawanet__msgpack-test-suite--msgpack-test-suite.json"


def test_json_of_others_is_no_dataset_and_crashes_nothing(hostile: Path, tmp_path: Path) -> None:
    count = 0
    for path, raw in files(hostile, "json_nst", "fuzz_json"):
        copy = tmp_path / "document.json"
        copy.write_bytes(raw)
        with pytest.raises(PulkError) as caught:
            documents.load(copy)
        assert caught.value.text().isprintable(), path
        count += 1
    assert count > 200


def test_strings_are_no_names_of_sites(hostile: Path) -> None:
    for text in strings(hostile):
        try:
            name = certificate.check_site_name(text)
            assert name.isascii()
            assert name.replace("-", "").isalnum()
        except CertificateRefused as error:
            assert error.text().isprintable()


def test_strings_as_names_of_chunks_are_names_and_never_paths(
    hostile: Path, tmp_path: Path
) -> None:
    names = [text for text in strings(hostile) if len(text) <= 255 and _is_text(text)]
    world = make_world(tmp_path)
    bodies = [Body("data", text, b"%d" % n, records=0) for n, text in enumerate(names)]
    made = make(draft(Kind.WORK), *bodies, by=[(world.authority.central, b"")])
    path = tmp_path / "names.pulk"
    path.write_bytes(made.file())
    before = {one for one in tmp_path.rglob("*") if "site" not in one.parts}
    with open_bundle(path, world.trust(), audience=None, kinds=frozenset(Kind)) as bundle:
        assert [entry.name for entry in bundle.manifest.chunks] == names
        bundle.check_all()
    world.deliver(path)
    tick(world.home)
    inside = world.spool.root
    assert {one for one in tmp_path.rglob("*") if inside not in one.parents} >= before
    assert all(one.resolve().is_relative_to(tmp_path) for one in tmp_path.rglob("*"))


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def test_strings_as_names_of_files_in_the_inbox_stop_no_tick(hostile: Path, tmp_path: Path) -> None:
    world = make_world(tmp_path)
    good = world.pack(world.lease(0, [0]))
    count = 0
    names = [text for text in strings(hostile) if text and not set(text) & {"/", "\x00"}]
    names += ["n" * 250, "m" * 249, "\udcff\udcfe", "é" * 125, "x" * 243, "\n"]
    for text in names:
        raw = f"{text}.pulk".encode(errors="surrogateescape")
        if len(raw) <= 255:
            target = bytes(world.spool.folder("in")) + b"/" + raw
            Path(target.decode(errors="surrogateescape")).write_bytes(b"no bundle %d" % count)
            count += 1
    world.deliver(good)
    done = accept_all(world.home)
    assert done.bundles == 1
    assert done.refused == count
    assert len(list(quarantine.every(world.spool))) == count
    assert not list(world.spool.folder("in").iterdir())
    tick(world.home)  # the report that names them can be made
    assert world.out("out")


def test_strings_as_names_in_datasets_come_home_as_they_are(hostile: Path, tmp_path: Path) -> None:
    from dataclasses import replace

    central = Central(tmp_path)
    taken = 0
    for text in strings(hostile)[::12]:
        if not _is_text(text):
            continue
        try:
            dataset = central.submit(replace(chain(jobs=1), name=text, description=text))
            assert central.authority.dataset(dataset)["name"] == text
            taken += 1
        except PulkError as error:
            assert error.text().isprintable()
    assert taken
    central.fsck()
    central.authority.close()
