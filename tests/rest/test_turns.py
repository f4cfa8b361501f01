"""Many expensive reads of one person, and the reads of others beside them."""

from __future__ import annotations

import asyncio
import http.client
import threading
import urllib.parse
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from bundle.client import Client
from central.http.errors import Busy, TooManyAtOnce
from central.http.media import NDJSON
from central.http.shared import SharedBudget, asking, goes_on
from tests.central.site import enrolled
from tests.central.test_http import Served, start

STREAMS = 50
OPEN_MAX = 8
JOBS = 50_000_000  # their lines take minutes
LIMIT_S = 120.0


def running(script: Callable[[SharedBudget], Awaitable[None]], wait_s_max: float = 60.0) -> None:
    """Run a script over a budget of two places, one and three waiting for each person."""

    async def run() -> None:
        await script(SharedBudget("reads", 2, 6, wait_s_max, each=(1, 3)))

    asyncio.run(run())


async def read(budget: SharedBudget, ends: asyncio.Event, who: str, *, goes: bool = False) -> str:
    """Hold a place until that ends; return `read`, or how it was refused."""
    asking.set(who)
    goes_on.set(goes)
    try:
        async with budget.place():
            await ends.wait()
    except (Busy, TooManyAtOnce) as error:
        return error.code
    return "read"


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_places_go_round_by_person_and_nobody_has_all_of_them() -> None:
    async def script(budget: SharedBudget) -> None:
        order: list[str] = []
        ends = asyncio.Event()

        async def read(who: str, number: int) -> None:
            asking.set(who)
            async with budget.place():
                order.append(f"{who}{number}")
                await ends.wait()
                await settle()

        tasks = [asyncio.create_task(read("anna", number)) for number in range(4)]
        await settle()
        assert order == ["anna0"]  # the second place is for others
        tasks += [asyncio.create_task(read("bela", number)) for number in range(2)]
        await settle()
        assert order == ["anna0", "bela0"] and budget.is_busy
        ends.set()
        await asyncio.gather(*tasks)
        assert order[2:4] == ["anna1", "bela1"] and order[4:] == ["anna2", "anna3"]
        assert not budget.is_busy

    running(script)


def test_too_many_of_one_person_are_refused_and_others_are_let_in() -> None:
    async def script(budget: SharedBudget) -> None:
        ends = asyncio.Event()
        tasks = [asyncio.create_task(read(budget, ends, "anna")) for _ in range(6)]
        await settle()
        tasks += [asyncio.create_task(read(budget, ends, "bela")) for _ in range(3)]
        await settle()
        ends.set()
        said = await asyncio.gather(*tasks)
        assert said[:6] == ["read"] * 4 + ["too-many-at-once"] * 2
        assert said[6:] == ["read"] * 3

    running(script)


def test_an_answer_that_goes_on_waits_its_turn_however_many_came_after_it() -> None:
    async def script(budget: SharedBudget) -> None:
        ends = asyncio.Event()
        who = ["anna"] * 5 + ["bela"] * 5
        tasks = [asyncio.create_task(read(budget, ends, one)) for one in who]
        await settle()
        going = [read(budget, ends, "anna", goes=True) for _ in range(4)]
        pieces = [asyncio.create_task(one) for one in going]
        await asyncio.sleep(0.1)  # longer than others wait
        ends.set()
        said = await asyncio.gather(*tasks)
        assert said.count("too-many-at-once") == 2 and said.count("busy") == 6
        assert await asyncio.gather(*pieces) == ["read"] * 4
        assert not budget.is_busy

    running(script, wait_s_max=0.05)


def test_answers_that_go_on_keep_nobody_out_who_is_new() -> None:
    async def script(budget: SharedBudget) -> None:
        ends = asyncio.Event()

        async def pieces(who: str) -> None:
            asking.set(who)
            goes_on.set(True)
            while not ends.is_set():
                async with budget.place():
                    await settle()

        going = [asyncio.create_task(pieces(f"p{number}")) for number in range(30)]
        await settle()  # far more of them wait than the six that may
        asking.set("anna")
        for _ in range(5):
            async with budget.place():
                assert budget.is_busy
        ends.set()
        await asyncio.gather(*going)
        assert not budget.is_busy

    running(script)


def test_who_gives_up_leaves_no_place_taken() -> None:
    async def script(budget: SharedBudget) -> None:
        asking.set("anna")
        await budget.take()
        with pytest.raises(Busy):
            await budget.take()
        waiting = asyncio.create_task(budget.take())
        await settle()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        budget.give_back()
        await budget.take()
        budget.give_back()
        assert not budget.is_busy

    running(script, wait_s_max=0.05)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    site = enrolled(tmp_path)
    site.submit(JOBS)
    found = start(site)
    try:
        yield found
    finally:
        assert found.stop() == 0, found.log.read_text()


@pytest.mark.programs
def test_fifty_streams_of_one_person_hold_nobody_else_up(served: Served) -> None:
    """Anna reads all that she gets as fast as it comes, until Bela has read what she wanted."""
    admin = served.client
    tokens = {}
    for name in ("anna", "bela"):
        admin.save_user_as(name, {"role": "production"})
        made = admin.make_token({"name": name, "user": name, "scopes": ["read"]})
        tokens[name] = made["token"]
    (dataset,) = {one["id"] for one in admin.get("/datasets")["datasets"]}
    parts = urllib.parse.urlsplit(served.url)
    path = f"/v1/datasets/{dataset}/tasks"
    answers: list[http.client.HTTPResponse] = []
    enough = threading.Event()
    sizes: list[int] = []

    def streams() -> None:
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=LIMIT_S)
        head = {"Authorization": f"Bearer {tokens['anna']}", "Accept": NDJSON}
        connection.request("GET", path, headers=head)
        answers.append(connection.getresponse())

    for _ in range(2):  # the second fifty meet eight streams that are open
        threads = [threading.Thread(target=streams) for _ in range(STREAMS)]
        for one in threads:
            one.start()
        for one in threads:
            one.join(LIMIT_S)
    taken = [one for one in answers if one.status == 200]
    refused = [one for one in answers if one.status != 200]
    assert (len(taken), len(refused)) == (OPEN_MAX, 2 * STREAMS - OPEN_MAX)
    assert {one.status for one in refused} == {429}
    assert all(int(one.headers["Retry-After"]) >= 1 for one in refused)

    def reads(answer: http.client.HTTPResponse) -> None:
        size = 0
        while not enough.is_set():
            piece = answer.read1(1 << 20)
            if not piece:
                return  # it ended too early
            size += len(piece)
        answer.close()
        sizes.append(size)

    reading = [threading.Thread(target=reads, args=(one,)) for one in taken]
    for each in reading:
        each.start()
    bela = Client(served.url, tokens["bela"])
    for _ in range(20):
        assert bela.get("/datasets")["datasets"][0]["id"] == dataset
        assert bela.get(f"/datasets/{dataset}/counts")["steps"]
    enough.set()
    for each in reading:
        each.join(LIMIT_S)
    assert len(sizes) == OPEN_MAX and min(sizes) > 0  # all of Anna's went on meanwhile
