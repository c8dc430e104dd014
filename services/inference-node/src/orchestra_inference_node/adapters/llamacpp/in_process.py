"""Streamed requests to the llama.cpp server inside this process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any

from orchestra_inference_node.adapters.exchanges import OnChunk


class InProcess:
    """A thread of `threads` for each request. A request that is given up ends at its next chunk."""

    def __init__(self, handle: Callable[[bytes, Callable[[bytes], bool]], None], threads: Executor) -> None:
        """`handle` is the binding's: it takes the request and a callback, and returns at the end."""
        self._handle = handle
        self._threads = threads

    def start(self, request: dict[str, Any], on_chunk: OnChunk) -> InProcessExchange:
        """See the protocol."""
        return InProcessExchange(self._handle, self._threads, json.dumps(request).encode(), on_chunk)


class InProcessExchange:
    """One request."""

    def __init__(
        self,
        handle: Callable[[bytes, Callable[[bytes], bool]], None],
        threads: Executor,
        payload: bytes,
        on_chunk: OnChunk,
    ) -> None:
        self._on_chunk = on_chunk
        self._given_up = False
        loop = asyncio.get_running_loop()
        self.done: asyncio.Future[None] = loop.run_in_executor(threads, handle, payload, self._take)

    def give_up(self) -> None:
        """The engine asks at every chunk whether to go on."""
        self._given_up = True

    def _take(self, chunk: bytes) -> bool:
        if self._given_up:
            return True
        said = json.loads(chunk)
        # an error comes bare or wrapped
        return self._on_chunk(said["__verbose"] if "choices" in said else {"error": said.get("error", said)})
