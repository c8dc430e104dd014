"""One leader per deterministic question; everybody else follows it from any offset."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from orchestra.cache.v1 import cache_service_pb2 as pb
from orchestra.cache.v1 import cache_service_pb2_grpc as pb_grpc
from orchestra.generation.v1 import event_pb2
from orchestra.generation.v1.sampling_pb2 import Sampling

if TYPE_CHECKING:
    Stub = pb_grpc.CacheServiceAsyncStub

Event = event_pb2.GenerationEvent
GREEDY = Sampling(temperature=0)


def text(word: str) -> Event:
    return Event(text_delta=event_pb2.TextDelta(text=word))


DONE = Event(finished=event_pb2.Finished(reason=event_pb2.FINISH_REASON_STOP))


async def led(stub: Stub, asker: Any) -> pb.Lease:
    """The lease of a question that was never asked before."""
    greedy = asker.subject(sampling=GREEDY)
    found = await stub.Lookup(asker.lookup(subject=greedy, want_lease=True))
    assert found.lease.key == found.key
    return found.lease


async def test_of_many_identical_lookups_one_leads(stub: Stub, asker: Any) -> None:
    greedy = asker.subject(sampling=GREEDY)
    calls = (stub.Lookup(asker.lookup(subject=greedy, want_lease=True)) for _ in range(64))
    found = await asyncio.gather(*calls)
    assert sum(one.HasField("lease") for one in found) == 1
    await stub.Store(asker.store(asker.sample(), subject=greedy))
    answered = await stub.Lookup(asker.lookup(subject=greedy, want_lease=True))
    assert not answered.HasField("lease")
    assert len(answered.samples) == 1


async def test_sampled_requests_are_never_joined(stub: Stub, asker: Any) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.Lookup(asker.lookup(want_lease=True))
    assert "want_lease" in str(refused.value.details())


async def test_the_fence_grows_with_every_grant(stub: Stub, asker: Any) -> None:
    lease = await led(stub, asker)
    other = await stub.Acquire(pb.AcquireRequest(key=lease.key, owner="other"))
    assert not other.HasField("lease")
    assert other.holder
    again = await stub.Acquire(
        pb.AcquireRequest(key=lease.key, owner=other.holder, lease=Duration(seconds=90))
    )
    assert again.lease.fence == lease.fence, "who holds it holds it longer"
    assert again.lease.expires_at.ToMilliseconds() > lease.expires_at.ToMilliseconds()
    assert (await stub.Release(pb.ReleaseRequest(key=lease.key, fence=lease.fence))).released
    assert not (await stub.Release(pb.ReleaseRequest(key=lease.key, fence=lease.fence))).released
    taken = await stub.Acquire(pb.AcquireRequest(key=lease.key, owner="other"))
    assert taken.lease.fence > lease.fence


async def test_who_lost_the_lease_neither_publishes_nor_stores(stub: Stub, asker: Any) -> None:
    lease = await led(stub, asker)
    await stub.Release(pb.ReleaseRequest(key=lease.key, fence=lease.fence))
    taken = await stub.Acquire(pb.AcquireRequest(key=lease.key, owner="other"))
    greedy = asker.subject(sampling=GREEDY)
    late = asker.store(asker.sample(), subject=greedy, fence=lease.fence)
    published = stub.Publish(
        iter([pb.PublishRequest(key=lease.key, fence=lease.fence, events=[text("late")])])
    )
    for call in (stub.Store(late), published):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call
        assert refused.value.code() is grpc.StatusCode.ABORTED
    late.fence = taken.lease.fence
    assert (await stub.Store(late)).stored == 1


async def test_followers_stream_as_the_leader_streams(stub: Stub, asker: Any) -> None:
    lease = await led(stub, asker)
    said: asyncio.Queue[list[Event] | None] = asyncio.Queue()

    async def leading() -> AsyncIterator[pb.PublishRequest]:
        while (events := await said.get()) is not None:
            yield pb.PublishRequest(key=lease.key, fence=lease.fence, events=events)

    publishing = stub.Publish(leading())
    followers = [stub.Follow(pb.FollowRequest(key=lease.key)) for _ in range(8)]
    await said.put([text("a"), text("b")])
    for follower in followers:
        got = await anext(aiter(follower))
        assert (got.offset, [one.text_delta.text for one in got.events]) == (0, ["a", "b"])
    await said.put([text("c"), DONE])
    await said.put(None)
    assert (await publishing).published == 4
    for follower in followers:
        rest = [one async for one in follower]
        assert [one.offset for one in rest] == [2]
    late = [one async for one in stub.Follow(pb.FollowRequest(key=lease.key, offset=1))]
    assert [(one.offset, len(one.events)) for one in late] == [(1, 1), (2, 2)], "a late one gets it all"


async def test_followers_of_a_lost_leader_are_told(stub: Stub, asker: Any) -> None:
    lease = await led(stub, asker)
    await stub.Publish(iter([pb.PublishRequest(key=lease.key, fence=lease.fence, events=[text("a")])]))
    follower = stub.Follow(pb.FollowRequest(key=lease.key))
    assert (await anext(aiter(follower))).events[0].text_delta.text == "a"
    await stub.Release(pb.ReleaseRequest(key=lease.key, fence=lease.fence))
    with pytest.raises(grpc.aio.AioRpcError) as lost:
        await asyncio.wait_for(anext(aiter(follower)), 5)
    assert lost.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_before_its_first_event_a_leader_may_be_replaced(stub: Stub, asker: Any) -> None:
    first = await led(stub, asker)
    follower = stub.Follow(pb.FollowRequest(key=first.key))
    following = asyncio.ensure_future(anext(aiter(follower)))
    await stub.Release(pb.ReleaseRequest(key=first.key, fence=first.fence))
    second = (await stub.Acquire(pb.AcquireRequest(key=first.key, owner="other"))).lease
    await stub.Publish(iter([pb.PublishRequest(key=first.key, fence=second.fence, events=[text("b"), DONE])]))
    assert len((await following).events) == 2


async def test_nobody_leads_what_nobody_asked(stub: Stub, asker: Any) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as lost:
        async for _ in stub.Follow(pb.FollowRequest(key=asker.tenant)):
            pytest.fail("there is nothing to follow")
    assert lost.value.code() is grpc.StatusCode.UNAVAILABLE
