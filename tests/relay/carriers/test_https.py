"""HTTPS alone: whose certificate counts, proxies, portals, waiting for news, uploads in pieces."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from bundle.patience import Patience
from relay.carrier.http import HttpCarrier
from relay.errors import CarryFailed, CentralNotProven, NotCentral, ProxyRefused
from tests.central.site import SITE, document
from tests.relay.carriers.far import LARGE_BYTES, Far
from tests.relay.carriers.lines import HttpsLine
from tests.relay.carriers.test_conformance import CUT_AT, nothing_known
from tests.testbed.forward import forwarding
from tests.testbed.loopback import listening
from tests.testbed.tls import Certifier
from tests.testbed.wire import wired

pytestmark = pytest.mark.programs


def carrier_to(far: Far, port: int, ca: Path | None, host: str = "localhost") -> HttpCarrier:
    return HttpCarrier(f"https://{host}:{port}", far.standing, 10.0, ca=ca)


def test_a_certificate_of_an_unknown_authority_is_told_as_such(
    https: HttpsLine, far: Far, tmp_path: Path
) -> None:
    for ca in (None, Certifier(tmp_path, "other").ca):
        with pytest.raises(CentralNotProven, match="certificate"):
            list(carrier_to(far, https.wire.port, ca).fetch(nothing_known, tmp_path))
    missing = carrier_to(far, https.wire.port, tmp_path / "nowhere")
    with pytest.raises(CentralNotProven, match=r"\[central\] ca"):
        list(missing.fetch(nothing_known, tmp_path))


def test_a_certificate_that_is_over_or_anothers_is_told_as_such(far: Far, tmp_path: Path) -> None:
    certifier = Certifier(tmp_path)
    over = certifier.server(lasts=timedelta(days=-1))
    with wired(*far.place, tls=over) as wire, pytest.raises(CentralNotProven, match="expired"):
        list(carrier_to(far, wire.port, certifier.ca).fetch(nothing_known, tmp_path))
    others = certifier.server(name="elsewhere.example")
    with wired(*far.place, tls=others) as wire, pytest.raises(CentralNotProven, match="localhost"):
        list(carrier_to(far, wire.port, certifier.ca).fetch(nothing_known, tmp_path))


def test_the_proxy_of_the_variables_is_used_and_hears_nothing_of_what_is_said(
    https: HttpsLine, far: Far, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = far.bundle()
    with forwarding(login="me:secret") as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:secret@127.0.0.1:{proxy.port}")
        assert https.carrier().send(bundle) is not None
        assert proxy.asked == [f"CONNECT localhost:{https.wire.port}"]
        monkeypatch.setenv("NO_PROXY", "localhost")
        assert https.carrier().send(bundle) is not None
        assert len(proxy.asked) == 1
    assert far.knows(bundle.id)


def test_a_proxy_that_wants_a_login_is_told_as_such(
    https: HttpsLine, far: Far, monkeypatch: pytest.MonkeyPatch
) -> None:
    with forwarding(login="me:secret") as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        with pytest.raises(ProxyRefused, match="407") as failed:
            https.carrier().send(far.bundle())
    assert "HTTPS_PROXY" in failed.value.text()
    assert "secret" not in failed.value.text()


def test_what_central_holds_of_a_broken_upload_is_bounded_and_outlives_its_restart(
    far: Far, https: HttpsLine
) -> None:
    bundles = [far.bundle(LARGE_BYTES) for _ in range(5)]
    for one in bundles:
        https.wire.cut_up = CUT_AT
        with pytest.raises(CarryFailed):
            https.carrier().send(one)
        until(partial(held, far, one.id))
    kept = [one for one in bundles if held(far, one.id)]
    assert len(kept) == 4  # of one site; the oldest went
    folder = far.served.site.home.partial / SITE
    assert sum(one.stat().st_size for one in folder.iterdir()) < 4 * LARGE_BYTES
    for one in bundles:
        assert https.carrier().send(one) is not None
    assert not list(folder.iterdir())


def test_a_rest_that_does_not_fit_is_refused_and_the_whole_is_taken(
    far: Far, https: HttpsLine
) -> None:
    bundle = far.bundle(LARGE_BYTES)
    raw, path = bundle.path.read_bytes(), f"/exchange/{SITE}/{bundle.id}"
    said = f"bytes 1000-{len(raw) - 1}/{len(raw)}"
    status, answer = far.served.ask("PUT", path, raw[1000:], Content_Range=said)
    assert (status, b"upload-moved" in answer) == (409, True)
    for wrong in ("bytes 0-9/10", "bytes 1-9/12", f"bytes 5-9/{2**70}", "pages 1-2/3"):
        status, answer = far.served.ask("PUT", path, b"x" * 9, Content_Range=wrong)
        assert status == 400, answer
    https.wire.cut_up = CUT_AT
    with pytest.raises(CarryFailed):
        https.carrier().send(bundle)
    until(partial(held, far, bundle.id))
    at = held(far, bundle.id)
    said = f"bytes {at}-{len(raw) - 1}/{len(raw)}"
    status, answer = far.served.ask("PUT", path, os.urandom(len(raw) - at), Content_Range=said)
    assert (status, b"upload-damaged" in answer) == (409, True)
    assert held(far, bundle.id) == 0
    assert not far.knows(bundle.id)
    assert https.carrier().send(bundle) is not None
    assert far.knows(bundle.id)


def test_central_answers_one_who_waits_when_there_is_news_and_asks_nothing_meanwhile(
    far: Far, https: HttpsLine
) -> None:
    carrier = HttpCarrier(
        f"https://localhost:{https.wire.port}", far.standing, 10.0, ca=https.certifier.ca
    )
    seen = carrier.wait("", 5)
    began = time.monotonic()
    assert carrier.wait(seen, 2) == seen
    assert 1.5 < time.monotonic() - began < 8
    found: list[str] = []
    waiting = threading.Thread(target=lambda: found.append(carrier.wait(seen, 40)))
    waiting.start()
    time.sleep(1)
    assert not found
    far.served.put(far.served.site.report(far.folder, 1000 + far.numbered, tasks_wanted=20))
    far.served.client.submit(document(20), os.urandom(8).hex())
    waiting.join(30)
    assert found
    assert found[0] != seen


def test_a_login_page_is_not_central(far: Far, tmp_path: Path) -> None:
    with listening(LoginPage) as url:
        carrier = HttpCarrier(url, far.standing, 5.0, patience=Patience(0, time.sleep))
        with pytest.raises(NotCentral, match="login"):
            list(carrier.fetch(nothing_known, tmp_path))
        with pytest.raises(NotCentral):
            carrier.send(far.bundle())


def held(far: Far, bundle: str) -> int:
    status, raw = far.served.ask("GET", f"/exchange/{SITE}/{bundle}/held")
    assert status == 200, raw
    return int(json.loads(raw)["bytes"])


def until(is_so: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


class LoginPage(BaseHTTPRequestHandler):
    """What a network shows to those who have not logged in, whatever they ask."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<html>Please log in</html>")

    do_PUT = do_GET  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:
        pass
