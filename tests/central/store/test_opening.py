"""Which database central.toml chooses."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from central import config as configs
from central import doctor
from central.config import Config, ConfigRefused, StoreSection
from central.errors import StoreRefused, WrongSchema
from central.home import Home
from central.store.opening import is_made, open_store
from central.store.postgresql import PostgresqlStore
from central.store.sqlite import SqliteStore
from tests.central.store.conftest import Engine

SECRET = "postgresql://pulk:secret@host/pulk"  # noqa: S105


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def test_the_default_is_a_file_in_centrals_folder(home: Home) -> None:
    assert not is_made(Config(), home)
    store = open_store(Config(), home)
    assert isinstance(store, SqliteStore)
    assert is_made(Config(), home)
    store.close()
    assert home.database.exists()


@pytest.mark.programs
def test_a_url_or_a_file_with_one_chooses_postgresql(home: Home, postgresql_engine: Engine) -> None:
    (home.root / "url").write_text(f"{postgresql_engine.place}\n")
    (home.root / "url").chmod(0o600)
    for section in (StoreSection(url=postgresql_engine.place), StoreSection(url_file="url")):
        config = Config(store=section)
        assert is_made(config, home)
        store = open_store(config, home)
        assert isinstance(store, PostgresqlStore)
        with store.transaction():
            store.bundles.tally("opened")
        store.close()
    reader = open_store(config, home, read_only=True)
    assert reader.bundles.tallies() == {"opened": 2}
    reader.close()
    assert not home.database.exists()


def test_a_password_in_the_configuration_is_refused_and_not_repeated(home: Home) -> None:
    config = Config(store=StoreSection(url=SECRET))
    with pytest.raises(StoreRefused) as caught:
        open_store(config, home)
    assert "secret" not in f"{caught.value} {caught.value.text()}"
    assert doctor._database(config, home).found == "postgresql://host/pulk"


@pytest.mark.parametrize("text", ["", "host=x", "mysql://host/pulk", SECRET[13:]])
def test_a_file_without_such_a_url_is_refused_and_not_repeated(home: Home, text: str) -> None:
    (home.root / "url").write_text(text)
    (home.root / "url").chmod(0o600)
    with pytest.raises(StoreRefused) as caught:
        open_store(Config(store=StoreSection(url_file="url")), home)
    assert "secret" not in f"{caught.value} {caught.value.text()}"


def test_two_choices_are_refused(home: Home) -> None:
    with pytest.raises(StoreRefused):
        open_store(Config(store=StoreSection(url="postgresql://h/d", url_file="url")), home)


def test_without_psycopg_it_says_what_to_install(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in list(sys.modules):
        if name.startswith(("psycopg", "central.store.postgresql")):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(StoreRefused, match=r"pulk\[postgresql\]"):
        open_store(Config(store=StoreSection(url="postgresql://h/d")), home)


def test_the_configuration_says_what_is_no_url(tmp_path: Path) -> None:
    path = tmp_path / "central.toml"
    path.write_text('[store]\nurl = "mysql://u:secret@h/d"\n')
    with pytest.raises(ConfigRefused) as caught:
        configs.load(path, {})
    assert caught.value.fields["key"] == "store.url"
    assert "secret" not in f"{caught.value} {caught.value.text()}"
    chosen = configs.load(path, {"PULK_STORE_URL": "postgresql://h/d"})
    assert chosen.store.url == "postgresql://h/d"


def test_a_read_only_look_makes_nothing(home: Home) -> None:
    SqliteStore(home.database).close()
    home.database.unlink()
    home.database.touch()
    with pytest.raises(WrongSchema):
        open_store(Config(), replace(home), read_only=True)
