"""A real central that is made once, and copied for every kill."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bundle.dataset import spec
from bundle.dataset.spec import Dataset
from bundle.ids import DatasetId
from central import config as configs
from central import home as homes
from central.authority import Authority
from central.fsck import fsck
from central.home import Home, clear_uploads, upload_place
from central.store.postgresql import PostgresqlStore
from central.store.postgresql.address import Address
from tests.central.conftest import Clock
from tests.central.scripted_site import ScriptedSite
from tests.testbed.postgresql import Server


class Place:
    """Where centrals of one engine are made. `server`: None is SQLite."""

    def __init__(self, folder: Path, server: Server | None) -> None:
        self.folder, self.server = folder, server
        self._empty = ""

    def plant(self) -> Plant:
        """A new central."""
        plant = self._new(0)
        homes.create(plant.home)
        if self.server is not None:
            if not self._empty:
                self._empty = f"pulk_empty_{secrets.token_hex(4)}"
                PostgresqlStore(Address(self.server.create(self._empty))).close()
            self._point(plant, self.server.create(plant.name, self._empty))
        plant.open()
        return plant

    def copy(self, plant: Plant) -> Plant:
        """Another central, closed, that is what this one, closed, is."""
        other = self._new(plant.clock.now_us)
        shutil.copytree(plant.home.root, other.home.root)
        if self.server is not None:
            self._point(other, self.server.create(other.name, plant.name))
        return other

    def drop(self, plant: Plant) -> None:
        """Remove a central, closed or killed."""
        shutil.rmtree(plant.home.root.parent)
        if self.server is not None:
            self.server.drop(plant.name)

    def _new(self, now_us: int) -> Plant:
        name = f"pulk_{secrets.token_hex(6)}"
        (self.folder / name).mkdir()
        plant = Plant(self, name, Home(self.folder / name / "central"), Clock())
        plant.clock.now_us = now_us or plant.clock.now_us
        return plant

    def _point(self, plant: Plant, url: str) -> None:
        plant.home.config.write_text(f'[store]\nurl = "{url}"\n')


@dataclass(slots=True)
class Plant:
    """One central in a folder of its own."""

    place: Place
    name: str
    home: Home
    clock: Clock
    opened: Authority | None = None

    @property
    def authority(self) -> Authority:
        """The authority, which is open."""
        assert self.opened is not None
        return self.opened

    def open(self) -> None:
        """Start, as after a crash: what a server removes at its start is removed."""
        clear_uploads(self.home)
        config = configs.load(self.home.config)
        self.opened = Authority.open(self.home, config, clock_us=self.clock)

    def close(self) -> None:
        """End in good order."""
        self.authority.close()
        self.opened = None

    def forget(self, act: Callable[[], object]) -> None:
        """Act, then lose what the database kept of it but not the archive, and stay closed."""
        self.close()
        saved = self.home.root.parent / "saved.sqlite"
        if self.place.server is None:
            shutil.copy(self.home.database, saved)
        else:
            self.place.server.create(f"{self.name}_saved", self.name)
        self.open()
        act()
        self.close()
        if self.place.server is None:
            shutil.move(saved, self.home.database)
        else:
            self.place.server.drop(self.name)
            self.place.server.create(self.name, f"{self.name}_saved")
            self.place.server.drop(f"{self.name}_saved")

    def site(self, name: str) -> ScriptedSite:
        """A site that is enrolled now."""
        return ScriptedSite(name, self.home.root.parent / name, self.authority)

    def submit(self, dataset: Dataset, key: str = "first") -> DatasetId:
        """Submit a dataset; the same key gives the same."""
        return self.authority.submit(spec.encode(dataset), idempotency_key=key, token_id=1).id

    def bring(self, bundle: Path) -> str:
        """Bring a bundle as a request does; return what became of it."""
        received = upload_place(self.home)
        shutil.copyfile(bundle, received)
        try:
            return str(self.authority.absorb(received).outcome)
        finally:
            received.unlink(missing_ok=True)

    def counts(self) -> list[list[dict[str, int]]]:
        """For each dataset, by number, what its steps' tasks are."""
        found = self.authority.datasets()
        ids = [DatasetId(str(one["id"])) for one in found]
        return [[dict(s["counts"]) for s in self.authority.counts(one)["steps"]] for one in ids]

    def examine(self) -> dict[str, Any]:
        """What fsck says of it, closed."""
        found = fsck(self.home)
        assert found["ok"], found["problems"]
        return found
