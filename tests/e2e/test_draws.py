"""The cache serves draws, never one as two; models answer side by side."""

from __future__ import annotations

import uuid

import pytest

from orchestra.generation.v1 import event_pb2, provenance_pb2
from orchestra.router.v1 import router_service_pb2 as pb
from orchestra.router.v1 import router_service_pb2_grpc as pb_grpc
from orchestra_rpc import call_stream
from orchestra_testing import GEMMA, SMOL, generate_request

pytestmark = pytest.mark.timeout(180)

STORED = provenance_pb2.CACHE_OUTCOME_STORED


async def finished(
    router: pb_grpc.RouterServiceAsyncStub, request: pb.GenerateRequest
) -> list[event_pb2.Finished]:
    found = []
    async with call_stream(router.Generate(request, timeout=60)) as answers:
        async for answer in answers:
            if answer.event.HasField("finished"):
                found.append(answer.event.finished)
    return found


def ids(found: list[event_pb2.Finished]) -> set[str]:
    return {one.provenance.sample_id for one in found}


async def test_a_rollout_gets_new_draws_and_the_next_one_the_stored(
    router: pb_grpc.RouterServiceAsyncStub,
) -> None:
    first_rollout, second_rollout = uuid.uuid4().hex, uuid.uuid4().hex
    request = generate_request(rollout_id=first_rollout, sampling={"n": 3})
    first = await finished(router, request)
    assert len(ids(first)) == 3
    assert all(one.provenance.cache.outcome != STORED for one in first)

    again = await finished(router, request)
    assert len(ids(again)) == 3
    assert ids(again).isdisjoint(ids(first))
    assert all(one.provenance.cache.outcome != STORED for one in again)

    request.generation.rollout_id = second_rollout
    served = await finished(router, request)
    assert len(ids(served)) == 3
    assert all(one.provenance.cache.outcome == STORED for one in served), served
    assert ids(served) <= ids(first) | ids(again)
    assert all(one.cost.nanos == 0 and one.cost.saved_nanos > 0 for one in served)


async def test_two_models_answer_one_prompt_and_the_difference_is_measured(
    router: pb_grpc.RouterServiceAsyncStub,
) -> None:
    generation = generate_request(max_tokens=12, sampling={"n": 4}).generation
    generation.routing.model = ""
    generation.routing.candidates.extend([SMOL, GEMMA])
    plan = [pb.ModelShare(model=SMOL, samples=2), pb.ModelShare(model=GEMMA, samples=2)]
    done: dict[int, event_pb2.Finished] = {}
    summary = None
    call = router.GenerateDiverse(pb.GenerateDiverseRequest(generation=generation, plan=plan), timeout=90)
    async with call_stream(call) as answers:
        async for answer in answers:
            assert summary is None, "the summary is the last message"
            for event in answer.events:
                assert not event.HasField("sample_failed"), event
                if event.HasField("finished"):
                    assert event.sample_index not in done
                    done[event.sample_index] = event.finished
            if answer.HasField("summary"):
                summary = answer.summary
    assert summary is not None
    assert sorted(done) == [0, 1, 2, 3]
    assert sorted(one.provenance.model for one in done.values()) == [GEMMA, GEMMA, SMOL, SMOL]
    assert len({one.provenance.sample_id for one in done.values()}) == 4
    assert len({one.provenance.sampling.seed for one in done.values()}) == 4
    assert summary.finished == 4
    assert summary.diversity.samples == 4
    assert {measure.name for measure in summary.diversity.measures} >= {"lexical", "syntactic"}
    for one in done.values():
        assert one.provenance.revision.startswith("sha256:")
        assert one.usage.completion_tokens > 0
        assert one.cost.nanos > 0
        assert one.provenance.engine
        assert one.provenance.node_id in ("node-a", "node-b")
