"""What the door decides: what a head asks, how much is let through, when an answer still holds."""

from __future__ import annotations

import asyncio
import select
import socket
import time
from contextlib import ExitStack

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from bundle.ids import SiteName
from central.door.admission import COME_BACK_S_MAX, Limits, Rate, SiteRates, come_back_s
from central.door.connection import Connection, State
from central.door.crowd import STAY_S_MAX, Crowd
from central.door.heads import END, Asks, kind_of, read_ask
from central.door.known import FRESH_S_MAX, KEPT_S_MAX, UNCHANGED_S_MAX, Known
from central.door.turns import Turns
from central.door.words import Reply, question, reply, take_replies
from central.http.app import ROUTES
from central.http.budget import PerSite
from central.http.errors import SiteBusy
from central.http.watchdog import Watchdog, beat
from central.marks import Marks

NORTH, SOUTH = SiteName("north"), SiteName("south")
TRUSTED = (1, 1)
ASK = b"GET /exchange/north/outbox HTTP/1.1\r\nHost: x\r\nAuthorization: PulkSite a.1.b\r\n\r\n"


def test_a_plain_ask_is_read() -> None:
    ask = read_ask(ASK + b"GET /next")
    assert ask is not None
    assert (ask.site, ask.path, ask.keep) == ("north", "/exchange/north/outbox", True)
    assert (ask.authorization, ask.size) == ("PulkSite a.1.b", len(ASK))


def test_what_the_reader_answers_is_what_the_door_brings_it() -> None:
    parts = {"site": "north", "dataset": "a" * 26, "job": 7, "step": 0, "name": "anna"}
    parts |= {"bundle": "0" * 64, "sha256": "0" * 64, "number": 1}
    router = web.Application().router
    for route in ROUTES:
        path = router.add_resource(route.path).canonical.format(**parts)
        kind = kind_of(f"{route.method} {path} HTTP/1.1".encode() + END)
        assert (kind is Asks.READ) is route.beside, route
        assert not route.beside or route.method == "GET"


def test_nothing_is_decided_before_a_head_is_whole() -> None:
    assert {kind_of(ASK[:end]) for end in range(len(ASK))} == {None}
    assert kind_of(ASK) is Asks.WORK


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"PUT /exchange/north/00 HTTP/1.1", Asks.COMPLETION),
        (b"GET /exchange/north/00 HTTP/1.1", Asks.OTHER),
        (b"GET /v1/datasets HTTP/1.1", Asks.READ),
        (b"GET /v1/datasets?a=b HTTP/1.1", Asks.READ),
        (b"GET /v1/datasets/../users HTTP/1.1", Asks.OTHER),
        (b"POST /v1/datasets HTTP/1.1", Asks.OTHER),
        (b"GET /health HTTP/1.1", Asks.HEALTH),
        (b"GET /health HTTP/1.1\r\nauthoriZation: Bearer x", Asks.OTHER),
        (b"\x16\x03\x01 a TLS hello", Asks.OTHER),
    ],
)
def test_heads_are_sorted(head: bytes, kind: Asks) -> None:
    assert kind_of(head + END) is kind


@pytest.mark.parametrize(
    "line",
    [
        b"Content-Length: 1",
        b"Transfer-Encoding: chunked",
        b"Host: twice",
        b" folded: yes",
        b"Expect: 100-continue",
        b"no colon",
        b"Space : before",
        b"Line: with\nfeed",
    ],
)
def test_an_ask_with_anything_odd_goes_to_the_servers_parser(line: bytes) -> None:
    assert read_ask(ASK[:-2] + line + END) is None


@pytest.mark.parametrize(
    "first",
    [
        b"GET /exchange/NORTH/outbox HTTP/1.1",
        b"GET /exchange/a%62/outbox HTTP/1.1",
        b"GET /exchange/north/outbox?x=1 HTTP/1.1",
        b"GET /exchange/../outbox HTTP/1.1",
        b"GET /exchange/north/outbox HTTP/1.0",
    ],
)
def test_an_ask_whose_first_line_is_odd_goes_to_the_servers_parser(first: bytes) -> None:
    assert read_ask(first + b"\r\nHost: x" + END) is None


