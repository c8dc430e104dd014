"""Sets of independent draws: in stored order, at most once per rollout, under one tenant."""

from __future__ import annotations

import asyncio
import random
import struct
import uuid
from collections import Counter
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestra.cache.v1 import cache_service_pb2 as pb
from orchestra.cache.v1 import cache_service_pb2_grpc as pb_grpc
from orchestra.generation.v1 import event_pb2
from orchestra.generation.v1.request_pb2 import (
    CACHE_MODE_BYPASS,
    CACHE_MODE_READ_ONLY,
    CACHE_MODE_REFRESH,
    CACHE_MODE_WRITE_ONLY,
    CachePolicy,
)
from orchestra.generation.v1.sampling_pb2 import Sampling
from orchestra_rpc import unpack_status

if TYPE_CHECKING:
    Stub = pb_grpc.CacheServiceAsyncStub
GREEDY = Sampling(temperature=0)


def ids(response: pb.LookupResponse) -> list[str]:
    return [sample.sample_id for sample in response.samples]


async def test_stored_draws_come_back_whole_and_in_order(stub: Stub, asker: Any) -> None:
    samples = [asker.sample("same"), asker.sample("same"), asker.sample("x" * 5000)]
    assert (await stub.Store(asker.store(*samples))).stored == 3
    found = await stub.Lookup(asker.lookup(5))
    assert ids(found) == [sample.sample_id for sample in samples], "equal texts stay separate draws"
    assert [list(one.events) for one in found.samples] == [list(one.events) for one in samples]
    assert [(one.position, one.total) for one in found.samples] == [(1, 3), (2, 3), (3, 3)]
    assert all(one.HasField("stored_at") for one in found.samples)
    assert (found.stored_total, found.miss_reason) == (3, pb.MISS_REASON_TOO_FEW)


async def test_a_rollout_is_served_each_draw_once(stub: Stub, asker: Any) -> None:
    await stub.Store(asker.store(*(asker.sample() for _ in range(5))))
    first = await stub.Lookup(asker.lookup(2, rollout_id="r"))
    second = await stub.Lookup(asker.lookup(2, rollout_id="r"))
    other = await stub.Lookup(asker.lookup(2, rollout_id="s"))
    nobody = [await stub.Lookup(asker.lookup(2)) for _ in range(2)]
    third = await stub.Lookup(asker.lookup(2, rollout_id="r"))
    assert len({*ids(first), *ids(second), *ids(third)}) == 5
    assert third.miss_reason == pb.MISS_REASON_SERVED_TO_ROLLOUT
    assert ids(other) == ids(first) == ids(nobody[0]) == ids(nobody[1]), "without a rollout nothing is kept"


async def test_what_a_rollout_drew_itself_is_not_served_to_it(stub: Stub, asker: Any) -> None:
    mine = asker.sample()
    await stub.Store(asker.store(mine, rollout_id="r"))
    await stub.Store(asker.store(asker.sample(), rollout_id="s"))
    found = await stub.Lookup(asker.lookup(2, rollout_id="r"))
    assert len(found.samples) == 1
    assert mine.sample_id not in ids(found)


async def test_storing_twice_stores_once(stub: Stub, asker: Any) -> None:
    samples = [asker.sample(), asker.sample()]
    await stub.Store(asker.store(samples[0]))
    again = await stub.Store(asker.store(*samples))
    assert (again.stored, again.duplicates) == (1, 1)
    assert (await stub.Lookup(asker.lookup(9))).stored_total == 2


