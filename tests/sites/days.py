"""Bad days: one central, a site for each kind of day, all of them played at the same time.

Each day is a plan: what is waited for, then what is done. What befalls a spool, whatever the
scheduler, stands here; what befalls batch jobs, beside the tests of each scheduler.
"""

from __future__ import annotations

import contextlib
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import psutil
import pytest

from bundle.dataset import spec
from bundle.errors import PulkError
from bundle.fates import Fate, counts
from central.document import parse
from relay import lock
from relay.home import open_home
from relay.rebuild import rebuild
from relay.status import status
from relay.tick import tick
from tests.sites.field import Center, Outpost, Program, chain
from tests.testbed import memory

JOBS = 6
ROUND_S = 0.4
ALL_S = 480.0  # on a machine that does much else
SPOOL_BYTES = 24 << 20
DISK_FULL = "disk-full"
Plan = Iterator[Callable[[], object]]
CONFIG = """
[central]
url = "{url}"
timeout_s = 10
[pilots]
count = 1
slots = 2
idle_s = 5
emergency = "{emergency}"
{pilots}
[batch]
exclusive = false
cpus = 1
memory_mib = 300
poll_s = 1
canary = false
{batch}
[spool]
free_bytes_min = 0
free_inodes_min = 0
[carry]
resend_after_s = 5
resend_unanswered_after_s = 1
report_after_s = 1
[status]
every_s = 0
[tasks]
path = "/usr/bin:/bin"
"""
# A task waits until what is to befall its pilot has come.
WAITS = "touch $$LEDGER.began; until test -e $$LEDGER.go; do sleep 0.2; done"


@dataclass(slots=True)
class Day:
    """One site, its dataset, and what is going to happen there."""

    name: str
    site: Outpost
    dataset: str
    jobs: int
    plan: Plan = field(default_factory=lambda: iter(()))
    waits: Callable[[], object] | None = None
    seen: list[dict[str, Any]] = field(default_factory=list)  # what `relay status` said
    troubles: list[str] = field(default_factory=list)
    threads: int = 1
    others: list[Day] = field(default_factory=list, repr=False)

    def is_alone(self) -> bool:
        """Return whether all others were played, so that what befalls all of them may come."""
        return self.began() and all(one.is_played for one in self.others)

    def ended(self, ending: str) -> bool:
        """Return whether `relay status` shows a batch job that ended so."""
        return self.look() and any(one["ending"] == ending for one in self.seen[-1]["pilots"])

    def began(self) -> bool:
        return Path(f"{self.site.ledger}.began").exists()

    def look(self) -> bool:
        """Note what `relay status` says; return whether it shows batch jobs."""
        self.seen.append(status(open_home(self.site.folder)))
        return bool(self.seen[-1]["pilots"])

    def shows(self, state: str) -> bool:
        """Return whether `relay status` shows a batch job in a state."""
        return self.look() and any(one["state"] == state for one in self.seen[-1]["pilots"])

    def go(self) -> None:
        """Let tasks end."""
        Path(f"{self.site.ledger}.go").touch()

    def hang(self) -> list[psutil.Process]:
        """Stop its pilots, as in a filesystem that does not answer; return them."""
        found = []
        for one in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if self.is_pilot(one):
                    found.append(one)
                    one.suspend()
        return found

    def is_pilot(self, one: psutil.Process) -> bool:
        words = one.cmdline()
        return "pilot" in words and any(str(self.site.folder) in word for word in words)

    def tick(self) -> None:
        """One tick, or several at once that no lock keeps apart."""
        others = [threading.Thread(target=self._tick) for _ in range(self.threads - 1)]
        for one in others:
            one.start()
        self._tick()
        for one in others:
            one.join()

    def _tick(self) -> None:
        if self.threads > 1:
            (self.site.folder / lock.NAME).unlink(missing_ok=True)
        try:
            tick(open_home(self.site.folder))
        except (PulkError, OSError) as error:  # as `pulk relay run` does: the next one goes on
            assert not isinstance(error, PulkError) or error.transient, error
            self.troubles.append(str(error))

    def follow(self) -> None:
        """Do what is due of the plan."""
        while self.waits is None or self.waits():
            self.waits = next(self.plan, _never)
            if self.waits is _never:
                self.go()
                return

    @property
    def is_played(self) -> bool:
        return self.waits is _never