@given(st.binary(max_size=300))
def test_no_bytes_make_the_door_stumble(raw: bytes) -> None:
    kind_of(raw)
    read_ask(b"GET /exchange/north/outbox HTTP/1.1\r\n" + raw + END)


@given(st.floats(1, 1000), st.floats(1, 100), st.lists(st.floats(0, 2), min_size=1, max_size=200))
def test_a_rate_gives_no_more_than_its_burst_and_its_share_of_the_time(
    per_s: float, burst: float, steps: list[float]
) -> None:
    rate, now_s, taken = Rate(per_s, burst), 0.0, 0
    for step in steps:
        now_s += step
        while rate.take(now_s):
            taken += 1
    assert taken <= burst + per_s * now_s + 1e-6 * len(steps)


def test_one_sites_rate_leaves_another_alone() -> None:
    rates = SiteRates(10)
    assert sum(rates.take("north", 0.0) for _ in range(100)) == 20
    assert rates.take("south", 0.0)


@given(st.integers(0, 10**6), st.floats(0, 1, exclude_max=True))
def test_the_time_to_come_back_is_bounded(waiting: int, chance: float) -> None:
    assert 2 <= come_back_s(waiting, 1000, chance) <= 3 * COME_BACK_S_MAX


def test_who_is_sent_away_together_comes_back_spread() -> None:
    times = {come_back_s(20_000, 1000, chance / 100) for chance in range(100)}
    assert (min(times), max(times)) == (20, 60)
    assert len(times) > 30


def test_few_files_leave_room_for_completions() -> None:
    limits = Limits.of(64, 12_000, 0, 1000, 50)
    assert limits.completions >= 2
    assert limits.connections + 24 <= 64
    assert Limits.of(20_000, 12_000, 0, 1000, 50).connections == 12_000


def known(marks: Marks) -> Known:
    kept = Known(marks)
    kept.put(NORTH, b"nothing", marks.seen(NORTH), TRUSTED, 100.0)
    return kept


def test_an_answer_holds_while_nothing_changes_but_not_for_ever() -> None:
    kept = known(Marks())
    assert kept.get(NORTH, TRUSTED, 100.0 + UNCHANGED_S_MAX) == (b"nothing", False)
    assert kept.get(NORTH, TRUSTED, 100.1 + UNCHANGED_S_MAX) == (b"nothing", True)
    assert kept.get(NORTH, TRUSTED, 100.1 + KEPT_S_MAX) == (None, True)
    assert kept.get(SOUTH, TRUSTED, 100.0) == (None, True)


def test_an_answer_ends_with_a_change_for_its_site_for_all_or_of_trust() -> None:
    for change in (NORTH, None):
        marks = Marks()
        kept = known(marks)
        marks.changed(change)
        assert kept.get(NORTH, TRUSTED, 100.0) == (None, True)
    assert known(Marks()).get(NORTH, (1, 2), 100.0) == (None, True)


def test_what_came_for_another_site_makes_an_answer_due_but_does_not_end_it() -> None:
    marks = Marks()
    kept = known(marks)
    marks.changed(SOUTH)
    assert kept.get(NORTH, TRUSTED, 100.0 + FRESH_S_MAX) == (b"nothing", False)
    assert kept.get(NORTH, TRUSTED, 100.1 + FRESH_S_MAX) == (b"nothing", True)


def test_a_change_while_the_question_was_under_way_ends_its_answer() -> None:
    marks = Marks()
    seen = marks.seen(NORTH)
    marks.changed(NORTH)
    kept = Known(marks)
    kept.put(NORTH, b"old", seen, TRUSTED, 100.0)
    assert kept.get(NORTH, TRUSTED, 100.0) == (None, True)