ACTIONS = st.lists(
    st.tuples(st.integers(0, 49), st.integers(1, 16), st.booleans()), min_size=20, max_size=120
)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(actions=ACTIONS, together=st.integers(1, 16), seed=st.integers(0, 2**16))
async def test_no_interleaving_serves_a_rollout_one_draw_twice(
    stub: Stub, asker: Any, actions: list[tuple[int, int, bool]], together: int, seed: int
) -> None:
    """Rollouts look up, top up with draws of their own and store them, in any order and at the same time."""
    asker = type(asker)()
    had: dict[int, list[str]] = {}
    made: list[str] = []

    async def step(rollout: int, n: int, tops_up: bool) -> None:
        found = await stub.Lookup(asker.lookup(n, rollout_id=f"r{rollout}"))
        had.setdefault(rollout, []).extend(ids(found))
        assert len(found.samples) <= n
        positions = [sample.position for sample in found.samples]
        assert positions == sorted(positions), "served in stored order"
        if tops_up and len(found.samples) < n:
            new = [asker.sample(random.Random(seed).choice("abc")) for _ in range(n - len(found.samples))]
            had[rollout].extend(sample.sample_id for sample in new)
            made.extend(sample.sample_id for sample in new)
            await stub.Store(asker.store(*new, rollout_id=f"r{rollout}"))

    for at in range(0, len(actions), together):
        await asyncio.gather(*(step(*action) for action in actions[at : at + together]))
    for rollout, served in had.items():
        assert len(served) == len(set(served)), f"rollout {rollout} was served a draw twice"
    everything = await stub.Lookup(asker.lookup(4096))
    assert Counter(ids(everything)) == Counter(made), "every draw is kept once"


async def test_served_texts_have_the_distribution_of_the_draws(stub: Stub, asker: Any) -> None:
    texts = ["a"] * 6 + ["b"] * 3 + ["c"]
    random.Random(1).shuffle(texts)
    await stub.Store(asker.store(*(asker.sample(text) for text in texts)))
    answers = await asyncio.gather(*(stub.Lookup(asker.lookup(10, rollout_id=str(i))) for i in range(20)))
    seen = Counter(one.events[1].text_delta.text for answer in answers for one in answer.samples)
    assert seen == {"a": 120, "b": 60, "c": 20}


async def test_two_tenants_never_meet(stub: Stub, asker: Any) -> None:
    other = type(asker)()
    await stub.Store(asker.store(asker.sample("secret"), request_id="same", payload_digest=b"1"))
    found = await stub.Lookup(other.lookup(1, request_id="same", payload_digest=b"2"))
    assert (list(found.samples), found.replay) == ([], pb.REPLAY_STATE_NEW)
    assert found.miss_reason == pb.MISS_REASON_NEVER_STORED


@pytest.mark.parametrize("change", [{"model": "n"}, {"revision": "2"}, {"provider": "p"}, {"engine": "e"}])
async def test_another_target_is_another_set(stub: Stub, asker: Any, change: dict[str, str]) -> None:
    await stub.Store(asker.store(asker.sample()))
    subject = asker.subject()
    for name, value in change.items():
        setattr(subject, name, value)
    assert not (await stub.Lookup(asker.lookup(1, subject=subject))).samples


async def test_without_a_revision_nothing_is_served(stub: Stub, asker: Any) -> None:
    subject = asker.subject()
    subject.revision = ""
    found = await stub.Lookup(asker.lookup(1, subject=subject))
    assert found.miss_reason == pb.MISS_REASON_NO_REVISION


async def test_policies(stub: Stub, asker: Any) -> None:
    await stub.Store(asker.store(asker.sample("x"), asker.sample("x"), asker.sample("y")))

    async def ask(n: int = 3, **policy: Any) -> pb.LookupResponse:
        found: pb.LookupResponse = await stub.Lookup(
            asker.lookup(n, subject=asker.subject(cache=CachePolicy(**policy)))
        )
        return found

    assert len((await ask(mode=CACHE_MODE_READ_ONLY)).samples) == 3
    for mode in (CACHE_MODE_WRITE_ONLY, CACHE_MODE_BYPASS):
        left = await ask(mode=mode)
        assert (len(left.samples), left.miss_reason) == (0, pb.MISS_REASON_POLICY)
    distinct = await ask(distinct=True)
    assert [one.position for one in distinct.samples] == [1, 3]
    assert distinct.miss_reason == pb.MISS_REASON_TOO_FEW_DISTINCT
    assert len((await ask(min_distinct=2)).samples) == 3
    assert (await ask(min_distinct=3)).miss_reason == pb.MISS_REASON_TOO_FEW_DISTINCT
    assert (await ask(1, max_age=Duration(seconds=60))).miss_reason == pb.MISS_REASON_UNSPECIFIED
    assert not (await ask(mode=CACHE_MODE_REFRESH)).samples
    assert (await ask()).miss_reason == pb.MISS_REASON_NEVER_STORED, "refresh forgets what was stored"


