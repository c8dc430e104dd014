"""Drawing one sample: in line, recorded, asked, repeated where that is right, and told as it comes."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

import structlog

from orchestra_cloud_proxy.domain.chunk import Chunk
from orchestra_cloud_proxy.domain.faults import Fault, Where, judge
from orchestra_cloud_proxy.domain.repeats import wait_before_repeat
from orchestra_cloud_proxy.flows.account import Account
from orchestra_cloud_proxy.flows.books import Books
from orchestra_cloud_proxy.flows.draft import Draft, Event
from orchestra_cloud_proxy.flows.gate import Ticket
from orchestra_cloud_proxy.flows.pump import pumped
from orchestra_cloud_proxy.ports import Clock, ProviderFailed
from orchestra_errors import OrchestraError, UpstreamFailed
from orchestra_rpc import current_deadline
from orchestra_telemetry import names, span

log = structlog.get_logger()
_FOREVER = 1e9


class SampleFlow:
    """`attempts_per_provider` bounds the tries of one call beside what its caller grants. `idle_s`: the
    longest silence of a provider that has begun to answer; `heartbeat_s`: the longest silence of ours."""

    def __init__(
        self,
        books: Books,
        clock: Clock,
        *,
        attempts_per_provider: int,
        heartbeat_s: float,
        idle_s: float,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.books = books
        self.clock = clock
        self._attempts_per_provider = attempts_per_provider
        self._heartbeat_s = heartbeat_s
        self._idle_s = idle_s
        self._jitter = jitter

    async def draw(self, draft: Draft, account: Account) -> AsyncGenerator[Event, None]:
        """Started, deltas and heartbeats, Finished. Raises kinds. Recorded on every way out."""
        reason = "INTERNAL"
        try:
            async with aclosing(self._tries(draft, account)) as events:
                async for event in events:
                    yield event
            done = draft.end(self.books.cost(draft))
            reason = ""
            yield done
        except OrchestraError as error:
            reason = error.reason
            if not draft.free:
                # the caller must learn that something began, or it would give the reservation back
                for event in draft.begin():
                    yield event
            raise
        except (asyncio.CancelledError, GeneratorExit):
            deadline = current_deadline()
            expired = deadline is not None and deadline.expired
            reason = reason and ("DEADLINE_EXCEEDED" if expired else "CANCELLED")
            raise
        finally:
            self.books.close(draft, reason)

    async def _tries(self, draft: Draft, account: Account) -> AsyncGenerator[Event, None]:
        job = draft.job
        allowed = max(1, min(job.attempts_left, self._attempts_per_provider))
        ends_at = self.clock() + (_FOREVER if job.bounded else account.timeout_s)
        while True:
            try:
                async with aclosing(self._try(draft, account, ends_at)) as events:
                    async for event in events:
                        yield event
                return
            except ProviderFailed as failed:
                fault, judgement = failed.fault, judge(failed.fault)
                draft.free = judgement.free
                wait = wait_before_repeat(
                    judgement,
                    tries_made=draft.tries,
                    tries_allowed=allowed if not draft.spoke else 0,
                    retry_after=fault.retry_after,
                    seconds_left=self._left(ends_at),
                    jitter=self._jitter(),
                )
            log.info(
                "try failed",
                provider=account.name,
                model=job.offering.model,
                kind=str(judgement.kind),
                status=fault.status,
                tries=draft.tries,
                next_try_s=wait,
            )
            error = UpstreamFailed(
                account.name,
                judgement.kind,
                fault.message,
                model=job.offering.model,
                retry_after=fault.retry_after,
            )
            if wait is None:
                raise error
            if not judgement.free:
                self.books.superseded(draft, error.reason)
            draft.again()
            async for event in self._pause(draft, wait):
                yield event

    async def _try(self, draft: Draft, account: Account, ends_at: float) -> AsyncGenerator[Event, None]:
        """One call to the provider. Raises ProviderFailed."""
        model = draft.job.offering.model
        account.check(model)
        with account.gate.join(model, draft.call.likely_tokens, self._left(ends_at)) as ticket:
            while not await ticket.wait(self._heartbeat_s):
                for event in draft.waiting():
                    yield event
            account.check(model)
            await self.books.open(draft)
            draft.tries += 1
            account.began(model)
            told = False
            try:
                async with aclosing(self._listen(draft, account, ticket, ends_at)) as events:
                    async for event in events:
                        yield event
                account.worked(model)
                told = True
            except ProviderFailed as failed:
                account.failed(ticket, judge(failed.fault), failed.fault.retry_after)
                told = True
                raise
            finally:
                if not told:
                    account.ended(model)
                if draft.usage is not None and draft.usage.prompt is not None:
                    ticket.used(draft.usage.prompt + (draft.usage.completion or 0))

    async def _listen(
        self, draft: Draft, account: Account, ticket: Ticket, ends_at: float
    ) -> AsyncGenerator[Event, None]:
        draft.leaves()
        heard: float | None = None
        async with pumped(lambda: _upstream(draft, account, ticket)) as box:
            while (chunks := await box.take(self._heartbeat_s)) is not None:
                now = self.clock()
                if chunks:
                    heard = now
                    for event in draft.take(chunks):
                        yield event
                    continue
                if now >= ends_at:
                    raise ProviderFailed(Fault(Where.TIMED_OUT, f"no end within {account.timeout_s:g} s"))
                if heard is not None and now - heard >= self._idle_s:
                    raise ProviderFailed(Fault(Where.TIMED_OUT, f"silent for {self._idle_s:g} s"))
                for event in draft.waiting():
                    yield event
        if draft.finish is None:
            raise ProviderFailed(Fault(Where.CUT, "the stream ended without a finish reason"))

    async def _pause(self, draft: Draft, seconds: float) -> AsyncGenerator[Event, None]:
        until = self.clock() + seconds
        while (left := until - self.clock()) > 0:
            await asyncio.sleep(min(left, self._heartbeat_s))
            if left > self._heartbeat_s:
                for event in draft.waiting():
                    yield event

    def _left(self, ends_at: float) -> float:
        deadline = current_deadline()
        left = ends_at - self.clock()
        return left if deadline is None else min(left, deadline.remaining())


async def _upstream(draft: Draft, account: Account, ticket: Ticket) -> AsyncGenerator[Chunk, None]:
    """The provider's chunks inside a span; runs in the task that reads them."""
    call, job = draft.call, draft.job
    operation = names.OPERATION_COMPLETION if call.text is not None else names.OPERATION_CHAT
    attributes = {
        names.GEN_AI_OPERATION: operation,
        names.GEN_AI_PROVIDER: account.name,
        names.GEN_AI_REQUEST_MODEL: call.provider_model,
        names.ATTEMPT_ID: draft.attempt_id,
        names.SAMPLE_ID: draft.sample_id,
        names.RUN: job.generation.run_id,
    }
    with span(names.generation_span(operation, job.offering.model), attributes) as seen:
        async with aclosing(account.provider().stream(call, ticket.key)) as chunks:
            async for chunk in chunks:
                if chunk.finish is not None:
                    seen.set_attribute(names.GEN_AI_FINISH_REASONS, [chunk.finish.value])
                if chunk.usage is not None and chunk.usage.completion is not None:
                    seen.set_attribute(names.GEN_AI_OUTPUT_TOKENS, chunk.usage.completion)
                if chunk.usage is not None and chunk.usage.prompt is not None:
                    seen.set_attribute(names.GEN_AI_INPUT_TOKENS, chunk.usage.prompt)
                yield chunk