@given(
    st.lists(st.tuples(st.sampled_from([NORTH, SOUTH]), st.binary(max_size=50)), max_size=5),
    st.integers(1, 20),
)
def test_replies_survive_any_cutting(said: list[tuple[SiteName, bytes]], piece: int) -> None:
    sent = [Reply(site, 200, 3, body) for site, body in said]
    raw, held, found = b"".join(map(reply, sent)), bytearray(), []
    for start in range(0, len(raw), piece):
        held += raw[start : start + piece]
        found += take_replies(held)
    assert found == sent
    assert not held
    assert question(NORTH) == b"\x05north"


def test_whoever_has_least_to_lose_makes_room_and_completions_never_do() -> None:
    with select.epoll() as poll:
        crowd = Crowd(poll, Limits(4, 0, 100, 1, 1, 10, 10))
        pairs = [socket.socketpair() for _ in range(6)]
        ones = [crowd.add(ours, "a", float(n)) for n, (ours, _) in enumerate(pairs[:4])]
        for one, state in zip(ones, (State.PENDING, State.QUEUED, State.IDLE), strict=False):
            crowd.move(one, state, 5.0)
        for ours, _ in pairs[4:]:
            crowd.add(ours, "a", 6.0)
        assert [one.state for one in ones] == [
            *(State.PENDING, State.GONE, State.GONE),
            State.UNREAD,
        ]
        late = list(crowd_dropped(crowd, 7.0 + STAY_S_MAX[State.PENDING]))
        assert ones[0] in late
        for pair in pairs:
            for end in pair:
                end.close()


def crowd_dropped(crowd: Crowd, now_s: float) -> list[object]:
    found: list[object] = []
    for one in crowd.overdue(now_s):
        found.append(one)
        crowd.drop(one)
    return found


def test_addresses_take_turns_however_many_of_one_wait() -> None:
    with ExitStack() as stack:
        ones = []
        for number in range(12):
            ours, theirs = socket.socketpair()
            stack.enter_context(ours)
            stack.enter_context(theirs)
            address = "honest" if number > 9 else "flood"
            ones.append(Connection(ours, number, address, 0.0, State.PENDING))
        turns = Turns()
        for one in ones:
            turns.append(one)
        ones[1].state = State.GONE
        order = []
        while (one := turns.next_one()) is not None:
            order.append(one.number)
            turns.took(one)
        assert order == [0, 10, 2, 11, 3, 4, 5, 6, 7, 8, 9]
        assert not turns


def test_an_address_has_its_limit() -> None:
    with select.epoll() as poll:
        crowd = Crowd(poll, Limits(10, 1, 10, 1, 1, 10, 10))
        ours, theirs = socket.socketpair()
        one = crowd.add(ours, "a", 0.0)
        assert crowd.is_full_for("a")
        assert not crowd.is_full_for("b")
        crowd.drop(one)
        assert not crowd.is_full_for("a")
        theirs.close()


def test_a_site_with_many_bundles_leaves_places_for_another() -> None:
    async def crowd() -> tuple[int, str]:
        sites, go = PerSite(2, 3, 5.0), asyncio.Event()

        async def bring(site: SiteName) -> str:
            async with sites.place(site):
                if site == NORTH:
                    await go.wait()
                return "merged"

        many = [asyncio.create_task(bring(NORTH)) for _ in range(10)]
        await asyncio.sleep(0.01)
        other = await asyncio.wait_for(bring(SOUTH), 1)
        go.set()
        ends = await asyncio.gather(*many, return_exceptions=True)
        return sum(isinstance(end, SiteBusy) for end in ends), other

    assert asyncio.run(crowd()) == (5, "merged")


BLOCKED = "the event loop is blocked"


def test_a_loop_that_stands_still_is_told_with_what_it_does(
    caplog: pytest.LogCaptureFixture,
) -> None:
    marks = Marks()

    def dawdle() -> None:
        time.sleep(1.0)

    async def turn() -> None:
        beating = asyncio.create_task(beat(marks))
        await asyncio.sleep(0.05)
        dawdle()
        beating.cancel()

    with Watchdog(marks, silent_s_max=0.3):
        asyncio.run(turn())
    (told,) = [one for one in caplog.records if one.getMessage() == BLOCKED]
    assert "in dawdle" in vars(told)["stack"]
