"""The status page: what it says, that names are text on it, and that writing it harms nothing."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from relay.core import overdue
from relay.core.overdue import DAY_S, Batch, Signs, alarms
from relay.core.page import page
from relay.home import open_home
from relay.status import status
from relay.tick import tick
from tests.relay.world import World

HOSTILE = [
    "<script>document.title='owned'</script>",
    '"><img src=x onerror="document.title=\'owned\'">',
    "</td></table><svg onload=document.title='owned'>",
    "&lt;b&gt; \x1b[2J \u202e right to left",
    "javascript:alert(1)",
    "{{7*7}}${7*7}%s%n",
]


class Tags(HTMLParser):
    """Which tags and attributes a text really has."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes.update(name for name, _ in attrs)


def hostile(world: World) -> dict[str, Any]:
    """A status all of whose texts are hostile."""

    def spoilt(value: Any, at: int = 0) -> Any:
        if isinstance(value, str):
            return HOSTILE[at % len(HOSTILE)]
        if isinstance(value, dict):
            return {k: spoilt(v, at + n) for n, (k, v) in enumerate(value.items())}
        if isinstance(value, list):
            return [spoilt(one, at + n) for n, one in enumerate(value)]
        return value

    about = status(world.home)
    pilot = {"batch_id": "b", "state": "held", "age_s": 1, "job": "j", "ending": "e", "reason": "r"}
    over = pilot | {"state": "absent"}
    claim = {"pilot_run": "p", "batch_id": "b", "state": "s", "host": "h", "age_s": 1, "shards": []}
    file = {"file": "f", "code": "c", "reason": "r"}
    many = {"pilots": [pilot] * 6, "claims": [claim] * 6, "quarantine": [file] * 6}
    spoiled = dict(spoilt(about | many | {"alarms": HOSTILE}))
    spoiled["pilots"] += [over | {"reason": text, "job": text} for text in HOSTILE]
    return spoiled


def test_a_tick_writes_page_and_json_whole(world: World) -> None:
    world.deliver(world.pack(world.lease(0, [0, 1])))
    tick(world.home)
    folder = world.home.folder / "status"
    about = json.loads((folder / "status.json").read_bytes())
    assert about["work"][0]["open_tasks"] == 2
    text = (folder / "index.html").read_text()
    assert text.startswith("<!doctype html>") and text.endswith("</html>\n")
    assert f"<h1>Site {about['site']}</h1>" in text and about["work"][0]["id"][:12] in text
    assert sorted(one.name for one in folder.iterdir()) == ["index.html", "status.json"]
    assert (folder / "index.html").stat().st_mode & 0o777 == 0o600


def configured(world: World, text: str) -> None:
    path = world.home.folder / "relay.toml"
    path.write_text(path.read_text() + text)
    world.home = open_home(world.home.folder)


def test_a_public_page_can_be_read_by_others_and_nothing_else_can(world: World) -> None:
    configured(world, "[status]\npublic = true\n")
    tick(world.home)
    folder = world.home.folder / "status"
    assert folder.stat().st_mode & 0o777 == 0o755
    assert (folder / "status.json").stat().st_mode & 0o777 == 0o644
    assert world.home.folder.stat().st_mode & 0o077 == 0


def test_a_fresh_page_is_left_alone_and_none_is_written_where_none_is_wanted(
    world: World,
) -> None:
    tick(world.home)
    path = world.home.folder / "status" / "status.json"
    first = path.stat().st_ino
    tick(world.home)
    assert path.stat().st_ino == first
    os.utime(path, (0, time.time() - 61))
    tick(world.home)
    assert path.stat().st_ino != first
    configured(world, '[status]\nfolder = ""\n')
    path.unlink()
    tick(world.home)
    assert not path.exists()


def test_a_page_that_cannot_be_written_stops_no_tick(world: World) -> None:
    configured(world, '[status]\nfolder = "taken"\n')
    (world.home.folder / "taken").write_text("a file")
    world.deliver(world.pack(world.lease(0, [0])))
    assert tick(world.home).offered == 1


def test_whatever_names_say_is_text_on_the_page(world: World) -> None:
    text = page(hostile(world))
    tags = Tags()
    tags.feed(text)
    assert tags.tags <= {
        "html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "strong", "small",
        "div", "table", "tr", "th", "td",
    }  # fmt: skip
    assert tags.attributes <= {"lang", "charset", "http-equiv", "content", "name", "class"}


def test_a_table_has_an_end(world: World) -> None:
    about = status(world.home)
    pilot = {"batch_id": "b", "state": "held", "age_s": 1, "job": "j", "ending": "", "reason": "r"}
    text = page(about | {"pilots": [pilot] * 10_000})
    assert len(text) < 100_000 and "and 9800 more" in text


@pytest.mark.parametrize(
    ("signs", "words"),
    [
        ({"silence": "no news from central for 9 days"}, "no news"),
        ({"forked": True}, "contradicts"),
        ({"batch": [Batch("12_0", "held", "JobHeldUser", 5)]}, "12_0 is held (JobHeldUser)"),
        ({"batch": [Batch("12_0", "waiting", "Priority", 3 * DAY_S)]}, "12_0 for 3 days"),
        ({"batch": [Batch("12_0", "unknown", "", 5)]}, "nothing is known"),
        ({"unanswered_s": 4 * DAY_S}, "4 days ago"),
        ({"late_tasks": 7}, "7 tasks were not started in time"),
        ({"free_bytes": 5, "free_bytes_min": 9}, "5 bytes free"),
        ({"free_inodes": 5, "free_inodes_min": 9}, "5 inodes free"),
        ({"purge": "the site's purge comes soon"}, "comes soon: carry them home"),
        ({"trouble": "central not reached for 2 hours"}, "not reached for 2 hours"),
        ({"quarantined": 2}, "2 files were refused"),
        ({"ticked_s": 7200}, "last tick was 2 hours ago"),
    ],
)
def test_what_needs_a_person_is_said(signs: dict[str, Any], words: str) -> None:
    assert alarms(Signs()) == []
    (said,) = alarms(replace(Signs(), **signs))
    assert words in said


def test_many_held_batch_jobs_are_a_few_lines() -> None:
    jobs = [Batch(f"1_{n}", "held", "", 1) for n in range(1000)]
    assert len(alarms(Signs(batch=jobs))) == overdue.HELD_SHOWN + 1


@pytest.mark.programs
def test_a_browser_shows_the_page_and_runs_nothing_of_it(world: World, tmp_path: Path) -> None:
    from tests.testbed import browser

    path = tmp_path / "index.html"
    path.write_text(page(hostile(world)))
    with browser.opened() as opened:
        for width in (360, 1280):
            seen = opened(path, width)
            assert seen.requests == [f"file://{path}"]
            assert seen.title != "owned" and not seen.dialogs
            assert seen.scroll_width <= width, "a phone has to scroll sideways"
            assert all(text.split("\x1b")[0].strip() in seen.text for text in HOSTILE[:3])
