"""Cache, cost-ledger and model-manager: enough of their contracts to see what the router does with them."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Any

from scripted_node import Node

from orchestra.cache.v1 import cache_service_pb2 as cache_pb
from orchestra.cache.v1 import cache_service_pb2_grpc as cache_grpc
from orchestra.generation.v1 import request_pb2
from orchestra.ledger.v1 import cost_ledger_service_pb2 as ledger_pb
from orchestra.ledger.v1 import cost_ledger_service_pb2_grpc as ledger_grpc
from orchestra.ledger.v1 import entry_pb2
from orchestra.models.v1 import model_manager_service_pb2 as manager_pb
from orchestra.models.v1 import model_manager_service_pb2_grpc as manager_grpc
from orchestra.models.v1 import model_pb2


class Cache(cache_grpc.CacheServiceServicer):
    """Sample sets in a dict: enough of the contract to see what the router does with it."""

    def __init__(self) -> None:
        self.sets: dict[tuple[str, str], list[cache_pb.StoredSample]] = defaultdict(list)
        self.served: dict[tuple[tuple[str, str], str], set[str]] = defaultdict(set)
        self.replays: dict[str, tuple[bytes, list[cache_pb.StoredSample] | None]] = {}
        self.lookups = 0
        self.lookup_calls = 0
        self.stores: list[cache_pb.StoreRequest] = []
        self.stored = asyncio.Event()
        self.released: list[str] = []
        self.hold: asyncio.Event | None = None

    async def Lookup(self, request: cache_pb.LookupRequest, context: Any) -> cache_pb.LookupResponse:
        self.lookup_calls += 1
        return await self._lookup(request)

    async def BatchLookup(
        self, request: cache_pb.BatchLookupRequest, context: Any
    ) -> cache_pb.BatchLookupResponse:
        self.lookup_calls += 1
        found = [await self._lookup(one) for one in request.lookups]
        return cache_pb.BatchLookupResponse(outcomes=[cache_pb.LookupOutcome(found=one) for one in found])

    async def _lookup(self, request: cache_pb.LookupRequest) -> cache_pb.LookupResponse:
        if self.hold is not None:
            await self.hold.wait()
        self.lookups += 1
        answer = cache_pb.LookupResponse(replay=cache_pb.REPLAY_STATE_NEW)
        if request.request_id:
            known = self.replays.get(request.request_id)
            if known is not None and known[1] is None:
                answer.replay = cache_pb.REPLAY_STATE_RUNNING
                return answer
            if known is not None and known[1] is not None:
                answer.replay = cache_pb.REPLAY_STATE_REPLAYED
                answer.samples.extend(known[1])
                return answer
            self.replays[request.request_id] = (request.payload_digest, None)
        if request.subject.generation.cache.mode == request_pb2.CACHE_MODE_BYPASS:
            return answer
        key = _key(request.subject)
        served = self.served[key, request.rollout_id] if request.rollout_id else set()
        for position, sample in enumerate(self.sets[key], start=1):
            if sample.sample_id not in served and len(answer.samples) < request.n:
                served.add(sample.sample_id)
                copy = answer.samples.add()
                copy.CopyFrom(sample)
                copy.position, copy.total = position, len(self.sets[key])
        return answer

    async def Store(self, request: cache_pb.StoreRequest, context: Any) -> cache_pb.StoreResponse:
        self._store(request)
        return cache_pb.StoreResponse(stored=len(request.samples))

    async def BatchStore(
        self, request: cache_pb.BatchStoreRequest, context: Any
    ) -> cache_pb.BatchStoreResponse:
        for one in request.stores:
            self._store(one)
        return cache_pb.BatchStoreResponse(
            outcomes=[cache_pb.StoreOutcome(stored=cache_pb.StoreResponse()) for _ in request.stores]
        )

    def _store(self, request: cache_pb.StoreRequest) -> None:
        self.stores.append(request)
        key = _key(request.subject)
        for sample in request.samples:
            self.sets[key].append(sample)
            if request.rollout_id:
                self.served[key, request.rollout_id].add(sample.sample_id)
        if request.request_id:
            self.replays[request.request_id] = (request.payload_digest, list(request.replay_samples))
        self.stored.set()

    async def Release(self, request: cache_pb.ReleaseRequest, context: Any) -> cache_pb.ReleaseResponse:
        self.released.append(request.request_id)
        self.replays.pop(request.request_id, None)
        self.stored.set()
        return cache_pb.ReleaseResponse(released=True)


def _key(subject: cache_pb.Subject) -> tuple[str, str]:
    return subject.model, subject.generation.text or str(subject.generation.chat)


class Ledger(ledger_grpc.CostLedgerServiceServicer):
    """Keeps entries; grants reservations until told otherwise."""

    def __init__(self) -> None:
        self.entries: dict[str, entry_pb2.UsageEntry] = {}
        self.feedback: list[entry_pb2.Feedback] = []
        self.reserved: list[ledger_pb.ReservationWish] = []
        self.released: list[str] = []
        self.refusal: ledger_pb.ReservationRefusal | None = None
        self.came = asyncio.Condition()

    async def RecordUsage(
        self, request: ledger_pb.RecordUsageRequest, context: Any
    ) -> ledger_pb.RecordUsageResponse:
        async with self.came:
            for entry in request.entries:
                self.entries.setdefault(entry.attempt_id, entry)
            self.feedback.extend(request.feedback)
            self.came.notify_all()
        return ledger_pb.RecordUsageResponse(
            recorded=len(request.entries), feedback_recorded=len(request.feedback)
        )

    async def Settle(self, request: ledger_pb.SettleRequest, context: Any) -> ledger_pb.SettleResponse:
        return ledger_pb.SettleResponse()

    async def until(self, count: int) -> list[entry_pb2.UsageEntry]:
        """Wait until so many entries are there; they come in the order of their attempts."""
        async with asyncio.timeout(10), self.came:
            await self.came.wait_for(lambda: len(self.entries) >= count)
        return sorted(self.entries.values(), key=lambda entry: entry.attempt_id)

    async def Reserve(self, request: ledger_pb.ReserveRequest, context: Any) -> ledger_pb.ReserveResponse:
        answer = ledger_pb.ReserveResponse()
        for wish in request.wishes:
            self.reserved.append(wish)
            if self.refusal is not None:
                answer.outcomes.add(refusal=self.refusal)
            else:
                answer.outcomes.add(reservation=entry_pb2.Reservation(reservation_id=f"r-{wish.attempt_id}"))
        return answer

    async def Release(self, request: ledger_pb.ReleaseRequest, context: Any) -> ledger_pb.ReleaseResponse:
        async with self.came:
            self.released.extend(request.reservation_ids)
            self.came.notify_all()
        return ledger_pb.ReleaseResponse(released=len(request.reservation_ids))

    async def ListPrices(
        self, request: ledger_pb.ListPricesRequest, context: Any
    ) -> ledger_pb.ListPricesResponse:
        local = entry_pb2.Price(
            price_version="local-1", provider="local", model="*", electricity_nanos_per_kwh=100_000_000
        )
        gpt = entry_pb2.Price(
            price_version="gpt-1",
            provider="openai",
            model="gpt-4o",
            input_nanos_per_million=2_500_000_000,
            output_nanos_per_million=10_000_000_000,
        )
        for price in (local, gpt):
            price.valid_from.FromSeconds(1)
        return ledger_pb.ListPricesResponse(prices=[local, gpt])

    async def QueryCosts(
        self, request: ledger_pb.QueryCostsRequest, context: Any
    ) -> ledger_pb.QueryCostsResponse:
        wanted = request.filter.run_id
        by_run: dict[str, entry_pb2.CostBucket] = {}
        for entry in self.entries.values():
            if wanted and entry.run_id != wanted:
                continue
            key = entry.run_id if request.group_by else ""
            bucket = by_run.setdefault(key, entry_pb2.CostBucket(keys=[key] if request.group_by else []))
            bucket.attempts += 1
            bucket.samples_finished += entry.finish_reason != 0
            bucket.cost_nanos += entry.cost.nanos
        return ledger_pb.QueryCostsResponse(buckets=list(by_run.values()))


class Manager(manager_grpc.ModelManagerServiceServicer):
    """Sends the placements of the nodes that it was given, and again on `publish`."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.extra: list[model_pb2.Placement] = []
        self.phase = "phase_2_context_engineering"
        self._version = 0
        self._changed = asyncio.Condition()

    async def WatchPlacements(self, request: manager_pb.WatchPlacementsRequest, context: Any) -> Any:
        seen = -1
        while True:
            async with self._changed:
                await self._changed.wait_for(lambda before=seen: self._version != before)
                seen = self._version
            placements = [*(node.placement() for node in self.nodes), *self.extra]
            yield manager_pb.WatchPlacementsResponse(
                placements=placements, version=seen, manager_instance_id="m", phase=self.phase
            )

    async def publish(self) -> None:
        async with self._changed:
            self._version += 1
            self._changed.notify_all()
