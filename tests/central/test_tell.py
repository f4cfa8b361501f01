"""`pulk tell`: the story of a task, from real facts in a real store."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from bundle.dataset.spec import Command, Dataset, Output, Step
from bundle.fates import Fate
from bundle.ids import DatasetId, Task
from bundle.records.rules import RetryRules
from central import stick, tell
from central.cli.tell import words
from central.core.facts import ControlWord
from central.errors import UnknownTask
from tests.central.conftest import Central, chain
from tests.central.scripted_site import Held, ScriptedSite
from tests.central.test_retry import bring, one_step, then
from tests.central.test_why import control, end, one, with_leases
from tests.central.test_why import tell as report


def story(central: Central, dataset: DatasetId, job: int = 0, step: int = 0) -> list[Any]:
    return list(tell.tell(central.authority._w, Task(dataset, job, step))["story"])


def kinds(found: list[Any]) -> list[str]:
    return [one["what"] for one in found]


def fetched(central: Central, site: ScriptedSite) -> Held:
    report(central, site)
    return with_leases(site.fetch(central.authority))


def test_a_task_that_nothing_happened_to_was_submitted_and_is_ready(central: Central) -> None:
    dataset = central.submit(one())
    found = story(central, dataset)
    assert kinds(found) == ["submitted", "verdict"]
    assert found[-1]["verdict"] == "ready"
    assert found[0]["at"].startswith("2023-11-14T")


def test_a_success_is_told_from_lease_to_receipt_with_the_keys_that_signed(
    central: Central,
) -> None:
    dataset, site = central.submit(one()), central.site()
    held = fetched(central, site)
    leased = story(central, dataset)
    assert kinds(leased) == ["submitted", "leased", "verdict"]
    assert "not known to have it" in leased[1]["text"]
    end(central, site, held)
    found = story(central, dataset)
    assert kinds(found) == ["submitted", "leased", "attempt", "result", "verdict"]
    _, lease, attempt, result, verdict = found
    assert lease["fetched"] and lease["state"] == "complete"
    assert (lease["key"], result["key"]) == (
        central.authority._w.signing().public.hex(),
        site.key.public.hex(),
    )
    assert attempt["fate"] == "success" and "it counts" in attempt["text"]
    assert attempt["lease"] == lease["lease"] and attempt["clock"] == "node node1"
    assert result["safe"] and result["site"] == "north"
    assert verdict["outcome"] == attempt["outcome"]


def test_failures_are_told_with_what_was_decided_after_each(central: Central) -> None:
    dataset, site = central.submit(one_step(retry=RetryRules(backoff_ms=0))), central.site()
    for fate in (Fate.OOM, Fate.PAYLOAD_ERROR):
        bring(central, site, fetched(central, site), then(fate, Fate.PREEMPTED))
    end(central, site, fetched(central, site))
    found = story(central, dataset)
    decided = [one for one in found if one["what"] == "decision"]
    assert [one["failures"] for one in decided] == [1, 2]
    assert "MiB instead of" in decided[0]["text"]
    assert kinds(found).index("decision") > kinds(found).index("result")
    assert [one["fate"] for one in found if one["what"] == "attempt"] == [
        "oom", "preempted", "payload-error", "preempted", "success",
    ]  # fmt: skip
    assert found[-1]["text"] == "it is done; 5 attempts, 1 successful"


def test_a_task_that_failed_for_good_says_why(central: Central) -> None:
    dataset, site = central.submit(one(failures_max=1)), central.site()
    end(central, site, fetched(central, site), fate=lambda *_: Fate.PAYLOAD_ERROR)
    decided = [one for one in story(central, dataset) if one["what"] == "decision"]
    assert decided[0]["exhausted"] == "failures" and "not tried again" in decided[0]["text"]


def test_a_reset_stands_between_the_generations_and_the_older_result_does_not_count(
    central: Central,
) -> None:
    dataset, site = central.submit(one()), central.site()
    end(central, site, fetched(central, site))
    control(central, dataset, ControlWord.RESET)
    end(central, site, fetched(central, site))
    found = story(central, dataset)
    words_ = kinds(found)
    assert [one for one in words_ if one in ("attempt", "control")] == [
        "attempt", "control", "attempt",
    ]  # fmt: skip
    first, second = (one for one in found if one["what"] == "attempt")
    assert "a generation that does not count" in first["text"] and "it counts" in second["text"]


def test_a_second_success_is_told_to_be_a_spare(central: Central) -> None:
    dataset, site = central.submit(one()), central.site()
    held = fetched(central, site)
    central.clock.pass_hours(24 * 365)
    report(central, other := central.site("south"))
    again = with_leases(other.fetch(central.authority))
    end(central, site, held)
    end(central, other, again, salt="other")
    found = story(central, dataset)
    texts = [one["text"] for one in found if one["what"] == "attempt"]
    assert sum("it counts" in text for text in texts) == 1
    assert sum("a spare: another success counts" in text for text in texts) == 1
    assert [one["state"] for one in found if one["what"] == "leased"].count("expired") <= 1


def test_a_lease_that_was_given_up_and_answered_late_is_told_too(central: Central) -> None:
    dataset, site = central.submit(one()), central.site()
    held = fetched(central, site)
    central.authority.presume_lost(site.name)
    played = [site.play(held, lease, complete=False) for lease in held.leases]
    assert central.authority.absorb(site.result(played)).outcome == "merged"
    found = [one for one in story(central, dataset) if one["what"] == "leased"]
    assert [one["state"] for one in found] == ["gone"]
    assert "the site holds it no more" in found[0]["text"]


def test_a_lease_that_nobody_ever_answered_is_told_too(central: Central) -> None:
    dataset, site = central.submit(one()), central.site()
    fetched(central, site)
    central.authority.presume_lost(site.name)
    (found,) = [one for one in story(central, dataset) if one["what"] == "leased"]
    assert (found["site"], found["state"]) == (site.name, "gone")
    assert "the site holds it no more" in found["text"]


def test_who_carried_a_result_is_told_before_it_and_nobody_has_to_believe_it(
    central: Central, tmp_path: Path
) -> None:
    dataset, site = central.submit(one()), central.site()
    held = fetched(central, site)
    played = [site.play(held, lease, complete=True) for lease in held.leases]
    result = site.result(played)
    medium = tmp_path / "stick"
    medium.mkdir()
    shutil.copy(result, medium / "a.pulk")
    said = [{"hop": "stick", "host": "vm\x1b[2J", "from": "/a", "took_us": 10**15}, {"hop": 7}, []]
    sidecar = medium / "a.custody"
    sidecar.write_text("\n".join([*map(json.dumps, said), "no JSON"]))
    home = central.authority._w.home
    for _ in range(2):  # the stick comes twice
        (came,) = stick.absorb_all(central.authority, home, medium)
        assert came.outcome == "merged"
    found = story(central, dataset)
    assert kinds(found) == [
        "submitted",
        "leased",
        "attempt",
        "carried",
        "carried",
        "result",
        "verdict",
    ]
    first, second = (one for one in found if one["what"] == "carried")
    assert (first["clock"], first["at_us"], second["at_us"]) == ("hop stick", 10**15, 0)
    assert "stick on vm?[2J says it took result bundle" in first["text"]
    assert "from /a" in first["text"] and second["hop"] == "7"
    shutil.rmtree(home.sidecars)
    assert "carried" not in kinds(story(central, dataset))


def test_a_success_that_children_build_upon_is_told_to_be_pinned(central: Central) -> None:
    dataset, site = central.submit(chain(2)), central.site()
    report(central, site, wanted=2)
    end(central, site, with_leases(site.fetch(central.authority)))
    end(central, site, fetched(central, site))
    assert kinds(story(central, dataset))[-1] == "verdict"
    assert story(central, dataset, 0, 2)[-1]["verdict"] in ("done", "ready", "leased")


def test_a_story_is_the_same_after_a_new_start(
    central: Central,
) -> None:
    dataset, site = central.submit(one()), central.site()
    end(central, site, fetched(central, site))
    before = story(central, dataset)
    central.reopen()
    assert story(central, dataset) == before


def test_a_task_that_is_none_has_no_story(central: Central) -> None:
    dataset = central.submit(one(4))
    with pytest.raises(UnknownTask):
        story(central, dataset, job=4)


def test_the_words_are_one_line_for_each_event(central: Central) -> None:
    dataset, site = central.submit(one()), central.site()
    end(central, site, fetched(central, site))
    answer = tell.tell(central.authority._w, Task(dataset, 0, 0))
    lines = words(answer).splitlines()
    assert len(lines) == 1 + len(answer["story"])
    assert lines[0].endswith("(make) is done")
    assert "leased to north" in lines[2]


def test_a_name_with_control_characters_cannot_leave_its_line(central: Central) -> None:
    step = Step("make", Command(("/bin/true",)), outputs=(Output("made"),))
    dataset = central.submit(Dataset("x\x1b[2J\n", 1, 1, (step,)))
    assert kinds(story(central, dataset)) == ["submitted", "verdict"]
