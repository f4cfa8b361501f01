"""Tasks chosen out of many jobs are controlled in pieces, and what is done is never silent."""

from __future__ import annotations

from typing import Any, cast

import pytest

from bundle.client import Client, Refused
from bundle.dataset.spec import Command, Dataset, Step
from bundle.errors import PulkError
from central import selecting
from central.cli import controls
from central.cli.controls import Asked
from central.core.facts import ControlWord, Verdict
from central.core.selection import Only
from tests.central.conftest import Central
from tests.central.test_life import fail

JOBS = 400


class Near:
    """As much of a client as a control needs, of a central in this process."""

    base = "near"

    def __init__(self, central: Central, last: int = 1000) -> None:
        self.central, self.left = central, last

    def get(self, path: str, **_: Any) -> Any:
        return self.central.authority.dataset(path.split("/")[2]) | {"steps": []}

    def post(self, path: str, body: dict[str, Any], key: str) -> Any:
        self.left -= 1
        if self.left < 0:
            raise Refused(said="forbidden: the token was revoked")
        only = Only(verdicts=frozenset(map(Verdict, body["verdicts"])))
        jobs = None if body["jobs"] is None else _jobs(body["jobs"])
        try:
            tasks = self.central.authority.control(
                path.split("/")[2], ControlWord(body["control"]), jobs, None,
                idempotency_key=key, token_id=1, only=only,
            )  # fmt: skip
        except PulkError as error:
            raise Refused(said=error.text()) from error
        return {"tasks": tasks}


def _jobs(runs: list[list[int]]) -> Any:
    from bundle.intervals import IntervalSet

    return IntervalSet.from_wire(runs)


@pytest.fixture
def dataset(central: Central, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> str:
    """Every third of its tasks failed; a control names few runs, a piece has a hundred jobs."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(controls, "PIECE_JOBS", 100)
    monkeypatch.setattr(controls, "PIECE_JOBS_MIN", 10)
    monkeypatch.setattr(selecting, "SPANS_MAX", 20)
    made = central.submit(
        Dataset("pieces", JOBS, 1, (Step("only", Command(("true",)), failures_max=1),))
    )
    fail(central, made, range(0, JOBS, 3))
    return made


ASKED = Asked("reset", None, (), {"verdicts": ["failed"]}, dry_run=False)


def test_what_is_too_much_for_one_control_is_halved_until_it_fits(
    central: Central, dataset: str
) -> None:
    answers: list[dict[str, Any]] = []
    found = controls._control_one(cast(Client, Near(central)), dataset, ASKED, answers)
    assert found["tasks"] == len(range(0, JOBS, 3))
    assert len(answers) == 8  # each hundred jobs in two
    assert central.authority.counts(dataset)["steps"][0]["counts"] == {"ready": JOBS}


def test_what_is_too_much_out_of_few_jobs_is_halved_too(
    central: Central, dataset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(controls, "PIECE_JOBS", 1000)
    found = controls._control_one(cast(Client, Near(central)), dataset, ASKED, [])
    assert found["tasks"] == len(range(0, JOBS, 3))


def test_where_it_breaks_off_it_says_what_is_done_and_the_same_command_does_the_rest(
    central: Central, dataset: str, capsys: pytest.CaptureFixture[str]
) -> None:
    answers: list[dict[str, Any]] = []
    with pytest.raises(Refused):
        controls._control_one(cast(Client, Near(central, 5)), dataset, ASKED, answers)
    controls._tell_what_is_done(ASKED, answers)
    done = sum(one["tasks"] for one in answers)
    assert 0 < done < len(range(0, JOBS, 3))
    assert f"{done} tasks in {len(answers)} pieces are done" in capsys.readouterr().err
    found = controls._control_one(cast(Client, Near(central)), dataset, ASKED, [])
    assert found["tasks"] == len(range(0, JOBS, 3)) - done
