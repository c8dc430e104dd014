"""CacheService: message to value, one flow, value to message."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

import grpc

from orchestra.cache.v1 import cache_service_pb2 as pb
from orchestra.cache.v1 import cache_service_pb2_grpc as pb_grpc
from orchestra.generation.v1 import event_pb2
from orchestra_cache.domain.counters import Counters
from orchestra_cache.domain.draws import Lease
from orchestra_cache.flows.inventory import Inventory
from orchestra_cache.flows.keep import Keep
from orchestra_cache.flows.lookup import Lookup
from orchestra_cache.flows.single_flight import SingleFlight
from orchestra_cache.rpc import convert, flights
from orchestra_errors import InvalidRequest, OrchestraError, Violations
from orchestra_rpc import pack_status

MOST_ITEMS = 1024
_M = TypeVar("_M")
_V = TypeVar("_V")


@dataclass(slots=True)
class CacheServicer(pb_grpc.CacheServiceServicer):
    lookup: Lookup
    keep: Keep
    flight: SingleFlight
    inventory: Inventory
    counters: Counters
    since: datetime

    async def Lookup(
        self,
        request: pb.LookupRequest,
        context: grpc.aio.ServicerContext[pb.LookupRequest, pb.LookupResponse],
    ) -> pb.LookupResponse:
        wish = convert.read_lookup(request)
        (answer,) = await self.lookup([wish])
        if isinstance(answer, OrchestraError):
            raise answer
        return convert.write_lookup(wish, answer)

    async def BatchLookup(
        self,
        request: pb.BatchLookupRequest,
        context: grpc.aio.ServicerContext[pb.BatchLookupRequest, pb.BatchLookupResponse],
    ) -> pb.BatchLookupResponse:
        _check_size("lookups", len(request.lookups))
        read = _each(request.lookups, convert.read_lookup)
        wishes = [one for one in read if not isinstance(one, OrchestraError)]
        answers = iter(await self.lookup(wishes) if wishes else ())
        response = pb.BatchLookupResponse()
        for one in read:
            if isinstance(one, OrchestraError):
                response.outcomes.add(failed=_failed(one))
                continue
            answer = next(answers)
            if isinstance(answer, OrchestraError):
                response.outcomes.add(failed=_failed(answer))
            else:
                response.outcomes.add(found=convert.write_lookup(one, answer))
        return response

    async def Store(
        self, request: pb.StoreRequest, context: grpc.aio.ServicerContext[pb.StoreRequest, pb.StoreResponse]
    ) -> pb.StoreResponse:
        (kept,) = await self.keep([convert.read_store(request)])
        if isinstance(kept, OrchestraError):
            raise kept
        return pb.StoreResponse(stored=kept.stored, duplicates=kept.duplicates)

    async def BatchStore(
        self,
        request: pb.BatchStoreRequest,
        context: grpc.aio.ServicerContext[pb.BatchStoreRequest, pb.BatchStoreResponse],
    ) -> pb.BatchStoreResponse:
        _check_size("stores", len(request.stores))
        read = _each(request.stores, convert.read_store)
        deposits = [one for one in read if not isinstance(one, OrchestraError)]
        kept = iter(await self.keep(deposits) if deposits else ())
        response = pb.BatchStoreResponse()
        for one in read:
            done = one if isinstance(one, OrchestraError) else next(kept)
            if isinstance(done, OrchestraError):
                response.outcomes.add(failed=_failed(done))
            else:
                response.outcomes.add(stored=pb.StoreResponse(stored=done.stored, duplicates=done.duplicates))
        return response

    async def Acquire(
        self,
        request: pb.AcquireRequest,
        context: grpc.aio.ServicerContext[pb.AcquireRequest, pb.AcquireResponse],
    ) -> pb.AcquireResponse:
        key, owner, ms = flights.read_acquire(request)
        got = await self.flight.acquire(key, owner, ms)
        if isinstance(got, Lease):
            return pb.AcquireResponse(lease=flights.write_lease(got))
        return pb.AcquireResponse(holder=got)

    async def Release(
        self,
        request: pb.ReleaseRequest,
        context: grpc.aio.ServicerContext[pb.ReleaseRequest, pb.ReleaseResponse],
    ) -> pb.ReleaseResponse:
        replay = flights.read_release(request)
        return pb.ReleaseResponse(released=await self.flight.release(request.key, request.fence, replay))

    async def Publish(
        self,
        requests: AsyncIterator[pb.PublishRequest],
        context: grpc.aio.ServicerContext[pb.PublishRequest, pb.PublishResponse],
    ) -> pb.PublishResponse:
        published = 0
        async for request in requests:
            piece = flights.read_publish(request)
            published = await self.flight.publish(
                request.key, request.fence, piece.events, piece.count, piece.last
            )
        return pb.PublishResponse(published=published)

    async def Follow(
        self,
        request: pb.FollowRequest,
        context: grpc.aio.ServicerContext[pb.FollowRequest, pb.FollowResponse],
    ) -> AsyncIterator[pb.FollowResponse]:
        flights.check_follow(request)
        async for first, events in self.flight.follow(request.key, request.offset):
            yield flights.write_followed(first, events, request.offset)

    async def Invalidate(
        self,
        request: pb.InvalidateRequest,
        context: grpc.aio.ServicerContext[pb.InvalidateRequest, pb.InvalidateResponse],
    ) -> pb.InvalidateResponse:
        gone = await self.inventory.forget(convert.read_invalidate(request))
        return pb.InvalidateResponse(sets=gone.sets, samples=gone.samples)

    async def GetStats(
        self,
        request: pb.GetStatsRequest,
        context: grpc.aio.ServicerContext[pb.GetStatsRequest, pb.GetStatsResponse],
    ) -> pb.GetStatsResponse:
        return convert.write_stats(self.counters, await self.inventory.holdings(), self.since)


def _check_size(field: str, count: int) -> None:
    v = Violations()
    v.require(1 <= count <= MOST_ITEMS, field, f"must have 1 to {MOST_ITEMS:,} items, has {count}")
    v.raise_if_any()


def _each(messages: Sequence[_M], read: Callable[[_M], _V]) -> list[_V | OrchestraError]:
    """Every message as a value, or what is wrong with it."""
    values: list[_V | OrchestraError] = []
    for message in messages:
        try:
            values.append(read(message))
        except InvalidRequest as error:
            values.append(error)
    return values


def _failed(error: OrchestraError) -> event_pb2.SampleFailed:
    return event_pb2.SampleFailed(status=pack_status(error))
