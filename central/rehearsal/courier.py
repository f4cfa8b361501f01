"""The courier between relay and central: carries HTTP requests, and misbehaves on purpose.

It sees what any proxy on the way sees: requests and bundle files, no key. What it does to a
result bundle is decided by `faults`; every other request is carried as it is.
"""

from __future__ import annotations

import http.client
import json
import threading
import time
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from bundle.client import NoAnswer
from bundle.wire import header
from bundle.wire.errors import BundleRefused
from bundle.wire.manifest import Kind
from central.rehearsal.faults import Fault

CARRY_TIMEOUT_S = 30.0
HELD_AT_MOST_S = 4.0
HOP_HEADERS = {"host", "connection", "transfer-encoding", "keep-alive"}


@dataclass(slots=True)
class Carried:
    """One request as it was handed over."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Courier:
    """A proxy on loopback in a thread of its own."""

    def __init__(
        self,
        central_url: Callable[[], str],
        faults: dict[int, Fault],
        kill_relay: Callable[[], None],
        tell: Callable[[Fault, str], None],
    ) -> None:
        """Listen on a free port of loopback; `central_url` is asked anew for each request."""
        self._tell = tell
        self._central_url = central_url
        self._faults = faults
        self._kill_relay = kill_relay
        self._order: dict[str, int] = {}
        self._held: tuple[float, Carried] | None = None
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler_of(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        """Where the relay finds it."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def start(self) -> None:
        """Start carrying."""
        self._thread.start()

    def stop(self) -> None:
        """Deliver what is held, then stop."""
        self.release(at_once=True)
        self._server.shutdown()
        self._server.server_close()

    def release(self, *, at_once: bool = False) -> None:
        """Deliver a bundle that was held back long enough though no other one followed."""
        with self._lock:
            held = self._held
            if held is None or (not at_once and time.monotonic() - held[0] < HELD_AT_MOST_S):
                return
            self._held = None
        self._send(held[1])

    def carry(self, request: Carried) -> tuple[int, bytes] | None:
        """Carry one request; None: the connection breaks before any answer."""
        bundle = request.path.rsplit("/", 1)[-1]
        fault = self._fault_of(request, bundle)
        match fault:
            case Fault.RELAY_KILLED:
                self._kill_relay()
                return None
            case Fault.LOST:
                return 200, json.dumps({"disposition": "carried"}).encode()
            case Fault.HELD:
                with self._lock:
                    self._held = (time.monotonic(), request)
                return 200, json.dumps({"disposition": "carried"}).encode()
            case Fault.TWICE:
                self._send(request)
        answer = self._send(request)
        if fault is Fault.NONE and request.method == "PUT" and bundle in self._order:
            self.release(at_once=True)
        return answer

    def _fault_of(self, request: Carried, bundle: str) -> Fault:
        if request.method != "PUT" or not _is_result(request.body):
            return Fault.NONE
        with self._lock:
            if bundle in self._order:  # sent again: it had its fault
                return Fault.NONE
            place = self._order[bundle] = len(self._order)
        fault = self._faults.get(place, Fault.NONE)
        if fault is not Fault.NONE:
            self._tell(fault, bundle)
        return fault

    def _send(self, request: Carried) -> tuple[int, bytes]:
        try:
            parts = urllib.parse.urlsplit(self._central_url())
        except NoAnswer as error:
            return _bad_gateway(error)
        connection = http.client.HTTPConnection(
            parts.hostname or "127.0.0.1", parts.port, timeout=CARRY_TIMEOUT_S
        )
        try:
            connection.request(request.method, request.path, request.body, request.headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException) as error:
            return _bad_gateway(error)
        finally:
            connection.close()


def _bad_gateway(error: Exception) -> tuple[int, bytes]:
    return 502, json.dumps({"code": "no-central", "what": str(error)}).encode()


def _is_result(body: bytes) -> bool:
    try:
        found = header.unpack(body[: header.HEADER_BYTES], len(body))
    except BundleRefused:
        return False
    return found.kind is Kind.RESULT


def _handler_of(courier: Courier) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = CARRY_TIMEOUT_S

        def do_GET(self) -> None:
            self._carry()

        def do_PUT(self) -> None:
            self._carry()

        def _carry(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            headers = {k: v for k, v in self.headers.items() if k.lower() not in HOP_HEADERS}
            body = self.rfile.read(length)
            answer = courier.carry(Carried(self.command, self.path, headers, body))
            if answer is None:
                self.close_connection = True
                return
            status, content = answer
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            del format, args

    return Handler
