"""What a look at a pool means for pilots, whatever it shows and in whatever order."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from site_adapters.contract import Ending, PilotRequest, PilotState
from site_adapters.htcondor import codes, judge
from site_adapters.htcondor.description import Batch, Places, describe, script
from site_adapters.htcondor.jobs import Job
from site_adapters.htcondor.judge import Judged, Look
from site_adapters.htcondor.records import Submission, batch_id, parse_batch_id

ONE = Submission("one", 1, 1_000_000, cluster=7)
AGAIN = replace(ONE, requeue=True)
NOW_S = 2_000_000_000


def look(*queue: Job, past: tuple[Job, ...] = (), at_s: int = NOW_S) -> Look:
    return Look(at_s * 1_000_000, judge.by_id(queue), judge.by_id(past))


def job(status: int | None, **about: object) -> Job:
    return Job(7, 0, status, **about)  # type: ignore[arg-type]


def states(found: Judged) -> dict[int, tuple[PilotState, Ending | None]]:
    return {int(v.batch_id.rpartition(":")[2]): (v.state, v.ending) for v in found.views}


@pytest.mark.parametrize(
    ("seen", "state", "ending"),
    [
        (job(codes.IDLE), PilotState.WAITING, None),
        (job(codes.UNEXPANDED), PilotState.WAITING, None),
        (job(codes.RUNNING, starts=1, is_placed=True), PilotState.RUNNING, None),
        (job(codes.SUSPENDED, starts=1, is_placed=True), PilotState.RUNNING, None),
        (job(codes.SENDING, starts=1), PilotState.RUNNING, None),
        (job(codes.REMOVED, starts=1, is_placed=True), PilotState.RUNNING, None),
        (job(codes.HELD, starts=1, is_placed=True, hold_code=1), PilotState.RUNNING, None),
        (job(codes.REMOVED), PilotState.ABSENT, Ending.CANCELLED),
        (job(codes.REMOVED, starts=1, exit_code=0), PilotState.ABSENT, Ending.CANCELLED),
        (job(codes.REMOVED, exit_code=0, completed_s=9), PilotState.ABSENT, Ending.COMPLETED),
        (job(codes.REMOVED, exit_code=3, completed_s=9), PilotState.ABSENT, Ending.FAILED),
        (job(codes.COMPLETED, exit_code=0), PilotState.ABSENT, Ending.COMPLETED),
        (job(codes.COMPLETED, exit_signal=9), PilotState.ABSENT, Ending.FAILED),
        (job(codes.HELD, hold_code=15), PilotState.HELD, None),
        (job(codes.HELD, hold_code=16, entered_s=NOW_S - 5), PilotState.WAITING, None),
        (job(codes.HELD, hold_code=16, entered_s=5), PilotState.ABSENT, Ending.NEVER_BEGAN),
        (job(codes.HELD, starts=1, hold_code=47), PilotState.ABSENT, Ending.TIME_LIMIT),
        (job(codes.HELD, starts=1, hold_code=34), PilotState.ABSENT, Ending.OUT_OF_MEMORY),
        (job(codes.IDLE, starts=1), PilotState.ABSENT, Ending.PREEMPTED),
        (job(codes.IDLE, starts=1, disconnected_s=9), PilotState.ABSENT, Ending.NODE_FAILURE),
        (job(None, word="12"), PilotState.UNKNOWN, None),
    ],
)
def test_a_job_in_the_queue_says_how_its_pilot_is(
    seen: Job, state: PilotState, ending: Ending | None
) -> None:
    assert states(judge.judge(ONE, look(seen))) == {0: (state, ending)}


def test_what_a_state_never_seen_was_called_is_told() -> None:
    (view,) = judge.judge(ONE, look(job(None, word="12"))).views
    assert view.reason == "state 12"


def test_what_is_put_back_into_the_queue_is_over_and_another_waits_or_is_held() -> None:
    runs = judge.judge(AGAIN, look(job(codes.RUNNING, starts=1, is_placed=True)))
    assert states(runs) == {0: (PilotState.RUNNING, None)}
    over = (PilotState.ABSENT, Ending.REQUEUED)
    idle = judge.judge(runs.one, look(job(codes.IDLE, starts=1)))
    assert states(idle) == {0: over, 1: (PilotState.WAITING, None)}
    # Its second start is on its way, and nobody has counted it yet.
    placed = judge.judge(idle.one, look(job(codes.RUNNING, starts=1, is_placed=True)))
    assert states(placed) == {0: over, 1: (PilotState.RUNNING, None)}
    held = judge.judge(placed.one, look(job(codes.HELD, starts=2, hold_code=1)))
    assert states(held) == {0: over, 1: over, 2: (PilotState.HELD, None)}


def test_a_job_that_is_started_by_a_new_shadow_is_the_same_start_until_it_executes() -> None:
    """A schedd that starts anew takes running jobs up again: they never stopped."""
    runs = judge.judge(AGAIN, look(job(codes.RUNNING, starts=1, is_placed=True)))
    taken_up = judge.judge(runs.one, look(job(codes.RUNNING, starts=1)))
    assert states(taken_up) == {0: (PilotState.RUNNING, None)}


def test_a_hold_that_a_person_made_keeps_the_place_of_a_pilot() -> None:
    held = judge.judge(ONE, look(job(codes.HELD, starts=1, hold_code=1, hold_reason="why")))
    assert states(held)[1] == (PilotState.HELD, None)
    assert held.views[1].reason == "why (hold code 1)"
    assert not held.useless
    released = judge.judge(held.one, look(job(codes.IDLE, starts=1)))
    assert states(released) == {0: (PilotState.ABSENT, Ending.PREEMPTED)}
    assert released.useless == ["7.0"]


def test_who_left_the_queue_is_unknown_until_it_is_told_or_long_gone() -> None:
    seen = judge.judge(ONE, look())
    assert states(seen) == {0: (PilotState.UNKNOWN, None)}
    told = judge.judge(seen.one, look(past=(job(codes.COMPLETED, exit_code=0),), at_s=NOW_S + 5))
    assert states(told) == {0: (PilotState.ABSENT, Ending.COMPLETED)}
    later = judge.judge(seen.one, look(at_s=NOW_S + 599))
    assert states(later) == {0: (PilotState.UNKNOWN, None)}
    gone = judge.judge(later.one, look(at_s=NOW_S + 601))
    assert states(gone) == {0: (PilotState.ABSENT, Ending.UNKNOWN)}
    never = judge.judge(replace(later.one, cluster=0), look(at_s=NOW_S + 601))
    assert states(never) == {0: (PilotState.ABSENT, Ending.NEVER_BEGAN)}


def test_a_queue_that_does_not_answer_says_nothing() -> None:
    silent = Look(NOW_S * 1_000_000, None, trouble="no answer")
    (view,) = judge.judge(ONE, silent).views
    assert (view.state, view.reason) == (PilotState.UNKNOWN, "no answer")
    over = judge.judge(ONE, look(job(codes.COMPLETED)))
    assert states(judge.judge(over.one, silent)) == states(over)


def test_what_was_submitted_after_the_look_waits() -> None:
    newer = replace(ONE, submitted_us=NOW_S * 1_000_000 + 1)
    assert states(judge.judge(newer, look())) == {0: (PilotState.WAITING, None)}
    assert not judge.missing(newer, look())


def test_a_lost_node_may_run_its_pilot_as_long_as_its_lease() -> None:
    lost = job(codes.IDLE, starts=1, disconnected_s=NOW_S, lease_s=1000)
    ended = judge.judge(ONE, look(lost)).one.ended[0]
    assert ended.alone_s == NOW_S + 1000 + judge.GRACE_S


JOBS = st.builds(
    Job,
    st.just(7),
    st.just(0),
    st.sampled_from([*codes.KNOWN, None]),
    starts=st.integers(0, 3),
    is_placed=st.booleans(),
    hold_code=st.sampled_from([0, 1, 3, 15, 16, 34, 47, 999]),
    completed_s=st.sampled_from([0, 5]),
    exit_code=st.sampled_from([None, 0, 1]),
    disconnected_s=st.sampled_from([0, 5]),
)


@given(st.booleans(), st.lists(st.one_of(st.none(), JOBS), max_size=8))
def test_whatever_a_pool_shows_what_ended_stays_ended(
    requeue: bool, shown: list[Job | None]
) -> None:
    one, over = replace(ONE, requeue=requeue), dict[str, Ending | None]()
    for step, seen in enumerate(shown):
        found = judge.judge(one, look(*([seen] if seen else []), at_s=NOW_S + step))
        names = [view.batch_id for view in found.views]
        assert len(names) == len(set(names)) >= 1
        views = {view.batch_id: view for view in found.views}
        assert sum(view.state is not PilotState.ABSENT for view in found.views) <= 1
        for name in over:
            assert name not in views or views[name].state is PilotState.ABSENT
        absent = [view for view in found.views if view.state is PilotState.ABSENT]
        assert all(view.ending is not None for view in absent)
        over |= {view.batch_id: view.ending for view in absent}
        one = found.one


@given(st.text(max_size=40))
def test_only_ids_of_ours_are_read(text: str) -> None:
    assert parse_batch_id(batch_id("a", 1, 2)) == ("a", 1, 2)
    said = parse_batch_id(text)
    assert said is None or batch_id(*said) == text or text.startswith("htcondor:")


PLACES = Places(
    "/p/one.sh", "/p/one.events", "/p/$odd.$(ProcId).log", "/p/one.back", "/t/parcel.tar"
)


def test_the_description_asks_for_whole_slots_and_names_the_submission() -> None:
    request = PilotRequest("one", ("x",), Path("/home/a"), jobs=3)
    told = describe(request, Batch(walltime_s=60, requirements="HasX"), "feed", PLACES)
    assert (told["My.PulkName"], told["My.PulkHome"], told["My.PulkJobs"]) == (
        '"one"',
        '"feed"',
        "3",
    )
    assert told["request_cpus"] == "TotalSlotCpus"
    assert told["output"] == "/p/$(DOLLAR)odd.$(ProcId).log"
    assert told["requirements"].startswith("(HasX) && ")
    assert "NumJobStarts" in told["requirements"]
    assert told["allowed_execute_duration"] == "60"
    assert "leave_in_queue" not in told
    part = describe(request, Batch(exclusive=False, cpus=2, requeue=True), "feed", PLACES)
    assert part["request_cpus"] == "2"
    assert "requirements" not in part
    carried = describe(request, Batch(carries=True, options=("+X = 1",)), "feed", PLACES)
    assert carried["when_to_transfer_output"] == "ON_EXIT_OR_EVICT"
    assert carried["+X"] == "1"
    assert "EnteredCurrentStatus" in carried["leave_in_queue"]


def test_the_script_is_whole_for_every_shell() -> None:
    request = PilotRequest("one", ("a b", "{batch_id}", "c'd\n$e"), Path("/"), (("N", "v'w"),))
    for batch in (Batch(), Batch(carries=True, walltime_s=5)):
        text = script(request, batch, (("PATH", "/bin"),))
        done = subprocess.run(["/bin/sh", "-n"], input=text.encode(), timeout=10, check=False)
        assert done.returncode == 0
