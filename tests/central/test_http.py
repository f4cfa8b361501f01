"""The real server in a process of its own: who may do what, and what the routes answer."""

from __future__ import annotations

import http.client
import http.server
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from bundle.client import Client, NotCentral, Refused
from bundle.trust import enrolment, fingerprint
from bundle.trust.keys import MemoryKey
from bundle.trust.request import sign_request
from central import lock
from central.home import now_us
from central.http.app import ROUTES
from tests.central.site import SITE, Site, document, enrolled

pytestmark = pytest.mark.programs

LIMIT_S = 20.0
COMMAND = [sys.executable, "-I", "-m", "bundle.cli", "central", "serve", "--port", "0"]


@dataclass(slots=True)
class Served:
    """A running server and the site that central knows."""

    site: Site
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def url(self) -> str:
        """Where it listens."""
        return self.site.home.address.read_text().strip()

    @property
    def client(self) -> Client:
        """The administrator's client."""
        return Client(self.url, self.site.token)

    def ask(
        self,
        method: str,
        path: str,
        content: bytes | None = None,
        *,
        signer: MemoryKey | None = None,
        **headers: str,
    ) -> tuple[int, bytes]:
        """Ask as the site, or with the given headers."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if "Authorization" not in given:
            key = signer or self.site.key
            signed = sign_request(key, self.site.certificate, method, path, now_us())
            given["Authorization"] = signed
        parts = urllib.parse.urlsplit(self.url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=LIMIT_S)
        try:
            connection.request(method, path, content, given)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def put(self, bundle: Path) -> Any:
        """Bring a bundle as the relay does; return the answer's document."""
        status, raw = self.ask("PUT", f"/exchange/{SITE}/{bundle.stem}", bundle.read_bytes())
        assert status == 200, raw
        return json.loads(raw)

    def outbox(self) -> list[dict[str, Any]]:
        """Return the rows of the site's outbox."""
        status, raw = self.ask("GET", f"/exchange/{SITE}/outbox")
        assert status == 200, raw
        return list(json.loads(raw)["bundles"])

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Stop it and return its exit code."""
        self.process.send_signal(number)
        return self.process.wait(LIMIT_S)


def start(site: Site, *, files: int | None = None, **variables: object) -> Served:
    """Start a server and wait until it listens; `files`: it may open no more than these."""
    log = site.root / "serve.log"
    command = [*COMMAND, str(site.home.root)]
    if files is not None:
        command = ["sh", "-c", f'ulimit -n {files}; exec "$@"', "sh", *command]
    environment = os.environ | {f"PULK_HTTP_{k.upper()}": str(v) for k, v in variables.items()}
    with log.open("ab") as out:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=environment
        )
    deadline = time.monotonic() + LIMIT_S
    while not site.home.address.exists():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.02)
    return Served(site, process, log)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One server for the tests that only ask."""
    running = start(enrolled(tmp_path_factory.mktemp("served")))
    yield running
    assert running.stop() == 0, running.log.read_text()


def submit(served: Served, jobs: int = 3) -> str:
    return str(served.client.submit(document(jobs), os.urandom(8).hex())["id"])


def test_without_credentials_only_open_routes_answer(served: Served) -> None:
    parts = {"site": SITE, "dataset": "a" * 26, "job": 0, "step": 0, "name": "anna"}
    parts |= {"bundle": "0" * 64, "sha256": "0" * 64, "number": 1}
    router = web.Application().router
    for route in ROUTES:
        path = router.add_resource(route.path).canonical.format(**parts)
        status, raw = served.ask(route.method, path, b"", Authorization="")
        assert (status == 401) is not route.policy.is_open, (path, raw)


def test_a_wrong_token_is_refused_and_never_logged(served: Served) -> None:
    with pytest.raises(Refused) as refused:
        Client(served.url, "x" * 43).get("/datasets")
    assert "unauthorised" in refused.value.text()
    assert served.site.token not in served.log.read_text()


def test_health_without_a_token_says_only_that_it_runs(served: Served) -> None:
    status, raw = served.ask("GET", "/health", Authorization="")
    assert (status, json.loads(raw)) == (200, {"ok": True})
    assert set(served.client.health()) > {"ok"}


