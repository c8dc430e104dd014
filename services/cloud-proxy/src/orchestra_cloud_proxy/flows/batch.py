"""Many requests on one stream: each runs by itself, their events leave together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass
from functools import partial

from orchestra_cloud_proxy.flows.draft import Event
from orchestra_cloud_proxy.flows.generate import GenerateFlow, cancelled, failed
from orchestra_cloud_proxy.flows.job import Job
from orchestra_cloud_proxy.flows.mailbox import Mailbox
from orchestra_errors import OrchestraError

READY_AT_MOST = 1024
ITEMS_AT_MOST = 4096
_ENDS = ("finished", "sample_failed")
Labelled = tuple[str, Event]


@dataclass(frozen=True, slots=True)
class Ask:
    """One item: a job, or why it cannot be one, told for each of `indexes`."""

    label: str
    job: Job | None
    indexes: Sequence[int]
    error: OrchestraError | None = None


@dataclass(frozen=True, slots=True)
class Withdraw:
    """The caller takes an item back. One that has ended, or was never there, is no error."""

    label: str


class BatchFlow:
    """At most `ITEMS_AT_MOST` items run at a time: then nothing more is read."""

    def __init__(self, generate: GenerateFlow) -> None:
        self._generate = generate

    async def run(
        self, incoming: AsyncIterator[Sequence[Ask | Withdraw]]
    ) -> AsyncGenerator[list[Labelled], None]:
        """Whatever is ready, together. Ends when the input has ended and every item has."""
        box: Mailbox[Labelled] = Mailbox(READY_AT_MOST)
        work = asyncio.get_running_loop().create_task(self._read(incoming, box), name="batch")
        try:
            while (ready := await box.take()) is not None:
                yield ready
        finally:
            box.abandon()
            work.cancel()
            await asyncio.wait([work])

    async def _read(self, incoming: AsyncIterator[Sequence[Ask | Withdraw]], box: Mailbox[Labelled]) -> None:
        running: dict[str, asyncio.Task[None]] = {}
        places = asyncio.Semaphore(ITEMS_AT_MOST)
        try:
            async with asyncio.TaskGroup() as group:
                async for message in incoming:
                    for one in message:
                        if isinstance(one, Withdraw):
                            if one.label in running:
                                running[one.label].cancel()
                            continue
                        await places.acquire()
                        running[one.label] = group.create_task(self._item(one, box))
                        running[one.label].add_done_callback(partial(_left, running, one.label, places))
        except OrchestraError as error:
            box.close(error)
        except ExceptionGroup as several:
            box.close(several.exceptions[0])
        else:
            box.close()

    async def _item(self, ask: Ask, box: Mailbox[Labelled]) -> None:
        left = set(ask.indexes)

        async def put(event: Event) -> None:
            if event.WhichOneof("event") in _ENDS:
                left.discard(event.sample_index)
            await box.put((ask.label, event))

        try:
            if ask.job is not None:
                await self._generate.into(ask.job, put)
            elif ask.error is not None:
                raise ask.error
        except OrchestraError as error:
            for index in sorted(left):
                await box.put((ask.label, failed(index, error)))
        except asyncio.CancelledError:
            # taken back by the caller, or the whole stream is ending and nobody reads any more
            for index in sorted(left):
                await box.put((ask.label, cancelled(index)))
            raise


def _left(
    running: dict[str, asyncio.Task[None]], label: str, places: asyncio.Semaphore, task: asyncio.Task[None]
) -> None:
    places.release()
    if running.get(label) is task:
        del running[label]
