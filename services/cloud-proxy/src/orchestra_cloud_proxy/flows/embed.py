"""Vectors of texts, from a provider that has them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from math import sqrt

from orchestra.generation.v1 import embedding_pb2
from orchestra_cloud_proxy.domain.faults import Fault, Where, judge
from orchestra_cloud_proxy.flows.account import Account
from orchestra_cloud_proxy.flows.books import Books
from orchestra_cloud_proxy.flows.draft import Draft
from orchestra_cloud_proxy.flows.job import Job
from orchestra_cloud_proxy.ports import Clock, Embedded, ProviderFailed
from orchestra_errors import OrchestraError, UpstreamFailed
from orchestra_rpc import current_deadline


class EmbedFlow:
    """One call for all texts, asked for once: a caller repeats a unary call by itself."""

    def __init__(self, accounts: Mapping[str, Account], books: Books, clock: Clock) -> None:
        self._accounts = accounts
        self._books = books
        self._clock = clock

    async def run(self, job: Job, texts: Sequence[str]) -> list[embedding_pb2.Embedding]:
        """In the order of the texts, each of unit length. Raises kinds; recorded on every way out."""
        account = self._accounts[job.offering.provider]
        account.provider()
        version = self._books.price_version(job.offering.provider, job.offering.model)
        draft = Draft(job, job.first_index, version, self._clock)
        reason = "INTERNAL"
        try:
            found = await self._ask(draft, account, texts)
            reason = ""
        except OrchestraError as error:
            reason = error.reason
            raise
        except asyncio.CancelledError:
            reason = "CANCELLED"
            raise
        finally:
            self._books.close(draft, reason)
        alone = found.usage.prompt if found.usage is not None and len(texts) == 1 else None
        return [_embedding(vector, alone) for vector in found.vectors]

    async def _ask(self, draft: Draft, account: Account, texts: Sequence[str]) -> Embedded:
        model = draft.job.offering.model
        deadline = current_deadline()
        left = account.timeout_s if deadline is None else deadline.remaining()
        account.check(model)
        with account.gate.join(model, draft.call.likely_tokens, left) as ticket:
            while not await ticket.wait(left):
                pass
            await self._books.open(draft)
            draft.tries = 1
            draft.leaves()
            account.began(model)
            try:
                async with asyncio.timeout(account.timeout_s):
                    found = await account.provider().embed(
                        draft.job.offering.provider_model, texts, ticket.key
                    )
            except (ProviderFailed, TimeoutError) as failed:
                fault = failed.fault if isinstance(failed, ProviderFailed) else Fault(Where.TIMED_OUT)
                judgement = judge(fault)
                draft.free = judgement.free
                account.failed(ticket, judgement, fault.retry_after)
                raise UpstreamFailed(
                    account.name,
                    judgement.kind,
                    fault.message,
                    model=model,
                    retry_after=fault.retry_after,
                ) from None
            except asyncio.CancelledError:
                account.ended(model)
                raise
            account.worked(model)
            draft.usage = found.usage
            if found.usage is not None and found.usage.prompt is not None:
                ticket.used(found.usage.prompt)
            return found


def _embedding(vector: Sequence[float], tokens: int | None) -> embedding_pb2.Embedding:
    length = sqrt(sum(value * value for value in vector)) or 1.0
    embedding = embedding_pb2.Embedding(values=[value / length for value in vector])
    if tokens is not None:
        embedding.tokens = tokens
    return embedding
