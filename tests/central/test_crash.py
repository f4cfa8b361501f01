"""The store and the archive: a crash between them loses nothing and doubles nothing."""

from __future__ import annotations

import pytest

from bundle.dataset import spec
from central.core.facts import ControlWord
from central.errors import IdempotencyConflict
from tests.central.conftest import Central, chain
from tests.central.crash import forget


def test_a_crash_between_archive_and_commit_loses_no_submission(central: Central) -> None:
    raw = spec.encode(chain(jobs=2))

    def submit() -> object:
        return central.authority.submit(raw, idempotency_key="once", token_id=1)

    made = forget(central, submit)
    assert len(central.authority.datasets()) == 1
    assert submit() == made  # the client got no answer and asks again
    assert len(central.authority.datasets()) == 1
    with pytest.raises(IdempotencyConflict):
        central.authority.submit(spec.encode(chain(jobs=3)), idempotency_key="once", token_id=1)


def test_a_crash_between_archive_and_commit_loses_no_lease(central: Central) -> None:
    site = central.site()
    dataset = central.submit(chain(jobs=2))
    central.authority.absorb(site.report(100))
    forget(central, lambda: central.authority.outbox(site.name))
    assert central.counts(dataset) == [{"leased": 2}, {"leased": 2}, {"leased": 1}]
    (out,) = central.authority.outbox(site.name)
    assert site.take(central.authority.outgoing(site.name, out.id)).leases
    central.fsck()


def test_a_crash_between_archive_and_commit_loses_no_result(central: Central) -> None:
    site = central.site()
    dataset = central.submit(chain(jobs=2))
    central.authority.absorb(site.report(100))
    (held,) = site.fetch(central.authority)
    path = site.result([site.play(held, lease) for lease in held.leases])
    forget(central, lambda: central.authority.absorb(path))
    assert central.counts(dataset) == [{"done": 2}, {"done": 2}, {"done": 1}]
    assert central.authority.absorb(path).outcome == "merged"
    assert central.fsck()["attempts"] == 5


def test_a_crash_between_archive_and_commit_loses_no_control(central: Central) -> None:
    dataset = central.submit(chain(jobs=2))

    def cancel() -> int:
        word = ControlWord.CANCEL
        return central.authority.control(
            dataset, word, None, None, idempotency_key="cancel", token_id=1
        )

    assert forget(central, cancel) == 5
    assert central.counts(dataset)[0] == {"cancelled": 2}
    assert cancel() == 5
    central.fsck()


def test_no_query_is_made_per_task(central: Central) -> None:
    site = central.site()
    counted: list[int] = []
    for jobs in (10, 200):
        central.submit(chain(jobs=jobs, fan_in=False))
        central.authority.absorb(site.report(10_000))
        (held,) = [one for one in site.fetch(central.authority) if one.leases]
        path = site.result([site.play(held, lease) for lease in held.leases])
        del site.works[held.id]
        statements: list[str] = []
        connection = central.authority._w.store.database.conn  # type: ignore[attr-defined]
        connection.set_trace_callback(statements.append)
        central.authority.absorb(path)
        connection.set_trace_callback(None)
        reads = [one for one in statements if one.lstrip().startswith("SELECT")]
        counted.append(len(reads))
    assert counted[1] <= counted[0] + 15  # some per segment, none per task


def test_the_token_is_known_by_its_digest_alone(central: Central) -> None:
    token = central.home.token.read_text().strip()
    assert central.authority.token(token) == 1
    assert token.encode() not in central.home.database.read_bytes()
    assert central.home.database.stat().st_mode & 0o077 == 0
