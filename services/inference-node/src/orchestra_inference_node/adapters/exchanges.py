"""A server that streams its answers, as engines use it, and nothing of how it is reached."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

OnChunk = Callable[[dict[str, Any]], bool]
"""Takes what the server streams, one object at a time; true gives the request up.

What the server finds wrong with the request comes as `{"error": {"code": 400, "message": …}}`.
"""


class HttpFailed(Exception):
    """The server answered with an error; `status` is HTTP's, the text its message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Exchange(Protocol):
    """One streamed request that runs."""

    @property
    def done(self) -> asyncio.Future[None]:
        """Done once the server has let go of the request: at its end, after `give_up`, or with the
        exception that ended it."""
        ...

    def give_up(self) -> None:
        """Nothing more is wanted. May be called twice, and after the end."""
        ...


class Exchanges(Protocol):
    """Begins streamed requests."""

    def start(self, request: dict[str, Any], on_chunk: OnChunk) -> Exchange:
        """`on_chunk` is called from any thread, one call at a time."""
        ...


class Posts(Protocol):
    """Single questions."""

    async def post(self, path: str, body: dict[str, Any]) -> Any:
        """The parsed answer. Raises HttpFailed for what the server finds wrong, and an error of its own
        when there is none."""
        ...
