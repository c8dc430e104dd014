"""The cache over gRPC. A lookup has a budget: a cache that is slow is as good as none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from orchestra.cache.v1 import cache_service_pb2 as pb
from orchestra_errors import OrchestraError
from orchestra_rpc import call_unary, unpack_status

if TYPE_CHECKING:
    from orchestra.cache.v1.cache_service_pb2_grpc import CacheServiceAsyncStub

STORE_S = 5.0


class CacheClient:
    """Implements the port Cache."""

    def __init__(self, stub: CacheServiceAsyncStub, budget_s: float, batch_budget_s: float) -> None:
        self._stub = stub
        self._budget_s = budget_s
        self._batch_budget_s = batch_budget_s

    async def lookup(self, request: pb.LookupRequest) -> pb.LookupResponse:
        return await call_unary(self._stub.Lookup(request, timeout=self._budget_s))

    async def lookup_many(
        self, requests: Sequence[pb.LookupRequest]
    ) -> Sequence[pb.LookupResponse | OrchestraError]:
        call = self._stub.BatchLookup(pb.BatchLookupRequest(lookups=requests), timeout=self._batch_budget_s)
        answer = await call_unary(call)
        return [
            outcome.found if outcome.HasField("found") else unpack_status(outcome.failed.status)
            for outcome in answer.outcomes
        ]

    async def store_many(self, requests: Sequence[pb.StoreRequest]) -> None:
        if len(requests) == 1:
            await call_unary(self._stub.Store(requests[0], timeout=STORE_S))
            return
        answer = await call_unary(
            self._stub.BatchStore(pb.BatchStoreRequest(stores=requests), timeout=STORE_S)
        )
        failed = [unpack_status(one.failed.status) for one in answer.outcomes if one.HasField("failed")]
        if failed:
            raise failed[0]

    async def release(self, tenant: str, request_id: str) -> None:
        await call_unary(
            self._stub.Release(pb.ReleaseRequest(tenant=tenant, request_id=request_id), timeout=STORE_S)
        )
