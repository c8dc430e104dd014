"""JSON over HTTP from an object in the test: for servers that cannot run here."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol


class Answers(Protocol):
    """Each answer is a status and what becomes JSON; a list is streamed as events up to [DONE]."""

    def get(self, path: str) -> tuple[int, Any]: ...

    def post(self, path: str, body: dict[str, Any]) -> tuple[int, Any]: ...


@contextmanager
def serving(answers: Answers) -> Iterator[str]:
    """The address, for as long as the block runs."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            """Nothing of it is of interest."""

        def do_GET(self) -> None:
            self.send(*answers.get(self.path))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self.send(*answers.post(self.path, body))

        def send(self, status: int, said: Any) -> None:
            streams = isinstance(said, list)
            data = (_events(said) if streams else json.dumps(said)).encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/event-stream" if streams else "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _events(said: list[Any]) -> str:
    return "".join(f"data: {json.dumps(one)}\n\n" for one in said) + "data: [DONE]\n\n"