def _never() -> bool:
    return False


def disk_full(day: Day) -> Plan:
    yield day.began
    filler = day.site.folder / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1 << 16))
    since = time.monotonic()
    day.go()
    yield lambda: time.monotonic() - since > 4
    filler.unlink()


def moved(day: Day) -> Plan:
    """The login node is another one now: nothing is left but the spool."""
    yield day.began
    for name in ("state", "streams", "pilots"):
        shutil.rmtree(day.site.folder / name)
    day.look()
    home = open_home(day.site.folder)
    with lock.held(home):
        rebuild(home)
    yield lambda: day.shows("running")


def two_relays(day: Day) -> Plan:
    day.threads = 3
    yield day.began


Kind = TypeVar("Kind", bound=Day)


@dataclass(frozen=True, slots=True)
class Script(Generic[Kind]):
    """What happens on a day, and what of relay.toml is its own."""

    plan: Callable[[Kind], Plan]
    batch: str = ""
    pilots: str = ""
    jobs: int = JOBS


@dataclass(slots=True)
class Days(Generic[Kind]):
    """All of them, at their end."""

    center: Center
    by_name: dict[str, Kind]

    def attempts(self, name: str) -> list[dict[str, Any]]:
        path = f"/datasets/{self.by_name[name].dataset}/attempts?limit=1000"
        return list(self.center.client.get(path)["attempts"])

    def fates(self, name: str) -> set[str]:
        return {one["fate"] for one in self.attempts(name)}

    def told(self, name: str, fate: str) -> str:
        """What `pulk tell` says of the first attempt that ended so."""
        every = self.attempts(name)
        row = next((one for one in every if one["fate"] == fate), None)
        assert row is not None, [one for one in every if one["fate"] != "success"]
        story = self.center.tell(self.by_name[name].dataset, row["job"], row["step"])["story"]
        assert story[-1]["verdict"] == "done"
        return next(one["text"] for one in story if one.get("attempt") == row["attempt"])

    def told_to_end(self, name: str) -> None:
        """A pilot said itself that it had to go, and its tasks lost no try by that."""
        text = self.told(name, "preempted")
        assert "the pilot was told to end" in text and "it uses up no try" in text

    def cost_no_try(self, name: str) -> None:
        """Whatever befell its tasks, no task lost a try by it."""
        fates = [Fate(one) for one in self.fates(name)]
        assert not [one for one in fates if counts(one)], fates

    def held_with(self, name: str, reason: str) -> None:
        """The status showed a held batch job with its reason, and raised an alarm."""
        shown = [one for one in self.by_name[name].seen if one["pilots"]]
        assert any(reason in (one["pilots"][0]["reason"] or "") for one in shown)
        assert any("is held" in alarm for one in shown for alarm in one["alarms"])

    def unknown_meanwhile(self, name: str) -> None:
        """While nobody answered pilots were unknown, and worked on."""
        assert "unknown" in {p["state"] for one in self.by_name[name].seen for p in one["pilots"]}
        assert self.fates(name) == {"success"}

    def found_again(self, name: str) -> None:
        """The relay that lost its memory found its one pilot, and started none beside it."""
        assert self.fates(name) == {"success"}
        before, *_, after = self.by_name[name].seen
        assert not before["claims"] or before["claims"][0]["shards"]
        assert [one["state"] for one in after["pilots"]] == ["running"]

    def pages_written(self) -> None:
        for day in self.by_name.values():
            text = (day.site.folder / "status" / "index.html").read_text()
            assert f"<h1>Site {day.name}</h1>" in text

    def succeeded_once(self, name: str) -> None:
        """All tasks of a day succeeded once, and for each success a payload was run."""
        succeeded = [one for one in self.attempts(name) if one["fate"] == "success"]
        day = self.by_name[name]
        tasks = Counter((one["step"], one["job"]) for one in succeeded)
        assert len(tasks) == 2 * day.jobs + 1
        assert max(tasks.values()) == 1, "what had finished ran again"
        assert {one["attempt"] for one in succeeded} <= set(day.site.ends()), "nobody ran it"

    def sound(self, copy: Path) -> None:
        """Central's folder is sound, and holds these attempts and no others."""
        shutil.copytree(self.center.folder, copy, ignore=shutil.ignore_patterns("lock", "address"))
        done, attempts = Center(copy, Program()).sound()
        assert done == sum(2 * day.jobs + 1 for day in self.by_name.values())
        assert attempts == sum(len(self.attempts(name)) for name in self.by_name)


