"""A whole central over PostgreSQL, and what is left of a commit whose end nobody knows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bundle.dataset import spec
from central.authority import Authority
from central.config import Config, StoreSection
from central.errors import DatabaseTrouble
from central.store.postgresql import PostgresqlStore
from tests.central.conftest import Central, chain
from tests.central.store.conftest import Engine
from tests.central.store.cutting import Door

pytestmark = pytest.mark.programs
RAW = spec.encode(chain(jobs=2))


@pytest.fixture
def central(
    tmp_path: Path, postgresql_engine: Engine, door: Door, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Central]:
    """One whose way to its server leads through a door."""
    database = postgresql_engine.place.partition("/pulk_")[2].partition("?")[0]
    url = f"postgresql://pulk@/pulk_{database}?host={door.folder}"
    monkeypatch.setenv("PULK_STORE_URL", url)  # for those who read the configuration
    made = Central(tmp_path)
    made.authority.close()
    made.config = Config(store=StoreSection(url=url))
    made.authority = Authority.open(made.home, made.config, clock_us=made.clock)
    made.home.database.unlink()  # of the first one, which was to be SQLite
    yield made
    made.authority.close()


def submit(central: Central) -> object:
    return central.authority.submit(RAW, idempotency_key="once", token_id=1)


def test_central_over_postgresql_takes_work_from_submission_to_merge(central: Central) -> None:
    assert isinstance(central.authority._w.store, PostgresqlStore)
    site = central.site()
    dataset = central.submit(chain(jobs=20))
    site.work_all(central.authority)
    assert central.counts(dataset) == [{"done": 20}, {"done": 20}, {"done": 1}]
    found = central.fsck()
    central.reopen()
    assert central.counts(dataset) == [{"done": 20}, {"done": 20}, {"done": 1}]
    assert central.fsck() == found
    assert not central.home.database.exists()


@pytest.mark.parametrize("cut", ["before", "after"])
def test_a_submission_whose_commit_has_an_unknown_end_is_one_dataset(
    central: Central, door: Door, cut: str
) -> None:
    """The server was, or was not, told to commit; then nobody reaches it for a while."""
    submit_other = central.submit(chain(jobs=3))
    door.cut, door.shuts = cut, True
    with pytest.raises(DatabaseTrouble):
        submit(central)
    with pytest.raises(DatabaseTrouble):
        submit(central)
    door.is_shut = door.shuts = False
    made = submit(central)
    assert submit(central) == made
    assert len(central.authority.datasets()) == 2
    archived = set(central.authority._w.archive.ids())
    assert archived == central.authority._w.store.bundles.merged_ids()
    assert len(archived) == 2
    central.fsck()
    central.reopen()
    assert len(central.authority.datasets()) == 2
    assert central.counts(submit_other)[0] == {"ready": 3}