def test_a_submission_is_counted_and_the_same_key_never_submits_twice(served: Served) -> None:
    key = os.urandom(8).hex()
    made = served.client.submit(document(3), key)
    assert served.client.submit(document(3), key) == made
    assert made["tasks"] == 3
    rows = served.client.get("/datasets")["datasets"]
    assert [row["id"] for row in rows].count(made["id"]) == 1
    (step,) = served.client.counts(made["id"])
    assert step["counts"] == {"ready": 3}
    assert served.client.task(made["id"], 2, 0)["verdict"] == "ready"
    assert served.client.get(f"/datasets/{made['id']}/attempts")["attempts"] == []
    with pytest.raises(Refused, match="idempotency-conflict"):
        served.client.submit(document(4), key)


def test_a_control_touches_what_it_names(served: Served) -> None:
    dataset = submit(served, jobs=10)
    asked = {"control": "suspend", "jobs": [[0, 4]], "steps": [0]}
    assert served.client.post(f"/datasets/{dataset}/controls", asked, "k1")["tasks"] == 4
    (step,) = served.client.counts(dataset)
    assert step["counts"] == {"held": 4, "ready": 6}
    asked = {"control": "resume", "jobs": None, "steps": None}
    served.client.post(f"/datasets/{dataset}/controls", asked, "k2")
    assert served.client.counts(dataset)[0]["counts"] == {"ready": 10}


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ({"control": "tombstone"}, "body.control"),
        ({"control": "suspend", "owner": "me"}, "body.owner"),
        ({"control": "suspend", "jobs": [[0, 0]]}, "body"),
        ({"control": "suspend", "jobs": [[1]]}, "body.jobs.0"),
        ({"control": "suspend", "steps": ["0"]}, "body.steps.0"),
    ],
)
def test_a_control_that_is_none_is_refused_by_name(
    served: Served, content: dict[str, Any], named: str
) -> None:
    status, raw = served.ask(
        "POST",
        f"/v1/datasets/{submit(served)}/controls",
        json.dumps(content).encode(),
        Authorization=f"Bearer {served.site.token}",
        Content_Type="application/json",
        Idempotency_Key="k",
    )
    answer = json.loads(raw)
    assert (status, answer["code"], answer["where"]) == (400, "request-malformed", named)


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "fate=tired", "step=-1", "sort=x"])
def test_a_query_that_is_none_is_refused(served: Served, query: str) -> None:
    with pytest.raises(Refused, match="request-malformed"):
        served.client.get(f"/datasets/{submit(served)}/attempts?{query}")


def test_what_is_not_there_is_404(served: Served) -> None:
    for path in (
        f"/v1/datasets/{'a' * 26}",
        f"/v1/datasets/{'a' * 26}/counts",
        f"/v1/datasets/{submit(served)}/tasks/99/0",
        f"/files/{'0' * 64}",
        "/nowhere",
    ):
        status, raw = served.ask("GET", path, Authorization=f"Bearer {served.site.token}")
        assert (status, json.loads(raw)["transient"]) == (404, False), path


def test_a_report_that_wants_work_gets_it_over_http(served: Served, tmp_path: Path) -> None:
    submit(served, jobs=5)
    done = served.put(served.site.report(tmp_path, sequence=0, tasks_wanted=4))
    assert done["disposition"] == "merged"
    rows = served.outbox()
    assert rows
    for row in rows:
        status, raw = served.ask("GET", f"/exchange/{SITE}/{row['id']}")
        assert (status, len(raw)) == (200, row["bytes"])
    part = served.ask("GET", f"/exchange/{SITE}/{rows[0]['id']}", Range="bytes=10-19")
    whole = served.ask("GET", f"/exchange/{SITE}/{rows[0]['id']}")
    assert part == (206, whole[1][10:20])
    assert not list(served.site.home.uploads.iterdir())


def test_a_bundle_that_was_changed_is_answered_as_refused(served: Served, tmp_path: Path) -> None:
    report = served.site.report(tmp_path, sequence=1000)
    raw = bytearray(report.read_bytes())
    raw[60] ^= 1
    report.write_bytes(raw)
    assert served.put(report)["disposition"] == "refused"


def test_a_site_is_known_by_its_signature_alone(served: Served) -> None:
    path = f"/exchange/{SITE}/outbox"
    assert served.ask("GET", path, signer=MemoryKey.generate())[0] == 401
    old = now_us() - 3600 * 1_000_000
    header = sign_request(served.site.key, served.site.certificate, "GET", path, old)
    assert served.ask("GET", path, Authorization=header)[0] == 401
    other = sign_request(served.site.key, served.site.certificate, "PUT", path, now_us())
    assert served.ask("GET", path, Authorization=other)[0] == 401
    assert served.ask("GET", path, Authorization=f"Bearer {served.site.token}")[0] == 401


