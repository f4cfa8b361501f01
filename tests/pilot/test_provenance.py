"""Every attempt says with what it ran: words that name digests, the site's and its own."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundle import shape
from bundle.records import host as hosts
from bundle.records.host import Host, HostGpu
from pilot.config import ConfigRefused, load
from pilot.core.provenance import Provenance, environment_word, is_word, modules
from pilot.core.request import Site

MINIMAL = Host("node", "6.1", "cpu", 2, 4096, "boot", "3.11", "0", "namespace")
IMAGE = "sha256:" + "ab" * 32
texts = st.text(max_size=8)
counts = st.integers(0, 2**40)


def test_an_attempt_that_says_nothing_has_the_words_of_its_site() -> None:
    site = Site(software=("geant4==11.2",))
    assert Provenance(site.words()).words("") == f"{site.words()[0]} geant4==11.2"


def test_the_environment_has_one_word_whatever_its_order_and_another_for_each_change() -> None:
    one = environment_word({"A": "1", "B": "2"})
    assert one == environment_word({"B": "2", "A": "1"}) and is_word(one)
    assert len({one, environment_word({"A": "1"}), environment_word({"A": "1", "B": "3"})}) == 3
    assert environment_word({"A": "1B=2"}) != environment_word({"A": "1", "B": "2"})


def test_a_payload_cannot_name_another_environment_or_container() -> None:
    made = Provenance(("env==sha256:1",)).words("env==sha256:2 container==x pip==y numpy==2.4")
    assert made == "env==sha256:1 numpy==2.4"


def test_the_image_that_a_task_ran_in_is_named_by_digest() -> None:
    assert Provenance(()).words("", IMAGE) == f"container=={IMAGE}"
    assert Provenance(()).words("b==1 a==2", IMAGE) == f"a==2 b==1 container=={IMAGE}"


@given(st.lists(st.text(max_size=20), max_size=5), st.text(max_size=40), st.text(max_size=20))
def test_words_are_sorted_each_once_whatever_is_said(
    site: list[str], said: str, image: str
) -> None:
    words = Provenance(site).words(said, image).split(" ")
    assert words == sorted(set(words))


def test_many_different_sayings_do_not_fill_the_memory() -> None:
    provenance = Provenance(("env==sha256:1",))
    for number in range(5000):
        assert f"n=={number}" in provenance.words(f"n=={number}")
    assert len(provenance._known) <= provenance._REMEMBERED_MAX


def test_what_is_loaded_for_tasks_goes_before_what_the_pilot_has() -> None:
    ours = {"LOADEDMODULES": "gcc/12.2:cuda/12.4:gcc/12.2"}
    assert modules({}, ours) == ("cuda/12.4", "gcc/12.2")
    assert modules({"LOADEDMODULES": "x/1"}, ours) == ("x/1",)
    assert modules({}, {}) == ()


def test_a_site_declares_words_and_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOADEDMODULES", "gcc/12.2")
    (tmp_path / "freeze.txt").write_text("numpy==2.4.1\n")
    path = tmp_path / "relay.toml"
    path.write_text(
        '[tasks]\nsoftware = ["geant4==11.2"]\n[tasks.software_files]\npip = "freeze.txt"\n'
    )
    names = dict(word.split("==", 1) for word in load(path).software)
    assert names["geant4"] == "11.2" and set(names) == {"geant4", "pip", "modules"}
    assert names["pip"] == f"sha256:{hashlib.sha256(b'numpy==2.4.1' + bytes([10])).hexdigest()}"


@pytest.mark.parametrize(
    "text",
    [
        "software = 'geant4==1'",
        "software = ['geant4']",
        "software = ['a b==1']",
        "software_files = { pip = 'none.txt' }",
        "software_files = { apt = 'relay.toml' }",
        "software_files = 3",
    ],
)
def test_a_declaration_that_cannot_be_kept_is_refused_by_its_place(
    tmp_path: Path, text: str
) -> None:
    path = tmp_path / "relay.toml"
    path.write_text(f"[tasks]\n{text}\n")
    with pytest.raises(ConfigRefused, match="software"):
        load(path)


hosts_made = st.builds(
    Host,
    *[texts, texts, texts, counts, counts, texts, texts, texts, texts],
    swap_mib=counts,
    numa_nodes=counts,
    gpus=st.lists(st.builds(HostGpu, texts, texts, counts, texts), max_size=3).map(tuple),
    scratch=texts,
    scheduler=texts,
    batch_id=texts,
    restarts=counts,
    modules=st.lists(texts, max_size=3).map(tuple),
)


@given(hosts_made)
def test_a_host_comes_back_from_the_wire(host: Host) -> None:
    assert hosts.from_wire(shape.Reader(hosts.to_wire(host), "host")) == host


def test_a_host_of_which_little_is_known_takes_no_more_bytes_than_before() -> None:
    assert set(hosts.to_wire(MINIMAL)) == set(Host.__slots__[:9])


def test_what_a_later_version_says_of_a_host_is_passed_over() -> None:
    told = hosts.to_wire(MINIMAL) | {"fpgas": 3, "swap_mib": None}
    assert hosts.from_wire(shape.Reader(told, "host")) == MINIMAL
