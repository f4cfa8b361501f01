"""Every route, every kind of principal, every ownership: what is allowed stands here in full."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from central.core.authorise import RULES, Action
from central.http.app import ROUTES
from central.http.route import Of, Route
from tests.rest.world import Answer, Ask, peopled

OWNERSHIPS = ("private", "group", "public", "nobodys")
# Who asks. `owner` owns all but nobody's; `member` is in the group that sees one of them.
WHO = (
    *("admin", "petra", "owner", "member", "other", "sitter", "reader", "narrow"),
    *("signed", "nobody", "stale", "revoked", "gone"),
)
# One mark per ownership: + may; 1 not known; 3 forbidden; 4 answered as if it did not exist.
READS = "++++ ++++ +++4 4++4 44+4 44+4 4++4 +++4 1111 1111 1111 1111 1111"
CHANGES = "++++ ++++ +++4 4334 4434 3333 3333 3333 1111 1111 1111 1111 1111"
SHARES = "++++ 3333 +++4 4334 4434 3333 3333 3333 1111 1111 1111 1111 1111"
ALL = "++++ ++++ ++++ ++++ ++++ ++++ ++++ ++++ 1111 1111 1111 1111 1111"
SUBMITS = "++++ ++++ ++++ ++++ ++++ 3333 3333 3333 1111 1111 1111 1111 1111"
WISHES = "++++ ++++ +++4 4++4 44+4 44+4 4++4 3333 1111 1111 1111 1111 1111"
SELF = "++++ ++++ ++++ ++++ ++++ ++++ ++++ 3333 1111 1111 1111 1111 1111"
FILES = "++++ ++++ ++++ ++++ ++++ 3333 ++++ ++++ 1111 1111 1111 1111 1111"
ADMINS = "++++ 3333 3333 3333 3333 3333 3333 3333 1111 1111 1111 1111 1111"
STAFF = "++++ ++++ 3333 3333 3333 3333 3333 3333 1111 1111 1111 1111 1111"
SITES = "++++ ++++ 3333 3333 3333 ++++ 3333 3333 1111 1111 1111 1111 1111"
# of a token of the owner's: it is there for its owner, and for an administrator
REVOKES = "++++ 4444 ++++ 4444 4444 4444 4444 ++++ 1111 1111 1111 1111 1111"
EXCHANGE = "1111 1111 1111 1111 1111 1111 1111 1111 ++++ 1111 1111 1111 1111"
OPEN = "++++ ++++ ++++ ++++ ++++ ++++ ++++ ++++ ++++ ++++ ++++ ++++ ++++"

D, NUMBERS = "/v1/datasets/{dataset}", "{job:[0-9]{1,10}}/{step:[0-9]{1,5}}"
B = "/exchange/{site}/{bundle:[0-9a-f]{64}}"
EXPECTED = {
    ("GET", "/health"): "++++ ++++ ++++ ++++ ++++ ++++ ++++ ++++ 1111 ++++ 1111 1111 1111",
    ("PUT", B): EXCHANGE,
    ("GET", B): EXCHANGE,
    ("GET", f"{B}/disposition"): EXCHANGE,
    ("GET", f"{B}/held"): EXCHANGE,
    ("GET", "/exchange/{site}/outbox"): EXCHANGE,
    ("POST", "/v1/datasets"): SUBMITS,
    ("GET", "/v1/datasets"): ALL,
    ("GET", "/v1/aggregates"): ALL,
    ("GET", D): READS,
    ("GET", f"{D}/counts"): READS,
    ("GET", f"{D}/learned"): READS,
    ("GET", f"{D}/disputes"): READS,
    ("GET", f"{D}/needs"): READS,
    ("GET", f"{D}/document"): READS,
    ("GET", f"{D}/attempts"): READS,
    ("GET", f"{D}/aggregates"): READS,
    ("GET", f"{D}/jobs"): READS,
    ("GET", f"{D}/tasks"): READS,
    ("GET", f"{D}/tasks/{NUMBERS}"): READS,
    ("GET", f"{D}/tasks/{NUMBERS}/tell"): READS,
    ("GET", f"{D}/tasks/{NUMBERS}/logs"): READS,
    ("GET", f"{D}/tasks/{NUMBERS}/why"): READS,
    ("POST", f"{D}/document"): CHANGES,
    ("POST", f"{D}/controls"): CHANGES,
    ("POST", f"{D}/size"): CHANGES,
    ("PATCH", f"{D}/access"): SHARES,
    ("GET", "/v1/files/{sha256:[0-9a-f]{64}}"): FILES,
    ("GET", "/v1/sites"): ALL,
    ("GET", "/v1/sites/{site}"): ALL,
    ("POST", "/v1/sites"): ADMINS,
    ("POST", "/v1/sites/{site}/lost"): ADMINS,
    ("GET", "/v1/bundles"): SITES,
    ("GET", "/v1/users"): STAFF,
    ("POST", "/v1/users"): ADMINS,
    ("DELETE", "/v1/users/{name}"): ADMINS,
    ("GET", "/v1/me"): ALL,
    ("GET", "/v1/me/notifications"): ALL,
    ("PATCH", "/v1/me/notifications"): SELF,
    ("POST", "/v1/me/notifications/test"): SELF,
    ("GET", f"{D}/notifications"): READS,
    ("PATCH", f"{D}/notifications"): WISHES,
    ("GET", "/v1/tokens"): ALL,
    ("POST", "/v1/tokens"): ALL,
    ("DELETE", "/v1/tokens/{number:[0-9]{1,18}}"): REVOKES,
    ("GET", "/v1/audit"): ALL,
    ("GET", "/v1/login"): OPEN,
    ("POST", "/v1/login"): OPEN,
    ("GET", "/v1/openapi.json"): OPEN,
    ("GET", "/v1/docs"): OPEN,
    ("GET", "/v1/events"): ALL,
    ("POST", "/v1/backups/snapshot"): ADMINS,
    ("POST", "/v1/backups"): ADMINS,
}
HIDDEN = frozenset({"unknown-dataset", "unknown-token"})


def test_every_route_has_a_policy_with_a_rule_and_a_row_here() -> None:
    for route in ROUTES:
        assert route.policy.is_open or route.policy.action in RULES, route.path
        assert (route.method, route.path) in EXPECTED, f"{route.method} {route.path}"
        if "{dataset}" in route.path:
            assert route.policy.of is Of.DATASET, route.path
    assert len(EXPECTED) == len(ROUTES)
    assert set(RULES) == set(Action)


@pytest.mark.sweeps
def test_who_may_do_what(tmp_path: Path) -> None:
    found: dict[tuple[str, str], dict[str, str]] = {}
    with peopled(tmp_path) as world:
        time.sleep(1.1)  # until the stale token expired

        async def script(ask: Ask) -> None:
            for route in ROUTES:
                marks = found[route.method, route.path] = {}
                for who in WHO:
                    marks[who] = ""
                    for ownership in OWNERSHIPS:
                        if route.policy.of is Of.TOKEN:
                            world.token("spare", "owner")
                        path = filled(route, world.datasets[ownership], world.numbers)
                        headers = {"Content_Type": "text/plain"} if route.body else {}
                        answer = await ask(who, route.method, path, **headers)
                        marks[who] += mark(answer)

        world.asking(script)
    for key, row in EXPECTED.items():
        assert found[key] == dict(zip(WHO, row.split(), strict=True)), key
    assert sum(len(marks) for row in found.values() for marks in row.values()) >= 1900


def filled(route: Route, dataset: str, numbers: dict[str, int]) -> str:
    """Return the address of a route, about something that is there as far as it matters."""
    parts = {"dataset": dataset, "job": "0", "step": "0", "site": "north", "name": "stranger"}
    parts |= {"bundle": "0" * 64, "sha256": "0" * 64, "number": str(numbers.get("spare", 0))}
    path = route.path
    for name, value in parts.items():
        start = path.find(f"{{{name}")
        if start >= 0:
            depth, end = 0, start
            while True:
                depth += {"{": 1, "}": -1}.get(path[end], 0)
                end += 1
                if depth == 0:
                    break
            path = path[:start] + value + path[end:]
    return path


def mark(answer: Answer) -> str:
    """Return what became of a request, as far as authorisation goes."""
    if answer.status == 401:
        return "1"
    if answer.status == 403:
        return "3"
    return "4" if answer.code in HIDDEN else "+"