@contextlib.contextmanager
def played(
    root: Path,
    environment: Mapping[str, str],
    scripts: Mapping[str, Script[Kind]],
    make: Callable[..., Kind],
    adapter: str,
    small: Path | None = None,
) -> Iterator[Days[Kind]]:
    """Play all days to their end.

    Args:
        root: an empty folder.
        environment: what the scheduler's programs need.
        scripts: what happens, by the days' names.
        make: makes a day of name, site, dataset and jobs.
        adapter: its name in relay.toml.
        small: a small filesystem that nodes see, for the disk that gets full; None: made here.
    """
    center = Center.made(root / "central", Program(), "[planner]\nshard_tasks_max = 6\n")
    with contextlib.ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        for name, value in environment.items():
            if name != "HOME":
                patch.setenv(name, value)
        stack.enter_context(center.serving())
        every: list[Kind] = []
        for name, script in scripts.items():
            folder = root / name
            if name == DISK_FULL:
                folder = small or _small(stack, folder)
            words = {"batch": f'adapter = "{adapter}"\n{script.batch}', "pilots": script.pilots}
            config = CONFIG.format(url=center.url, emergency=root / f"{name}-emergency", **words)
            site = Outpost.near(folder, Program(environment=environment), name, center, config)
            document = chain(name, script.jobs, before=WAITS, sites={"allow": [name]})
            raw = spec.encode(parse(document, None, name))
            dataset = str(center.client.submit(raw, name)["id"])
            day = make(name, site, dataset, script.jobs)
            day.plan = script.plan(day)
            every.append(day)
        for day in every:
            day.others = [one for one in every if one is not day]
        play(center, every)
        yield Days(center, {one.name: one for one in every})


def _small(stack: contextlib.ExitStack, folder: Path) -> Path:
    """Lay a small filesystem there; skips where that can't be done."""
    if not memory.mount(folder, SPOOL_BYTES):
        pytest.skip("a small filesystem can't be mounted here")
    stack.callback(memory.unmount, folder)
    return folder


def play(center: Center, every: list[Kind]) -> None:
    deadline = time.monotonic() + ALL_S
    left = list(every)
    while left:
        for day in left:
            day.tick()
            day.follow()
        left = [one for one in left if not is_over(center, one)]
        told = [(one.name, status(open_home(one.site.folder))["pilots"], one.troubles[-2:])
                for one in left] if time.monotonic() > deadline else []  # fmt: skip
        assert not told, told
        time.sleep(ROUND_S)


def is_over(center: Center, day: Day) -> bool:
    """Return whether all is done, known to be safe, and the plan is at its end."""
    if not day.is_played:
        return False
    held_here = status(open_home(day.site.folder))
    if held_here["work"] or held_here["incoming"]:
        return False
    words: Counter[str] = Counter()
    for step in center.client.counts(day.dataset):
        words.update(step["counts"])
    return words == {"done": 2 * day.jobs + 1}
