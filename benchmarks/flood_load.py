"""Many connections that ask a central for work, in a process of its own: the flood.

`python -m benchmarks.flood_load PLAN`: a JSON file with `host`, `port`, `connections`, `per_s`
(asks of all connections together), `seconds` and `requests` (a file of signed requests, one per
connection, each preceded by its length). Every connection asks on its own schedule whether told to
come back or not; one whose answer is `PATIENCE_S` late hangs up and comes again. Prints counts.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import resource
import select
import socket
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PATIENCE_S = 5.0
PER_ADDRESS = 400
NICE = 10  # elsewhere it would have processors of its own
TURN_S = 0.005


@dataclass(slots=True)
class _Caller:
    """One connection; `asked_s` is 0 where nothing is awaited."""

    request: bytes
    source: str
    sock: socket.socket | None = None
    asked_s: float = 0.0
    held: bytearray = field(default_factory=bytearray)
    is_open: bool = False


class Flood:
    """See the module."""

    def __init__(self, plan: dict[str, Any], requests: list[bytes]) -> None:
        """Plan the calls; none is made yet."""
        self._to = (plan["host"], plan["port"])
        self._per_s, self._seconds = plan["per_s"], plan["seconds"]
        self._poll = select.epoll()
        self._callers = [
            _Caller(request, f"127.0.{1 + number // PER_ADDRESS}.1")
            for number, request in enumerate(requests)
        ]
        self._by: dict[int, _Caller] = {}
        self.counts: Counter[str] = Counter()
        self.answered_s: list[float] = []

    def run(self) -> dict[str, Any]:
        """Flood until the time is over; return what happened."""
        began_s = time.monotonic()
        wish = 0
        while (now_s := time.monotonic()) < began_s + self._seconds:
            due = int((now_s - began_s) * self._per_s)
            while wish < due:
                self._wish(self._callers[wish % len(self._callers)], now_s)
                wish += 1
                if not wish % 256:
                    break
            for number, event in self._poll.poll(0 if wish < due else TURN_S, 512):
                if caller := self._by.get(number):
                    self._stir(caller, event)
        took_s = time.monotonic() - began_s
        latencies = sorted(self.answered_s)
        return dict(self.counts) | {
            "wishes": wish,
            "seconds": took_s,
            "connected": len(self._by),
            "p50_s": _at(latencies, 0.5),
            "p99_s": _at(latencies, 0.99),
        }

    def _wish(self, caller: _Caller, now_s: float) -> None:
        if caller.asked_s:
            if now_s - caller.asked_s < PATIENCE_S:
                self.counts["still waiting"] += 1
                return
            self.counts["gave up"] += 1
            self._hang_up(caller)
        caller.asked_s = now_s
        if caller.sock is None:
            self._call(caller)
        else:
            self._ask(caller)

    def _call(self, caller: _Caller) -> None:
        sock = socket.socket()
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
        try:
            sock.bind((caller.source, 0))
            sock.connect(self._to)
        except BlockingIOError:
            pass
        except OSError as error:
            self.counts[f"not connected: {errno.errorcode.get(error.errno or 0)}"] += 1
            caller.asked_s = 0.0
            sock.close()
            return
        caller.sock = sock
        self._by[sock.fileno()] = caller
        watched = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET
        self._poll.register(sock.fileno(), watched)
        self.counts["connections"] += 1

    def _stir(self, caller: _Caller, event: int) -> None:
        if event & select.EPOLLOUT and not caller.is_open:
            caller.is_open = True
            self._ask(caller)
        if event & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR | select.EPOLLRDHUP):
            self._hear(caller)

    def _ask(self, caller: _Caller) -> None:
        assert caller.sock is not None
        try:
            caller.sock.send(caller.request)
            self.counts["asked"] += 1
        except OSError:
            self.counts["broken off"] += 1
            self._hang_up(caller)

    def _hear(self, caller: _Caller) -> None:
        assert caller.sock is not None
        try:
            raw = caller.sock.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            raw = b""
        caller.held += raw
        head, end, body = caller.held.partition(b"\r\n\r\n")
        if end:
            size = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            if len(body) >= size:
                status = int(head[9:12])
                self.counts[str(status)] += 1
                if status in (429, 503) and b"retry-after: " not in head.lower():
                    self.counts["no Retry-After"] += 1
                if status == 200:
                    self.answered_s.append(time.monotonic() - caller.asked_s)
                caller.held.clear()
                caller.asked_s = 0.0
        if not raw:
            if caller.asked_s:
                self.counts["broken off"] += 1
            self._hang_up(caller)

    def _hang_up(self, caller: _Caller) -> None:
        if caller.sock is not None:
            del self._by[caller.sock.fileno()]
            caller.sock.close()
        caller.sock, caller.asked_s, caller.is_open = None, 0.0, False
        caller.held.clear()


def _at(values: list[float], share: float) -> float:
    return values[min(len(values) - 1, int(share * len(values)))] if values else 0.0


def main() -> None:
    """Run the plan that the command line names."""
    plan = json.loads(Path(sys.argv[1]).read_text())
    raw = Path(plan["requests"]).read_bytes()
    requests, place = [], 0
    while place < len(raw):
        size = int.from_bytes(raw[place : place + 4], "big")
        requests.append(raw[place + 4 : place + 4 + size])
        place += 4 + size
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    _be_nice()
    found = Flood(plan, requests[: plan["connections"]]).run()
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps(found | {"cpu_s": used.ru_utime + used.ru_stime}))


def _be_nice() -> None:
    """Come after all others: of this session, and this session after others where those count."""
    os.nice(NICE)
    with contextlib.suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(NICE))


if __name__ == "__main__":
    main()
