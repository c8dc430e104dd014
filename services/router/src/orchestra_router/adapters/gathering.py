"""Many small questions as few large ones: whatever is ready goes together, no timer waits for more."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from orchestra_errors import OrchestraError

Q = TypeVar("Q")
A = TypeVar("A")


class Gathered(Generic[Q, A]):
    """`ask(question)` for each; `send(questions)` answers many in their order, an error in place of an
    answer.

    While one round is under way the questions that come are kept for the next.
    """

    def __init__(
        self, send: Callable[[Sequence[Q]], Awaitable[Sequence[A | OrchestraError]]], most: int
    ) -> None:
        self._send = send
        self._most = most
        self._waiting: list[tuple[Q, asyncio.Future[A]]] = []
        self._round: asyncio.Task[None] | None = None

    async def ask(self, question: Q) -> A:
        future: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        self._waiting.append((question, future))
        if self._round is None:
            self._round = asyncio.create_task(self._rounds(), name="gathered questions")
        return await future

    async def close(self) -> None:
        """Give up what waits."""
        if self._round is not None:
            self._round.cancel()
            await asyncio.wait([self._round])

    async def _rounds(self) -> None:
        try:
            while self._waiting:
                # what the same turn of the loop still brings goes along
                await asyncio.sleep(0)
                batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
                batch = [(question, future) for question, future in batch if not future.done()]
                if batch:
                    await self._one(batch)
        finally:
            self._round = None
            for _, future in self._waiting:
                future.cancel()
            self._waiting = []

    async def _one(self, batch: Sequence[tuple[Q, asyncio.Future[A]]]) -> None:
        try:
            answers: Sequence[A | OrchestraError] = await self._send([question for question, _ in batch])
        except OrchestraError as error:
            answers = [error] * len(batch)
        except BaseException:
            for _, future in batch:
                future.cancel()
            raise
        for (_, future), answer in zip(batch, answers, strict=True):
            if future.done():
                continue
            if isinstance(answer, OrchestraError):
                future.set_exception(answer)
            else:
                future.set_result(answer)
