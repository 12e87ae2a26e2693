"""A real HTTP server on this machine that answers as a peer's API would."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

from node.common.address import Address
from node.storage.api_address import PEER_HEADER

EXAMPLE_PEER = "ab" * 32
"""Who answers."""

Answers = Mapping[str, tuple[int, bytes, int]]
"""By path: HTTP status, body, and the length that the header promises."""


@contextmanager
def local_api(answers: Answers) -> Iterator[Address]:
    """Serves until left."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body, promised = answers[self.path]
            self.send_response(status)
            self.send_header(PEER_HEADER, EXAMPLE_PEER)
            self.send_header("Content-Length", str(promised))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the standard library's name
            """Quiet."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield Address("127.0.0.1", server.server_port)
        finally:
            server.shutdown()
            thread.join()
