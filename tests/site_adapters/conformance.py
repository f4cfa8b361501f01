"""The contract of `site_adapters.contract`, the same sentences for every adapter."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

import pytest

from site_adapters.contract import Adapter, PilotRequest, PilotState, PilotView, SubmitFailed

Decided = TypeVar("Decided")  # an adapter's `Batch`
Make = Callable[[], Adapter]
WAIT_S = 30.0
SLEEPER = "import time; time.sleep(60)"
MARK = "import os, sys; open(sys.argv[1] + '/' + str(os.getpid()), 'w').close()"


def python(code: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-I", "-c", code, *arguments, "{batch_id}")


def wait_for(adapter: Adapter, batch_id: str, state: PilotState) -> PilotView:
    deadline = time.monotonic() + WAIT_S
    while (view := adapter.survey()[batch_id]).state is not state:
        assert time.monotonic() < deadline, adapter.survey()
        time.sleep(0.05)
    return view


def until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


class Submitting(Generic[Decided]):
    """A folder, and the adapters that relay processes make of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = f"{folder.name}-{os.urandom(4).hex()}"

    def adapter(self, batch: Decided | None = None) -> Adapter:
        """Subclasses make one, of one pilot a batch job where nothing is decided."""
        raise NotImplementedError

    def submit(
        self, code: str, *arguments: str, batch: Decided | None = None, jobs: int = 1
    ) -> list[str]:
        request = PilotRequest(self.name, python(code, *arguments), self.folder, jobs=jobs)
        return list(self.adapter(batch).submit(request))


