"""The sockets of the radio: what pilots connect to, and ZeroMQ's question who may."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import zmq

from bundle.errors import PulkError
from bundle.radio import messages
from relay.radio.allow import AllowList

ZAP = "inproc://zeromq.zap.01"
DOMAIN = b"pulk"
SOCKET_PATH_MAX = 100  # of a Unix socket, with room to spare
BACKLOG = 4096
QUEUE_MAX = 64  # messages that wait for or from one pilot; more are not sent, or wait at the pilot
HEARTBEAT_MS, HEARTBEAT_TIMEOUT_MS, HANDSHAKE_MS = 15_000, 60_000, 30_000
HANDSHAKE_LOOK_S = 0.25  # claims are looked for at most so often
HANDSHAKE_WAIT_S = 5.0  # a claim may be seen so late on a shared filesystem
WAITING_MAX = 4096  # handshakes that wait for a claim
_TCP = re.compile(r"tcp://(?P<host>.+):(?P<port>\*|[0-9]{1,5})")
_ANYWHERE = ("*", "0.0.0.0", "[::]", "::")  # noqa: S104  named so as to be refused


class ListenRefused(PulkError):
    """`[radio] listen` names what can't be listened at. Correct it, or leave it empty."""

    code = "radio-listen-refused"
    what = "can't listen at {listen!r}: {reason}"
    remedy = 'set [radio] listen to "ipc", or to "tcp://ADDRESS:*" with an address of this host'


@dataclass(frozen=True, slots=True)
class Listening:
    """The socket, and where it is reached. `folder` is to be removed at the end, if any."""

    socket: zmq.Socket[bytes]
    endpoint: str
    folder: Path | None


def listen(
    context: zmq.Context[zmq.Socket[bytes]], spool: Path, at: str, reach: str, secret: bytes
) -> Listening:
    """Open the socket that pilots connect to. Raises ListenRefused."""
    socket = context.socket(zmq.ROUTER)
    try:
        for option, value in (
            (zmq.LINGER, 0),
            (zmq.ROUTER_MANDATORY, 1),
            (zmq.RCVHWM, QUEUE_MAX),
            (zmq.SNDHWM, QUEUE_MAX),
            (zmq.MAXMSGSIZE, messages.FRAME_BYTES_MAX),
            (zmq.BACKLOG, BACKLOG),
            (zmq.HEARTBEAT_IVL, HEARTBEAT_MS),
            (zmq.HEARTBEAT_TIMEOUT, HEARTBEAT_TIMEOUT_MS),
            (zmq.HANDSHAKE_IVL, HANDSHAKE_MS),
            (zmq.IPV6, int("[" in at)),
            (zmq.CURVE_SERVER, 1),
        ):
            socket.setsockopt(option, value)
        socket.setsockopt(zmq.CURVE_SECRETKEY, secret)
        socket.setsockopt(zmq.ZAP_DOMAIN, DOMAIN)
        return _bound(socket, spool, at, reach)
    except BaseException:
        socket.close(0)
        raise


def _bound(socket: zmq.Socket[bytes], spool: Path, at: str, reach: str) -> Listening:
    folder: Path | None = None
    found = _TCP.fullmatch(at)
    if at == "ipc":
        path, folder = _socket_path(spool)
        at = f"ipc://{path}"
    elif found is None:
        raise ListenRefused(listen=at, reason='it is neither "ipc" nor tcp://ADDRESS:PORT')
    elif found["host"] in _ANYWHERE and not reach:
        reason = "every address is meant, so [radio] reach must say by which one it is reached"
        raise ListenRefused(listen=at, reason=reason)
    try:
        socket.bind(at)
    except zmq.ZMQError as error:
        raise ListenRefused(listen=at, reason=str(error)) from error
    endpoint = socket.getsockopt(zmq.LAST_ENDPOINT)
    text = endpoint.rstrip(b"\0").decode() if isinstance(endpoint, bytes) else str(endpoint)
    if found is not None and reach:
        text = f"tcp://{reach}:{text.rpartition(':')[2]}"
    return Listening(socket, text, folder)


def _socket_path(spool: Path) -> tuple[Path, Path | None]:
    """Return a path for a Unix socket that only this account reaches, short enough for one."""
    path = spool / f"radio-{os.getpid()}.sock"
    if len(os.fsencode(path)) <= SOCKET_PATH_MAX:
        path.unlink(missing_ok=True)
        return path, None
    folder = Path(tempfile.mkdtemp(prefix="pulk-radio-"))  # mode 0700
    return folder / "sock", folder


def close(one: Listening) -> None:
    """Close the socket and remove what it left in a filesystem."""
    one.socket.close(0)
    if one.endpoint.startswith("ipc://"):
        Path(one.endpoint.removeprefix("ipc://")).unlink(missing_ok=True)
    if one.folder is not None:
        shutil.rmtree(one.folder, ignore_errors=True)


class Gate:
    """Answers ZeroMQ's question whether a key may connect (ZAP, its RFC 27)."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], allow: AllowList) -> None:
        """Be there before the socket that pilots connect to: without a gate all would pass."""
        self.socket = context.socket(zmq.ROUTER)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.bind(ZAP)
        self._allow = allow
        self._waiting: list[tuple[float, bytes, bytes, bytes]] = []
        self._next_look_s = 0.0
        self.refused = 0

    def next_s(self) -> float:
        """Return when to come again."""
        return self._next_look_s if self._waiting else float("inf")

    def ask(self, now_s: float) -> None:
        """Answer what can be answered; a key that is not known waits for the next look."""
        while True:
            try:
                frames = self.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                break
            if len(frames) != 9 or frames[2] != b"1.0":
                continue
            route, _, _, request, domain, _, _, mechanism, key = frames
            if domain != DOMAIN or mechanism != b"CURVE" or len(key) != 32:
                self._answer(route, request, "")
            elif who := self._allow.who(key):
                self._answer(route, request, who)
            elif len(self._waiting) >= WAITING_MAX:
                self._answer(route, request, "")
            else:
                self._waiting.append((now_s + HANDSHAKE_WAIT_S, route, request, key))
        if self._waiting and now_s >= self._next_look_s:
            self._allow.look()
            self._next_look_s = now_s + HANDSHAKE_LOOK_S
            waiting, self._waiting = self._waiting, []
            for until_s, route, request, key in waiting:
                who = self._allow.who(key)
                if who or until_s <= now_s:
                    self._answer(route, request, who)
                else:
                    self._waiting.append((until_s, route, request, key))

    def _answer(self, route: bytes, request: bytes, who: str) -> None:
        self.refused += not who
        word = (b"200", b"OK") if who else (b"400", b"not allowed")
        with contextlib.suppress(zmq.ZMQError):  # whoever asked is gone
            self.socket.send_multipart(
                [route, b"", b"1.0", request, *word, who.encode(), b""], zmq.NOBLOCK
            )
