"""A database that goes away in the middle of a plan: the next ask finds all there is to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from central.errors import DatabaseTrouble
from central.store.sqlite.connection import SqliteConnection
from tests.central.conftest import Central, chain

JOBS = 3
QUESTIONS_MAX = 400


@pytest.mark.sweeps
def test_a_question_that_fails_while_it_plans_hides_no_dataset(
    central: Central, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0
    real = SqliteConnection.translated

    @contextmanager
    def striking(self: SqliteConnection) -> Iterator[None]:
        nonlocal asked
        asked += 1
        if asked == fails:
            raise DatabaseTrouble(where="here", reason="it went away")
        with real(self):
            yield

    struck = 0
    for fails in range(1, QUESTIONS_MAX):
        central.submit(chain(JOBS))
        central.reopen()  # nothing is in memory
        site = central.site(f"site-{fails}")
        assert central.authority.absorb(site.report(10 * JOBS)).outcome == "merged"
        asked = 0
        with monkeypatch.context() as patched:
            patched.setattr(SqliteConnection, "translated", striking)
            try:
                central.authority.outbox(site.name)
            except DatabaseTrouble:
                struck += 1
            else:
                break
        held = [lease for one in site.fetch(central.authority) for lease in one.leases]
        assert sum(lease.count() for lease in held) == 2 * JOBS + 1, f"after question {fails}"
    assert struck > 20
    central.fsck()
