"""A seeded history: work, backups, disasters, restores from any backup, purges, late bundles."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from central import backup_record as records
from central.errors import UnknownSite
from central.home import Home
from central.rebuild import rebuild
from relay import stream as streams
from tests.restores.world import World

STEPS = 28
ACTIONS = (
    ("tick", 10), ("pilot", 8), ("submit", 2), ("backup", 3), ("disaster", 3), ("crash", 1),
    ("late", 2), ("cut", 1), ("purge", 0.3), ("enrol", 0.5), ("move", 0.7),
)  # fmt: skip


class History(World):
    """One history; `run` plays and checks it. The same seed makes the same choices.

    With one copy, what a lost disk alone held may be lost: then its tasks run again.
    """

    def run(self) -> dict[str, Any]:
        """Play, let everything arrive, check; return what happened how often."""
        self.happened: dict[str, int] = {}
        self.covered: set[tuple[Any, ...]] = set()
        self.gone: set[tuple[Any, ...]] = set()
        for name in ("north", "south"):
            self.add_site(name)
        self.do_submit()
        self.do_backup()
        names, weights = zip(*ACTIONS, strict=True)
        for _ in range(STEPS):
            action = self.random.choices(names, weights)[0]
            getattr(self, f"do_{action}")()
        self.settle()
        found = self.check(gone=self.gone)
        self.compare(found)
        return self.happened

    def note(self, what: str) -> None:
        self.told.append(what)
        word = what.split(maxsplit=1)[0]
        self.happened[word] = self.happened.get(word, 0) + 1

    def do_tick(self) -> None:
        site = self.random.choice(self.alive())
        self.note(f"tick {site.name}")
        self.tick(site)

    def do_pilot(self) -> None:
        site, shards = self.random.choice(self.alive()), self.random.randint(1, 4)
        self.note(f"pilot {site.name} {shards}")
        self.run_pilot(site, shards)

    def do_submit(self) -> None:
        if len(self.documents) < 4:
            self.note("submit")
            self.submit(self.random.randint(1, 25))

    def do_backup(self) -> None:
        self.note("backup")
        seen = set(self.counted())
        self.backup(with_keys=self.random.random() < 0.2)
        self.covered |= seen

    def do_crash(self) -> None:
        self.note("crash")
        self.reopen()

    def do_cut(self) -> None:
        self.cut = self.random.choice([0.0, 0.1, 0.4])

    def do_enrol(self) -> None:
        if len(self.sites) < 4:
            self.note("enrol")
            self.add_site(f"site{len(self.sites)}")

    def do_move(self) -> None:
        """A spool is copied to another host: from now on it numbers another stream."""
        site = self.random.choice(self.alive())
        self.note(f"move {site.name}")
        streams.close(site.home.spool, streams.current(site.home.spool))

    def do_late(self) -> None:
        """A bundle that was carried before arrives once more."""
        carried = sorted(self.carried.iterdir())
        if carried:
            self.note("late")
            copy = self.home.uploads / os.urandom(6).hex()
            shutil.copyfile(self.random.choice(carried), copy)
            self.central.absorb(copy)
            copy.unlink()

    def do_purge(self) -> None:
        """A site's spool is destroyed; what of it was not safe is gone with it."""
        if len(self.alive()) > 1:
            site = self.random.choice(self.alive())
            self.note(f"purge {site.name}")
            site.alive = False
            site.ledger &= self.covered
            shutil.rmtree(site.home.folder)

    def do_disaster(self) -> None:
        """The disk dies, or only the database; restored from any backup, now and then twice."""
        if self.copies == 1:
            self.gone |= set(self.counted())  # safe on a single disk, said plainly
        archive = self.lose_central()
        survived = (archive,) if self.random.random() < 0.2 else ()
        self.restore_any(survived)
        if self.random.random() < 0.25:  # it was the wrong one
            self.gone |= set(self.counted()) if self.copies == 1 else set()
            self.lose_central()
            self.restore_any(survived)

    def restore_any(self, archives: tuple[Path, ...]) -> None:
        backups = records.finished(self.backups)
        newest = self.random.random() < 0.5
        chosen = backups[-1] if newest else self.random.choice(backups)
        self.note(f"restore {backups.index(chosen)} of {len(backups)} with {len(archives)}")
        self.clock.pass_hours(self.random.choice([0.01, 1, 60]))
        self.restore(chosen, archives)

    def settle(self) -> None:
        """Everything arrives; users replay what central forgot and nobody's lease tells of."""
        for site in self.sites.values():
            if not site.alive:
                self.presume(site.name)
        self.quiet()
        for dataset in list(self.documents):
            if all(one["id"] != dataset for one in self.central.datasets()):
                self.note("replay")
                raw = self.documents.pop(dataset)
                made = self.central.submit(raw, idempotency_key=f"again {dataset}", token_id=1)
                self.documents[made.id] = raw
        self.quiet()

    def presume(self, site: Any) -> None:
        try:
            self.central.presume_lost(site)
        except UnknownSite:
            return

    def compare(self, found: dict[str, Any]) -> None:
        """The state is that of a central that never was restored and got the same bundles."""
        bundles = self.gather(self.disk / "gathered")
        home = Home(self.disk / "reference")
        made = rebuild(home, bundles, self.home.trust, shuffle=self.seed, repeat=1)
        assert made["ok"], made["problems"]
        for name in ("state_hash", "attempts", "wall_ms", "done"):
            assert made[name] == found[name], (self.seed, name, self.told)
