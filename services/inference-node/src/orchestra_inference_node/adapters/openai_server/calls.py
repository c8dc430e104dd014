"""One request in a task of its own, given up without leaving its connection behind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

T = TypeVar("T")
Extensions = dict[str, Any]

_CONNECTS = "connection.connect_tcp.started"
_CONNECTED = "http11.send_request_headers.started"


class Call(Generic[T]):
    """An Exchange. One that is given up while it connects ends as soon as it is connected, or cannot be: a
    connection whose making is cancelled is lost by the HTTP library, open and with nobody to close it."""

    def __init__(self, work: Callable[[Extensions], Coroutine[Any, Any, T]], name: str) -> None:
        """`work` makes one request with the extensions that it is given."""
        self._connecting = False
        self._given_up = False
        self._task = asyncio.create_task(work({"trace": self._note}), name=name)

    @property
    def done(self) -> asyncio.Future[T]:
        return self._task

    def give_up(self) -> None:
        """The connection is closed when `done` is: that is how a server hears of it."""
        self._given_up = True
        if not self._connecting:
            self._task.cancel()

    async def result(self) -> T:
        """What `work` gives or raises. Cancelled, it gives the request up and returns after that."""
        try:
            return await asyncio.shield(self._task)
        except asyncio.CancelledError:
            self.give_up()
            await asyncio.wait([self._task])
            raise

    async def _note(self, event: str, _: Any) -> None:
        """The HTTP library tells its steps."""
        if event == _CONNECTS:
            self._connecting = True
        elif event == _CONNECTED or event.endswith(".failed"):
            self._connecting = False
            if self._given_up:
                raise asyncio.CancelledError
