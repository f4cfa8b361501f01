"""A running relay with its radio, and one simulated pilot that speaks to it by hand."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import zmq

from bundle.ids import PilotRun
from bundle.radio import address as addresses
from bundle.radio import curve, messages
from bundle.radio.address import Address
from bundle.radio.messages import Hello, Word
from bundle.records import seal as seals
from bundle.records.seal import Claim
from bundle.spool import publish
from bundle.spool.layout import Spool
from relay.radio.child import command
from tests.relay.world import World

ROOT = Path(__file__).resolve().parents[2]
WAIT_S = 60.0
PROGRAM = [sys.executable, "-m", "bundle.cli", "relay"]


def until(what: str, found: Callable[[], Any], wait_s: float = WAIT_S) -> Any:
    """Wait until something is found, and return it."""
    deadline = time.monotonic() + wait_s
    while not (one := found()):
        assert time.monotonic() < deadline, f"waited too long for {what}"
        time.sleep(0.05)
    return one


def address(world: World) -> Address | None:
    """Return the address in the spool."""
    with contextlib.suppress(OSError):
        raw = world.spool.radio.read_bytes()
        return addresses.decode(raw, world.trust(), site="north")
    return None


@contextlib.contextmanager
def station(world: World) -> Iterator[subprocess.Popen[bytes]]:
    """Run the radio alone, as `pulk relay run` does."""
    process = subprocess.Popen(
        command(world.home.folder), stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
    )
    try:
        until("an address", lambda: address(world))
        yield process
    finally:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        process.stdout.close()
        try:
            process.wait(20)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


class Daemon:
    """`pulk relay run`, that can be killed with all that it started for itself."""

    def __init__(self, world: World, interval_s: float) -> None:
        """Start nothing yet."""
        self._world, self._interval_s = world, interval_s
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it."""
        told = ("run", str(self._world.home.folder), "--interval", str(self._interval_s))
        self._process = subprocess.Popen([*PROGRAM, *told], cwd=ROOT)

    def kill(self) -> None:
        """SIGKILL; its radio ends with it, without good-bye where that is killed too."""
        assert self._process is not None
        for pid in self.children():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        """SIGTERM; return the exit code."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(60)

    def children(self) -> list[int]:
        """Return the process of the radio; pilots have sessions of their own."""
        assert self._process is not None
        mine = []
        for path in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                words = path.read_text().rpartition(")")[2].split()
                if int(words[1]) == self._process.pid and int(words[3]) == os.getsid(0):
                    mine.append(int(path.parent.name))
        return mine


def status(world: World) -> dict[str, Any]:
    """Run `pulk relay status --json`."""
    done = subprocess.run(
        [*PROGRAM, "status", str(world.home.folder), "--json"],
        cwd=ROOT,
        capture_output=True,
        timeout=60,
        check=True,
    )
    return dict(json.loads(done.stdout))


def claim_in(spool: Spool, radio_key: bytes, run: PilotRun | None = None) -> PilotRun:
    """Write the claim of a pilot that nobody can judge."""
    run = run or PilotRun(os.urandom(8))
    claim = Claim(run, bytes(32), "by-hand", "elsewhere", "boot", 1, 1, 1, 1, "namespace")
    claim = Claim(**{n: getattr(claim, n) for n in Claim.__slots__} | {"radio_key": radio_key})
    publish.make_folder(spool.claimed(run))
    publish.write_new_file(spool.folder("tmp"), spool.claim(run), seals.encode_claim(claim))
    return run


@dataclass(slots=True)
class Speaker:
    """A connection made by hand, which may say anything."""

    socket: zmq.Socket[bytes]
    ticket: bytes = messages.NO_TICKET
    heard: list[tuple[Word | None, bytes]] = field(default_factory=list)

    def say(self, frame: bytes, *more: bytes) -> None:
        """Send; what is not connected loses it."""
        with contextlib.suppress(zmq.Again):
            self.socket.send_multipart([frame, *more], zmq.NOBLOCK)

    def hear(self, word: Word, wait_s: float = 20.0) -> bytes | None:
        """Return the body of the next frame with a word; None where none comes."""
        deadline = time.monotonic() + wait_s
        while (left_s := deadline - time.monotonic()) > 0:
            if self.socket.poll(round(1000 * left_s)):
                found, ticket, body = messages.unpack(self.socket.recv())
                self.heard.append((found, body))
                if found is Word.WELCOME:
                    self.ticket = ticket
                if found is word:
                    return body
        return None

    def greet(self, wait_s: float = 20.0) -> bool:
        """Say hello until it is answered; False where it is not."""
        deadline = time.monotonic() + wait_s
        while time.monotonic() < deadline:
            self.say(messages.hello(Hello(messages.VERSIONS, "by-hand", "elsewhere", 1)))
            if self.hear(Word.WELCOME, 0.5) is not None:
                return True
        return False


@contextlib.contextmanager
def speaker(found: Address, secret: bytes | None = None) -> Iterator[Speaker]:
    """Connect with a key; with none, a new one."""
    secret = secret or curve.new_secret()
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = context.socket(zmq.DEALER)
    try:
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.IMMEDIATE, 1)
        socket.setsockopt(zmq.CURVE_SECRETKEY, secret)
        socket.setsockopt(zmq.CURVE_PUBLICKEY, curve.public_of(secret))
        socket.setsockopt(zmq.CURVE_SERVERKEY, found.server_key)
        socket.connect(found.endpoint)
        yield Speaker(socket)
    finally:
        context.destroy(0)
