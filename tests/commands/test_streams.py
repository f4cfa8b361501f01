"""Where its words can't be written, a command ends with a code of the contract, untroubled."""

from __future__ import annotations

import subprocess

import pytest

from tests.commands.conftest import COMMAND, LIMIT_S

PULK = " ".join(COMMAND)
SAYS = ("--help", "dataset --help", "dataset template chain", "keys new --help")
FAILS = (("dataset check /nowhere.toml", 1), ("nothing", 2), ("dataset nothing", 2), ("keys", 2))


def in_shell(line: str) -> subprocess.CompletedProcess[str]:
    """Run a line of bash in which `pulk` is this tree's."""
    script = f'pulk() {{ {PULK} "$@"; }}\n{line}'
    return subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, timeout=LIMIT_S, check=False
    )


@pytest.mark.programs
@pytest.mark.parametrize("words", SAYS)
def test_a_full_disk_is_said_and_is_a_failure(words: str) -> None:
    done = in_shell(f"pulk {words} > /dev/full")
    assert done.returncode == 1, done.stderr
    assert done.stderr.startswith("pulk: io-failed: ")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.programs
@pytest.mark.parametrize("words", SAYS)
def test_a_reader_that_has_enough_hears_no_complaint(words: str) -> None:
    done = in_shell(f"pulk {words} | true")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.programs
@pytest.mark.parametrize(("words", "code"), [*((one, 0) for one in SAYS), *FAILS])
@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&- <&-"])
def test_closed_streams_change_no_exit_code(words: str, code: int, closed: str) -> None:
    done = in_shell(f"pulk {words} {closed}")
    assert done.returncode == code
    assert "Traceback" not in done.stdout + done.stderr
    if code and "2>" in closed:
        assert done.stdout == ""  # what is said on stderr goes nowhere else


@pytest.mark.programs
@pytest.mark.parametrize(("words", "code"), FAILS)
def test_nobody_listens_to_errors_and_the_code_still_says_it(words: str, code: int) -> None:
    assert in_shell(f"pulk {words} 2> /dev/full").returncode in (code, 1)
