"""A request id is answered once: a retry replays, waits for the first, or starts anew after a failure."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from orchestra.cache.v1 import cache_service_pb2 as pb
from orchestra.cache.v1 import cache_service_pb2_grpc as pb_grpc
from orchestra.generation.v1.request_pb2 import CACHE_MODE_BYPASS, CACHE_MODE_REFRESH, CachePolicy

if TYPE_CHECKING:
    Stub = pb_grpc.CacheServiceAsyncStub

NEW, RUNNING, REPLAYED = pb.REPLAY_STATE_NEW, pb.REPLAY_STATE_RUNNING, pb.REPLAY_STATE_REPLAYED
SAME: dict[str, Any] = {"request_id": "req", "payload_digest": b"payload"}


def ids(response: pb.LookupResponse) -> list[str]:
    return [sample.sample_id for sample in response.samples]


async def test_a_retry_waits_and_then_gets_the_same_samples(stub: Stub, asker: Any) -> None:
    stored = asker.sample()
    await stub.Store(asker.store(stored))
    first = await stub.Lookup(asker.lookup(2, rollout_id="r", **SAME))
    assert (first.replay, ids(first)) == (NEW, [stored.sample_id])
    meanwhile = await stub.Lookup(asker.lookup(2, rollout_id="r", **SAME))
    assert (meanwhile.replay, ids(meanwhile), meanwhile.miss_reason) == (RUNNING, [], 0)
    new = asker.sample()
    await stub.Store(asker.store(new, rollout_id="r", replay_samples=[*first.samples, new], **SAME))
    for _ in range(2):
        after = await stub.Lookup(asker.lookup(2, rollout_id="r", **SAME))
        assert (after.replay, ids(after)) == (REPLAYED, [stored.sample_id, new.sample_id])


async def test_another_payload_under_the_same_id_is_refused(stub: Stub, asker: Any) -> None:
    await stub.Lookup(asker.lookup(**SAME))
    other = SAME | {"payload_digest": b"another"}
    for call in (stub.Lookup(asker.lookup(**other)), stub.Store(asker.store(asker.sample(), **other))):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call
        assert refused.value.code() is grpc.StatusCode.ALREADY_EXISTS
    assert (await stub.Lookup(asker.lookup())).stored_total == 0, "a refused store leaves nothing"


async def test_after_a_failure_a_retry_starts_anew(stub: Stub, asker: Any) -> None:
    await stub.Lookup(asker.lookup(**SAME))
    release = pb.ReleaseRequest(tenant=asker.tenant, request_id="req")
    assert (await stub.Release(release)).released
    assert not (await stub.Release(release)).released
    assert (await stub.Lookup(asker.lookup(**SAME))).replay == NEW


async def test_a_late_release_does_not_take_an_answer_away(stub: Stub, asker: Any) -> None:
    await stub.Lookup(asker.lookup(**SAME))
    await stub.Store(asker.store(asker.sample(), **SAME))
    assert not (await stub.Release(pb.ReleaseRequest(tenant=asker.tenant, request_id="req"))).released
    assert (await stub.Lookup(asker.lookup(**SAME))).replay == REPLAYED


async def test_the_first_answer_stays(stub: Stub, asker: Any) -> None:
    one, two = asker.sample(), asker.sample()
    for sample in (one, two):
        await stub.Store(asker.store(sample, **SAME))
    assert ids(await stub.Lookup(asker.lookup(**SAME))) == [one.sample_id]


async def test_bypass_replays_but_neither_serves_nor_stores(stub: Stub, asker: Any) -> None:
    await stub.Store(asker.store(asker.sample()))
    bypass = asker.subject(cache=CachePolicy(mode=CACHE_MODE_BYPASS))
    first = await stub.Lookup(asker.lookup(subject=bypass, **SAME))
    assert (first.replay, ids(first)) == (NEW, [])
    drawn = asker.sample()
    # the router's own form when nothing was drawn at a target: no model is named
    only = pb.StoreRequest(
        subject=pb.Subject(tenant=asker.tenant), replay_only=True, replay_samples=[drawn], **SAME
    )
    await stub.Store(only)
    assert ids(await stub.Lookup(asker.lookup(subject=bypass, **SAME))) == [drawn.sample_id]
    assert (await stub.Lookup(asker.lookup())).stored_total == 1


async def test_a_retry_of_a_refresh_forgets_nothing(stub: Stub, asker: Any) -> None:
    refresh = asker.subject(cache=CachePolicy(mode=CACHE_MODE_REFRESH))
    await stub.Lookup(asker.lookup(subject=refresh, **SAME))
    await stub.Store(asker.store(asker.sample(), subject=refresh, **SAME))
    assert (await stub.Lookup(asker.lookup(subject=refresh, **SAME))).replay == REPLAYED
    assert (await stub.Lookup(asker.lookup())).stored_total == 1


async def test_of_many_at_once_one_is_new(stub: Stub, asker: Any) -> None:
    answers = await asyncio.gather(*(stub.Lookup(asker.lookup(**SAME)) for _ in range(20)))
    assert sorted(answer.replay for answer in answers) == [NEW] + [RUNNING] * 19


async def test_a_lookup_that_nobody_waits_for_leaves_no_open_record(
    stub: Stub, asker: Any, service: Any
) -> None:
    """A router that gave up does not know that it opened the record, so it will never close it."""
    with service.redis as redis:
        redis.client_pause(300)
        with pytest.raises(grpc.aio.AioRpcError) as late:
            await stub.Lookup(asker.lookup(**SAME), timeout=0.1)
        assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        redis.client_unpause()
    async with asyncio.timeout(5):
        while (await stub.Lookup(asker.lookup(**SAME))).replay != NEW:
            pass


async def test_a_damaged_record_is_answered_anew(stub: Stub, asker: Any, service: Any) -> None:
    await stub.Store(asker.store(asker.sample(), **SAME))
    with service.redis as redis:
        # its id stands in the small, uncompressed value
        records = redis.scan_iter("oc:p:*", count=1000)
        (record,) = [name for name in records if asker.tenant.encode() in (redis.hget(name, "s1") or b"")]
        redis.hset(record, "s1", b"\x01\x00broken")
    found = await stub.Lookup(asker.lookup(**SAME))
    assert found.replay == NEW
    assert len(found.samples) == 1, "the draw itself is still in its set"


async def test_stored_and_replayed_draws_are_counted(stub: Stub, asker: Any) -> None:
    before = await stub.GetStats(pb.GetStatsRequest())
    await stub.Store(asker.store(asker.sample(cost=5), asker.sample(cost=None), **SAME))
    await stub.Lookup(asker.lookup(3))
    await stub.Lookup(asker.lookup(2, **SAME))
    await stub.Lookup(asker.lookup(1, subject=asker.subject("never asked")))
    # the count of what is stored is kept for a second, but not over a change
    await stub.Invalidate(pb.InvalidateRequest(tenant="nobody"))
    after = await stub.GetStats(pb.GetStatsRequest())

    def grew(name: str) -> int:
        return int(getattr(after, name) - getattr(before, name))

    names = ("lookups", "draws_wanted", "draws_served", "replays", "draws_stored", "saved_nanos")
    assert [grew(name) for name in names] == [3, 4, 2, 1, 2, 5]
    assert (grew("served_without_cost"), grew("sets"), grew("samples")) == (1, 1, 2)
    assert after.misses_by_reason["never_stored"] - before.misses_by_reason["never_stored"] == 1
    assert after.misses_by_reason["too_few"] - before.misses_by_reason["too_few"] == 1
    assert after.store.startswith("embedded, valkey ")
    assert 0 < after.bytes < after.max_bytes
    assert after.since.seconds > 0
