"""A real authority behind the real application, people of every kind, datasets of all owners."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from aiohttp.test_utils import TestClient, TestServer
from multidict import CIMultiDict

from bundle.dataset import spec
from bundle.ids import DatasetId
from bundle.trust.request import sign_request
from central.authority import Authority
from central.config import Config
from central.core.authorise import Principal, Visibility
from central.home import now_us
from central.http import shapes
from central.http.app import ROUTES, make_app
from central.http.budgets import Budgets
from central.persons import OPERATOR
from central.store.rows import AccessRow
from tests.central.conftest import chain
from tests.central.site import SITE, Site, enrolled

_BOUND = re.compile(r"\{[a-z0-9]+:((?:[^{}]|\{[0-9,]+\})*)\}")
EVERY = ("read", "submit", "control", "admin")


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: CIMultiDict[str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as a document."""
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The error's code, or nothing."""
        is_problem = self.headers.get("Content-Type", "").startswith("application/problem+json")
        return str(self.json["code"]) if is_problem else ""


@dataclass(slots=True)
class World:
    """One central, its people's tokens by their names, and the datasets by whose they are."""

    site: Site
    authority: Authority
    tokens: dict[str, str] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)
    datasets: dict[str, DatasetId] = field(default_factory=dict)

    def person(self, name: str, role: str, *groups: str, scopes: Sequence[str] = EVERY) -> None:
        """Add somebody with a token."""
        site = SITE if role == "site" else None
        self.authority.save_user(name, role=role, groups=list(groups), site=site)
        self.token(name, name, scopes)

    def token(
        self, label: str, person: str, scopes: Sequence[str] = EVERY, lifetime_s: int | None = None
    ) -> None:
        """Give somebody a token, known by a label."""
        made = self.authority.make_token(person, label, scopes, lifetime_s)
        self.tokens[label], self.numbers[label] = made["token"], made["no"]

    def who(self, name: str) -> Principal:
        """Return who asks with a token."""
        return self.authority.who(self.tokens[name]).principal

    def submit(
        self, by: str, jobs: int = 3, visibility: str = "private", group: str = ""
    ) -> DatasetId:
        """Submit a dataset as somebody, or nobody's."""
        raw, key = spec.encode(chain(jobs)), os.urandom(8).hex()
        principal = self.who(by) if by else OPERATOR
        asked = AccessRow(DatasetId(""), by, group, Visibility(visibility).value)
        made = self.authority.submit(
            raw, idempotency_key=key, token_id=principal.no, by=principal, asked=asked
        )
        return made.id

    def authorization(self, who: str, method: str, path: str) -> dict[str, str]:
        """Return the header of somebody: a token's label, the site's signature, or none."""
        if who == "nobody":
            return {}
        if who == "signed":
            signed = sign_request(self.site.key, self.site.certificate, method, path, now_us())
            return {"Authorization": signed}
        return {"Authorization": f"Bearer {self.tokens[who]}"}

    def asking(self, script: Callable[[Ask], Coroutine[Any, Any, None]]) -> None:
        """Run a script that asks the application."""
        asyncio.run(self._serve(script))

    async def _serve(self, script: Callable[[Ask], Coroutine[Any, Any, None]]) -> None:
        app = make_app(self.authority, self.site.home, Config(), Budgets(8, 4))
        async with TestClient(TestServer(app)) as client:
            await script(Ask(self, client))


class Ask:
    """Asks the application as somebody."""

    def __init__(self, world: World, client: TestClient[Any, Any]) -> None:
        self.world, self._client = world, client

    async def __call__(
        self, who: str, method: str, path: str, content: Any = None, **headers: str
    ) -> Answer:
        """Ask; `content` is bytes or becomes JSON."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        given |= self.world.authorization(who, method, path)
        data = content
        if content is not None and not isinstance(content, bytes):
            data = json.dumps(content).encode()
            given.setdefault("Content-Type", "application/json")
        async with self._client.request(method, path, data=data, headers=given) as answer:
            goes_on = answer.content_type == "text/event-stream"
            body = b"" if goes_on else await answer.read()
            found = Answer(answer.status, answer.headers.copy(), body)
            _check_shape(method, path, found)
            return found


def _check_shape(method: str, path: str, answer: Answer) -> None:
    """Hold an answer to the shape that its route declares."""
    place = path.partition("?")[0]
    if answer.status >= 400:
        shapes.Problem.model_validate(answer.json)
        return
    if answer.status != 200 or not answer.headers["Content-Type"].startswith("application/json"):
        return
    for route in ROUTES:
        pattern = re.sub(r"\{([a-z0-9]+)\}", r"[^/]+", re.sub(_BOUND, r"(\1)", route.path))
        if route.method == method and re.fullmatch(pattern, place):
            if isinstance(route.gives, type) and "fields=" not in path:
                route.gives.model_validate(answer.json)
            return
    raise AssertionError(f"{method} {path} has no route")


@contextmanager
def opened(root: Path, config: Config | None = None) -> Iterator[World]:
    """Open a world without people but the administrator."""
    site = enrolled(root)
    authority = Authority.open(site.home, config or Config(), clock_us=now_us)
    try:
        world = World(site, authority, {"admin": site.token})
        yield world
    finally:
        authority.close()


@contextmanager
def peopled(root: Path) -> Iterator[World]:
    """Open a world with people of every kind, and datasets of every ownership."""
    with opened(root) as world:
        world.person("petra", "production")
        world.person("owner", "user", "nu")
        world.person("member", "user", "nu")
        world.person("other", "user", "mu")
        world.person("sitter", "site")
        world.person("reader", "read-only", "nu")
        world.token("narrow", "owner", ("read",))
        world.token("stale", "owner", lifetime_s=1)
        world.token("revoked", "owner")
        world.authority.revoke_token(world.numbers["revoked"])
        world.person("gone", "user")
        world.authority.remove_user("gone")
        world.datasets = {
            "private": world.submit("owner"),
            "group": world.submit("owner", visibility="group", group="nu"),
            "public": world.submit("owner", visibility="public"),
            "nobodys": world.submit(""),
        }
        yield world