class Conformance:
    """Subclasses give `make`: an adapter of one pilot a batch job, as a new relay makes it."""

    @pytest.fixture
    def make(self) -> Make:
        raise NotImplementedError

    def test_a_pilot_is_seen_running_and_then_absent(self, make: Make, tmp_path: Path) -> None:
        code = "import sys, time; open(sys.argv[1], 'w').write(sys.argv[2]); time.sleep(1)"
        said = tmp_path / "said"
        (batch_id,) = make().submit(PilotRequest("one", python(code, str(said)), tmp_path))
        assert wait_for(make(), batch_id, PilotState.RUNNING).ending is None
        assert wait_for(make(), batch_id, PilotState.ABSENT).ending is not None
        assert said.read_text() == batch_id

    def test_a_pilot_gets_its_arguments_and_environment_as_they_are(
        self, make: Make, tmp_path: Path
    ) -> None:
        odd = "a 'b' \"c\" $HOME `d` \\ {x} %a\nnext"
        code = "import os, sys; open('said', 'w').write(sys.argv[1] + os.environ['ODD'])"
        argv = (sys.executable, "-I", "-c", code, f"{odd}{{batch_id}}{odd}", "")
        request = PilotRequest("one", argv, tmp_path, (("ODD", odd),))
        (batch_id,) = make().submit(request)
        wait_for(make(), batch_id, PilotState.ABSENT)
        assert (tmp_path / "said").read_text() == f"{odd}{batch_id}{odd}{odd}"

    def test_submitting_a_name_again_starts_nothing_and_gives_the_same_ids(
        self, make: Make, tmp_path: Path
    ) -> None:
        marks = tmp_path / "marks"
        marks.mkdir()
        request = PilotRequest("one", python(MARK, str(marks)), tmp_path)
        ids = {make().submit(request) for _ in range(5)}
        assert len(ids) == 1
        wait_for(make(), ids.pop()[0], PilotState.ABSENT)
        assert len(list(marks.iterdir())) == 1

    def test_submitting_from_several_processes_at_once_starts_one_pilot(
        self, make: Make, tmp_path: Path
    ) -> None:
        marks = tmp_path / "marks"
        marks.mkdir()
        request = PilotRequest("one", python(MARK, str(marks)), tmp_path)
        forks = multiprocessing.get_context("fork")
        others = [forks.Process(target=make().submit, args=(request,)) for _ in range(4)]
        for other in others:
            other.start()
        for other in others:
            other.join(WAIT_S)
        (batch_id,) = make().survey()
        wait_for(make(), batch_id, PilotState.ABSENT)
        assert len(list(marks.iterdir())) == 1

    def test_a_submission_of_several_batch_jobs_has_an_id_for_each_pilot(
        self, make: Make, tmp_path: Path
    ) -> None:
        code = "import sys; open(sys.argv[1].replace(':', '-'), 'w').close()"
        ids = make().submit(PilotRequest("few", python(code), tmp_path, jobs=3))
        assert len(set(ids)) == 3
        assert set(make().survey()) == set(ids)
        for batch_id in ids:
            wait_for(make(), batch_id, PilotState.ABSENT)
            assert (tmp_path / batch_id.replace(":", "-")).exists()

    def test_clearing_a_pilot_that_runs_ends_it(self, make: Make, tmp_path: Path) -> None:
        (batch_id,) = make().submit(PilotRequest("one", python(SLEEPER), tmp_path))
        wait_for(make(), batch_id, PilotState.RUNNING)
        until(lambda: make().clear(batch_id, ":feed:") or (make().survey(), False)[1])
        wait_for(make(), batch_id, PilotState.ABSENT)
        assert make().clear(batch_id, ":feed:")

    def test_cancelling_asks_the_pilot(self, make: Make, tmp_path: Path) -> None:
        said = tmp_path / "said"
        code = (
            "import signal, sys, time\n"
            "def end(*_): open(sys.argv[1], 'w').close(); sys.exit()\n"
            "signal.signal(signal.SIGTERM, end); open(sys.argv[1] + '.ready', 'w').close()\n"
            "time.sleep(60)\n"
        )
        (batch_id,) = make().submit(PilotRequest("one", python(code, str(said)), tmp_path))
        until(said.with_name("said.ready").exists)
        wait_for(make(), batch_id, PilotState.RUNNING)
        make().cancel([batch_id, "local:nobody", "slurm:nobody:0:0:0", "nonsense"])
        wait_for(make(), batch_id, PilotState.ABSENT)
        assert said.exists()

    def test_only_an_absent_pilot_is_forgotten(self, make: Make, tmp_path: Path) -> None:
        (batch_id,) = make().submit(PilotRequest("one", python(SLEEPER), tmp_path))
        wait_for(make(), batch_id, PilotState.RUNNING)
        make().forget(batch_id)
        assert batch_id in make().survey()
        until(lambda: make().clear(batch_id, "") or (make().survey(), False)[1])
        make().forget(batch_id)
        assert batch_id not in make().survey()

    def test_an_id_that_is_not_known_clears_nothing(self, make: Make) -> None:
        for unknown in ("local:nobody", "slurm:nobody:0:0:0", "slurm:17", "", "slurm:../x:0:0:0"):
            assert not make().clear(unknown, ":feed:")
            make().forget(unknown)

    def test_a_name_that_could_leave_the_folder_is_refused(
        self, make: Make, tmp_path: Path
    ) -> None:
        for name in ("", "..", "../evil", "a/b", ".hidden", "x" * 200, "a:b", "a b"):
            with pytest.raises(SubmitFailed):
                make().submit(PilotRequest(name, python(SLEEPER), tmp_path))

    def test_a_command_that_cannot_start_leaves_an_absent_pilot(
        self, make: Make, tmp_path: Path
    ) -> None:
        request = PilotRequest("one", ("/nowhere/program", "{batch_id}"), tmp_path)
        (batch_id,) = make().submit(request)
        wait_for(make(), batch_id, PilotState.ABSENT)

    def test_whoever_asks_for_limits_or_findings_gets_an_answer(self, make: Make) -> None:
        limits = make().limits()
        assert limits is None or limits.nodes >= 0
        assert all(one.name and one.found for one in make().examine())
