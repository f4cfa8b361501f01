"""A hundred tasks beside a million, at a real server: submitted, fetched and brought over HTTP."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bundle.client import Client
from bundle.dataset import spec
from bundle.trust.request import sign_request
from bundle.wire.manifest import Kind
from bundle.wire.read import open_bundle
from central.home import now_us
from tests.central.scripted_site import Held, ScriptedSite, by_needs
from tests.central.site import enrolled
from tests.central.test_http import Served, start
from tests.planner.test_bundles import one, taken

pytestmark = pytest.mark.programs
BUNDLE = 100  # tasks that the site takes at a time
ROUNDS_MAX = 20
LIMIT_S = 120.0


class FarSite:
    """A scripted site that reaches central over HTTP alone, with bundles that it signs."""

    def __init__(self, served: Served, site: ScriptedSite) -> None:
        self._served, self._site = served, site
        self._seen: set[str] = set()

    def round(self) -> dict[str, int]:
        """Say what is wanted, fetch it, do it, bring the results; return tasks by dataset."""
        self._put(self._site.report(BUNDLE))
        held = self._fetched()
        for each in held:
            played = [self._site.play(each, lease) for lease in by_needs(each.leases)]
            self._put(self._site.result(played))
            del self._site.works[each.id]
        return taken(held)

    def _fetched(self) -> list[Held]:
        """Return the next bundles with work, as soon as central has them."""
        until = time.monotonic() + LIMIT_S
        while time.monotonic() < until:
            rows = json.loads(self._ask("GET", f"/exchange/{self._site.name}/outbox"))["bundles"]
            fresh = [row["id"] for row in rows if row["id"] not in self._seen]
            found = [self._take(bundle) for bundle in fresh]
            if held := [each for each in found if each.leases]:
                return held
            time.sleep(0.05)
        raise AssertionError("central has no work")

    def _take(self, bundle: str) -> Held:
        self._seen.add(bundle)
        path = self._site.folder / f"{bundle}.pulk"
        path.write_bytes(self._ask("GET", f"/exchange/{self._site.name}/{bundle}"))
        return self._site.take(path)

    def _put(self, path: Path) -> None:
        with open_bundle(path, self._site.trust, audience=None, kinds=frozenset(Kind)) as bundle:
            name = bundle.id
        raw = self._ask("PUT", f"/exchange/{self._site.name}/{name}", path.read_bytes())
        assert json.loads(raw)["disposition"] == "merged", raw

    def _ask(self, method: str, path: str, content: bytes | None = None) -> bytes:
        signed = sign_request(self._site.key, self._site.certificate, method, path, now_us())
        status, raw = self._served.ask(method, path, content, Authorization=signed)
        assert status == 200, raw
        return raw


@pytest.fixture
def far(tmp_path: Path) -> Iterator[tuple[Served, FarSite]]:
    site = enrolled(tmp_path)
    (site.home.root / "central.toml").write_text("[planner]\nshard_tasks_max = 10\n")
    authority = site.authority()
    scripted = ScriptedSite("south", tmp_path / "south", authority)
    scripted.clock_us = now_us()
    authority.close()
    served = start(site)
    try:
        yield served, FarSite(served, scripted)
    finally:
        assert served.stop() == 0, served.log.read_text()


def user(served: Served, name: str) -> Client:
    """Add a user; return their client."""
    served.client.save_user_as(name, {"role": "user"})
    scopes = ["read", "submit"]
    made = served.client.make_token({"name": name, "user": name, "scopes": scopes})
    return Client(served.url, made["token"])


def submitted(client: Client, name: str, jobs: int) -> str:
    return str(client.submit(spec.encode(one(name, jobs=jobs)), name)["id"])


def done(client: Client, dataset: str) -> int:
    return int(client.counts(dataset)[0]["counts"].get("done", 0))


def test_a_hundred_tasks_are_done_as_soon_beside_a_million_as_beside_their_like(
    far: tuple[Served, FarSite],
) -> None:
    served, site = far
    many, few, other = (user(served, name) for name in ("many", "few", "other"))
    huge = submitted(many, "huge", 1_000_000)
    for _ in range(5):  # the site is full of it, and its results have come home
        assert site.round() == {huge: BUNDLE}
    assert done(many, huge) == 5 * BUNDLE

    def rounds(client: Client, name: str) -> int:
        dataset = submitted(client, name, BUNDLE)
        for number in range(1, ROUNDS_MAX + 1):
            assert sum(site.round().values()) == BUNDLE or number > 1  # no share lies idle
            if done(client, dataset) == BUNDLE:
                return number
        raise AssertionError(f"after {ROUNDS_MAX} bundles: {done(client, dataset)}")

    beside_a_million = rounds(few, "small")
    assert beside_a_million <= 2
    assert rounds(other, "like") == beside_a_million
    assert site.round() == {huge: BUNDLE}  # nobody else wants it: all of it
