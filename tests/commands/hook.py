"""A web server of a test that notes what is posted to it."""

from __future__ import annotations

import http.server
import threading
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Hook:
    """A web server that notes what is posted, and answers the first ones with 500."""

    refusals: int = 0
    posts: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    others: int = 0

    def serve(self) -> http.server.ThreadingHTTPServer:
        """Serve on a free port."""
        hook = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                hook.posts.append((dict(self.headers), body))
                is_refused = len(hook.posts) <= hook.refusals
                self.send_response(302 if is_refused else 204)
                if is_refused:
                    self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def do_GET(self) -> None:
                hook.others += 1
                self.send_error(404)

            def log_message(self, *_: Any) -> None:
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server