def test_a_site_cannot_ask_for_another_one(served: Served) -> None:
    status, raw = served.ask("GET", "/exchange/south/outbox")
    assert (status, json.loads(raw)["code"]) == (403, "forbidden")
    missing = served.ask("GET", f"/exchange/{SITE}/{'0' * 64}")
    assert missing[0] == 404


def administer(root: Path, *words: str) -> Any:
    """Run `pulk central` with --json and return its document."""
    command = [sys.executable, "-I", "-m", "bundle.cli", "central", *words, "--json"]
    done = subprocess.run(command, cwd=root, capture_output=True, timeout=LIMIT_S, check=False)
    return json.loads(done.stdout)


def test_a_site_is_enrolled_and_listed_while_the_server_runs(
    served: Served, tmp_path: Path
) -> None:
    key = MemoryKey.generate()
    (tmp_path / "request").write_bytes(enrolment.make_request("south", key, created_us=now_us()))
    folder = str(served.site.home.root)
    enrol = ("enrol", folder, "request", "--out", "answer", "--fingerprint")
    refused = administer(tmp_path, *enrol, "wrong words")["error"]
    assert "wrong-fingerprint" in refused["what"]
    assert not (tmp_path / "answer").exists()
    words = fingerprint.of_key(key.public).upper().replace("-", " ")
    assert administer(tmp_path, *enrol, words) == {"answer": "answer"}
    raw, root = (tmp_path / "answer").read_bytes(), served.site.created.root_fingerprint
    assert enrolment.accept_answer(raw, root, key.public, site="south").certificate
    named = [row["site"] for row in administer(tmp_path, "site", "list", folder)["sites"]]
    assert named == [SITE, "south"]


@pytest.mark.parametrize("query", ["", "?fingerprint=a&fingerprint=b", "?fingerprint=a&site=x"])
def test_an_enrolment_without_one_fingerprint_is_refused(served: Served, query: str) -> None:
    status, raw = served.ask(
        "POST",
        f"/v1/sites{query}",
        served.site.request.read_bytes(),
        Authorization=f"Bearer {served.site.token}",
        Content_Type="application/octet-stream",
    )
    assert (status, json.loads(raw)["code"]) == (400, "request-malformed")


def test_the_token_goes_neither_to_a_redirect_nor_to_what_listens_at_a_dead_servers_address(
    tmp_path: Path,
) -> None:
    site = enrolled(tmp_path)
    heard: list[str] = []

    class Stranger(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            heard.append(self.path)
            self.send_response(302)
            self.send_header("Location", "/elsewhere")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    with http.server.HTTPServer(("127.0.0.1", 0), Stranger) as stranger:
        threading.Thread(target=stranger.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{stranger.server_port}"
        site.home.address.write_text(f"{url}\n")
        with lock.held(site.home, "exchange"):
            error = administer(tmp_path, "site", "list", str(site.home.root))["error"]
            assert error["code"] == "in-use"
        assert heard == []
        with pytest.raises(NotCentral, match="302"):
            Client(url, site.token).get("/datasets")
        assert heard == ["/v1/datasets"]
        stranger.shutdown()


def test_a_second_server_on_the_same_folder_is_refused(served: Served) -> None:
    done = subprocess.run(
        [*COMMAND, str(served.site.home.root)], capture_output=True, timeout=LIMIT_S, check=False
    )
    assert done.returncode == 75
    assert b"in-use" in done.stderr
    assert served.client.health()["ok"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_server_takes_its_address_away(tmp_path: Path, number: int) -> None:
    running = start(enrolled(tmp_path))
    idle = http.client.HTTPConnection(urllib.parse.urlsplit(running.url).netloc, timeout=LIMIT_S)
    idle.request("GET", "/health")
    idle.getresponse().read()
    assert running.stop(number) == 0, running.log.read_text()
    idle.close()
    assert not running.site.home.address.exists()
    for line in running.log.read_text().splitlines():
        assert json.loads(line)["says"]


def test_a_killed_server_starts_again_and_forgets_half_uploads(tmp_path: Path) -> None:
    running = start(enrolled(tmp_path))
    dataset = submit(running)
    running.stop(signal.SIGKILL)
    (running.site.home.uploads / "half").write_bytes(b"half of a bundle")
    running.site.home.address.unlink()
    again = start(running.site)
    assert not list(again.site.home.uploads.iterdir())
    assert again.client.counts(dataset)[0]["counts"] == {"ready": 3}
    assert again.stop() == 0