async def test_draws_age(stub: Stub, asker: Any, service: Any) -> None:
    """A request may refuse old draws; after the store's own lifetime nobody gets them."""
    await stub.Store(asker.store(asker.sample(), rollout_id="early"))
    await stub.Store(asker.store(asker.sample()))
    key = (await stub.Lookup(asker.lookup())).key

    def age(record: int, seconds: float) -> None:
        with service.redis as redis:
            records = bytearray(redis.hget(f"oc:s:{{{key}}}", "m"))
            (at,) = struct.unpack_from(">Q", records, record * 44)
            struct.pack_into(">Q", records, record * 44, at - round(seconds * 1000))
            redis.hset(f"oc:s:{{{key}}}", "m", bytes(records))

    age(0, 600)
    young = asker.subject(cache=CachePolicy(max_age=Duration(seconds=60)))
    found = await stub.Lookup(asker.lookup(2, subject=young))
    assert [one.position for one in found.samples] == [2]
    assert (found.stored_total, found.miss_reason) == (2, pb.MISS_REASON_TOO_OLD)
    age(0, 3600)
    found = await stub.Lookup(asker.lookup(2))
    assert [(one.position, one.total) for one in found.samples] == [(1, 1)]
    await stub.Store(asker.store(asker.sample(), rollout_id="late"))
    with service.redis as redis:
        fields = set(redis.hkeys(f"oc:s:{{{key}}}"))
        assert (b"d1" in fields, b"d2" in fields, b"d3" in fields) == (False, True, True), (
            "old draws make room"
        )
    assert len((await stub.Lookup(asker.lookup(3, rollout_id="late"))).samples) == 1
    assert len((await stub.Lookup(asker.lookup(3, rollout_id="early"))).samples) == 2


async def test_bypass_and_read_only_store_nothing(stub: Stub, asker: Any) -> None:
    for mode in (CACHE_MODE_BYPASS, CACHE_MODE_READ_ONLY):
        subject = asker.subject(cache=CachePolicy(mode=mode))
        assert (await stub.Store(asker.store(asker.sample(), subject=subject))).stored == 0
    assert (await stub.Lookup(asker.lookup())).stored_total == 0


async def test_a_deterministic_request_has_one_answer(stub: Stub, asker: Any) -> None:
    greedy = asker.subject(sampling=GREEDY)
    first, second = asker.sample(), asker.sample()
    await stub.Store(asker.store(first, subject=greedy))
    again = await stub.Store(asker.store(second, subject=greedy, rollout_id="r"))
    assert (again.stored, again.duplicates) == (0, 1)
    assert ids(await stub.Lookup(asker.lookup(1, subject=greedy))) == [first.sample_id]
    assert not ids(await stub.Lookup(asker.lookup(1, subject=greedy, rollout_id="r"))), "it had that answer"


async def test_a_seeded_request_of_several_samples_uses_no_set(stub: Stub, asker: Any) -> None:
    one = asker.subject(sampling=Sampling(seed=1))
    several = asker.subject(sampling=Sampling(seed=1, n=4))
    await stub.Store(asker.store(asker.sample(), subject=one))
    found = await stub.Lookup(asker.lookup(4, subject=several))
    assert (len(found.samples), found.miss_reason) == (0, pb.MISS_REASON_POLICY)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.Store(asker.store(asker.sample(), subject=several))
    assert "ties each to its index" in str(refused.value.details())


