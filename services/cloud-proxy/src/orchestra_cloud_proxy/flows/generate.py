"""n samples of one prompt, each drawn by a call of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing

import structlog

from orchestra_cloud_proxy.flows.account import Account
from orchestra_cloud_proxy.flows.draft import Draft, Event
from orchestra_cloud_proxy.flows.job import Job
from orchestra_cloud_proxy.flows.mailbox import Mailbox
from orchestra_cloud_proxy.flows.sample import SampleFlow
from orchestra_cloud_proxy.flows.wording import to_usage
from orchestra_errors import Cancelled, Internal, OrchestraError
from orchestra_rpc import pack_status

log = structlog.get_logger()
READY_AT_MOST = 256
Put = Callable[[Event], Awaitable[None]]


class GenerateFlow:
    """Looks the account up by the offering's provider."""

    def __init__(self, accounts: Mapping[str, Account], sample: SampleFlow) -> None:
        self._accounts = accounts
        self._sample = sample

    async def run(self, job: Job) -> AsyncGenerator[Event, None]:
        """A lone sample's failure is raised; of several, each that fails is told by a SampleFailed."""
        account = self._account(job)
        if job.n == 1:
            async with aclosing(self._sample.draw(self._draft(job, job.first_index), account)) as events:
                async for event in events:
                    yield event
            return
        box: Mailbox[Event] = Mailbox(READY_AT_MOST)
        work = asyncio.get_running_loop().create_task(self._fill(job, box), name="samples")
        try:
            while (events_ready := await box.take()) is not None:
                for event in events_ready:
                    yield event
        finally:
            box.abandon()
            work.cancel()
            await asyncio.wait([work])

    async def _fill(self, job: Job, box: Mailbox[Event]) -> None:
        try:
            await self.into(job, box.put)
        except Exception as error:
            box.close(error)
        else:
            box.close()

    async def into(self, job: Job, put: Put) -> None:
        """Every sample's events into `put`, failures as SampleFailed; returns when all have ended. Raises
        NotYet. Cancelling it ends every upstream call."""
        account = self._account(job)
        async with asyncio.TaskGroup() as group:
            for index in job.indexes:
                group.create_task(self._one(self._draft(job, index), account, put))

    async def _one(self, draft: Draft, account: Account, put: Put) -> None:
        try:
            async with aclosing(self._sample.draw(draft, account)) as events:
                async for event in events:
                    await put(event)
        except OrchestraError as error:
            await put(self._failed(draft, error))
        except Exception as mistake:
            log.error("unexpected failure", attempt_id=draft.attempt_id, exc_info=mistake)
            await put(self._failed(draft, Internal(draft.job.trace_id)))

    def _failed(self, draft: Draft, error: OrchestraError) -> Event:
        event = failed(draft.index, error)
        told = event.sample_failed
        if draft.usage is not None:
            told.usage.CopyFrom(to_usage(draft.usage))
        if not draft.free:
            told.cost.CopyFrom(self._sample.books.cost(draft))
        told.provenance.CopyFrom(draft.provenance())
        return event

    def _account(self, job: Job) -> Account:
        account = self._accounts[job.offering.provider]
        account.provider()
        return account

    def _draft(self, job: Job, index: int) -> Draft:
        version = self._sample.books.price_version(job.offering.provider, job.offering.model)
        return Draft(job, index, version, self._sample.clock)


def failed(index: int, error: OrchestraError) -> Event:
    """SampleFailed of a sample of which nothing more is known."""
    event = Event(sample_index=index)
    event.sample_failed.status.CopyFrom(pack_status(error))
    return event


def cancelled(index: int) -> Event:
    """The caller took the item back."""
    return failed(index, Cancelled("the item"))
