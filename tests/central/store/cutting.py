"""A door before a PostgreSQL server that shuts when a COMMIT comes by."""

from __future__ import annotations

import re
import socket
import threading
from pathlib import Path

NAME = ".s.PGSQL.5432"
CHUNK = 1 << 16
_COMMIT = re.compile(rb"COMMIT(?!TED)")


class Door:
    """Passes connections on to a server. `cut`: `before` or `after` the next COMMIT, or empty.

    `is_shut`: whether nobody is let in. `shuts`: whether a cut shuts it.
    """

    def __init__(self, folder: Path, server: Path) -> None:
        self.folder, self._server = folder, server
        self.cut = ""
        self.cuts = 0
        self.is_shut = self.shuts = False
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(folder / NAME))
        self._socket.listen()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for one in self._threads:
            one.join(10)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            if self.is_shut:
                client.close()
                continue
            server = socket.socket(socket.AF_UNIX)
            server.connect(str(self._server / NAME))
            for target in (self._forward, self._back):
                thread = threading.Thread(target=target, args=(client, server))
                self._threads.append(thread)
                thread.start()

    def _forward(self, client: socket.socket, server: socket.socket) -> None:
        try:
            while raw := client.recv(CHUNK):
                cut = self.cut if _COMMIT.search(raw) else ""
                if cut:
                    self.cut, self.cuts, self.is_shut = "", self.cuts + 1, self.shuts
                    client.shutdown(socket.SHUT_RDWR)  # whatever is answered reaches nobody
                if cut != "before":
                    server.sendall(raw)
                if cut:
                    break
            server.shutdown(socket.SHUT_WR)
        except OSError:
            server.close()

    def _back(self, client: socket.socket, server: socket.socket) -> None:
        try:
            while raw := server.recv(CHUNK):
                client.sendall(raw)
        except OSError:
            pass
        finally:
            client.close()
            server.close()