async def test_a_batch_is_answered_in_order_and_a_wrong_item_fails_alone(stub: Stub, asker: Any) -> None:
    prompts = [f"prompt {i}" for i in range(40)]
    stores = [asker.store(asker.sample(text), subject=asker.subject(text)) for text in prompts]
    stores.insert(3, asker.store(subject=asker.subject()))
    kept = await stub.BatchStore(pb.BatchStoreRequest(stores=stores))
    assert [one.WhichOneof("outcome") for one in kept.outcomes].count("failed") == 1
    assert kept.outcomes[3].HasField("failed")
    lookups = [asker.lookup(1, subject=asker.subject(text)) for text in prompts]
    lookups.insert(7, asker.lookup(0))
    found = await stub.BatchLookup(pb.BatchLookupRequest(lookups=lookups))
    error = unpack_status(found.outcomes[7].failed.status)
    assert [(v.field, error.reason) for v in error.violations] == [("n", "INVALID_REQUEST")]
    texts = [
        one.found.samples[0].events[1].text_delta.text for one in found.outcomes if one.HasField("found")
    ]
    assert texts == prompts


async def test_only_whole_answers_are_kept_and_every_fault_is_named(stub: Stub, asker: Any) -> None:
    cut, filtered, full, failed = (asker.sample() for _ in range(4))
    del cut.events[-1]
    filtered.events[-1].finished.reason = event_pb2.FINISH_REASON_CONTENT_FILTER
    full.events[-1].finished.reason = event_pb2.FINISH_REASON_CONTEXT_FULL
    failed.events[-1].sample_failed.SetInParent()
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.Store(asker.store(cut, asker.sample(), filtered, full, failed, subject=pb.Subject()))
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    told = str(refused.value.details())
    for word in ("samples[0].events", "samples[2]", "samples[3]", "samples[4]"):
        assert word in told
    limited = asker.sample()
    limited.events[-1].finished.reason = event_pb2.FINISH_REASON_MAX_TOKENS
    refusal = asker.sample()
    refusal.events[-1].finished.reason = event_pb2.FINISH_REASON_REFUSAL
    assert (await stub.Store(asker.store(limited, refusal))).stored == 2


async def test_a_damaged_draw_is_a_miss_and_is_gone(stub: Stub, asker: Any, service: Any) -> None:
    await stub.Store(asker.store(asker.sample("one" * 500), asker.sample("two")))
    key = (await stub.Lookup(asker.lookup())).key
    with service.redis as redis:
        value = redis.hget(f"oc:s:{{{key}}}", "d1")
        redis.hset(f"oc:s:{{{key}}}", "d1", value[:-3] + b"abc")
    before = (await stub.GetStats(pb.GetStatsRequest())).damaged
    found = await stub.Lookup(asker.lookup(2))
    assert [one.events[1].text_delta.text for one in found.samples] == ["two"]
    assert found.miss_reason == pb.MISS_REASON_DAMAGED
    assert (await stub.GetStats(pb.GetStatsRequest())).damaged == before + 1
    healed = await stub.Lookup(asker.lookup(2))
    assert (healed.stored_total, healed.miss_reason) == (1, pb.MISS_REASON_TOO_FEW)


async def test_forgetting(stub: Stub, asker: Any) -> None:
    run_a, run_b = asker.subject(run_id="a"), asker.subject(run_id="b")
    await stub.Store(asker.store(asker.sample(), asker.sample(), subject=run_a, rollout_id="r"))
    await stub.Store(asker.store(asker.sample("kept"), subject=run_b, rollout_id="s"))
    await stub.Store(asker.store(asker.sample(), subject=asker.subject("other prompt")))

    async def forget(**what: Any) -> tuple[int, int]:
        gone = await stub.Invalidate(pb.InvalidateRequest(**what))
        return gone.sets, gone.samples

    assert await forget(tenant=asker.tenant, run_id="a") == (1, 2)
    found = await stub.Lookup(asker.lookup(9, rollout_id="r"))
    assert [(one.position, one.total) for one in found.samples] == [(1, 1)]
    assert not (await stub.Lookup(asker.lookup(9, rollout_id="s"))).samples, "it still knows what it had"
    assert await forget(tenant=asker.tenant, older_than=Duration(seconds=60)) == (0, 0)
    assert await forget(tenant=asker.tenant, model="another") == (0, 0)
    assert await forget(key=found.key, tenant=uuid.uuid4().hex) == (0, 0)
    assert await forget(key=found.key) == (1, 1)
    assert await forget(tenant=asker.tenant) == (1, 1)
    with pytest.raises(grpc.aio.AioRpcError):
        await forget()
