"""One prompt through a real router to a real server that follows a script."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest

from orchestra.generation.v1 import provenance_pb2, request_pb2, usage_pb2
from orchestra.router.v1 import router_service_pb2 as pb
from orchestra_errors import InvalidRequest, NotFound
from orchestra_rpc import error_from_rpc


async def test_an_answer_passes_with_its_provenance_completed_and_its_cost_named(mesh: Any) -> None:
    events = await mesh.generate(mesh.ask(run_id="run-1"))

    assert mesh.kinds(events) == ["started", "text_delta", "text_delta", "text_delta", "finished"]
    assert mesh.text(events) == "Hello, world"
    provenance = events[-1].finished.provenance
    assert provenance.model == "smollm2-135m"
    assert provenance.node_id == "node-a"
    assert provenance.cache.outcome == provenance_pb2.CACHE_OUTCOME_MISS
    assert provenance.phase == "phase_2_context_engineering"
    assert provenance.run_id == "run-1"
    assert len(provenance.trace_id) == 32
    assert provenance.price_version == "local-1"
    cost = events[-1].finished.cost
    # 36 W for 0.1 s are 10^-6 kWh, at 0.1 dollars each
    assert (cost.state, cost.nanos) == (usage_pb2.COST_STATE_ESTIMATED, 100)


async def test_the_attempt_is_recorded_and_the_draw_stored(mesh: Any) -> None:
    events = await mesh.generate(mesh.ask(run_id="run-1", rollout_id="r"))
    done = events[-1].finished

    (entry,) = await mesh.ledger.until(1)
    assert entry.attempt_id == done.provenance.attempt_id
    assert (entry.run_id, entry.model) == ("run-1", "smollm2-135m")
    assert entry.sample_id == done.provenance.sample_id
    assert entry.cost.nanos == 100
    await mesh.cache.stored.wait()
    (stored,) = mesh.cache.stores
    assert [event.WhichOneof("event") for event in stored.samples[0].events] == [
        "started",
        "text_delta",
        "finished",
    ]
    assert stored.samples[0].sample_id == done.provenance.sample_id


async def test_a_stored_draw_is_served_as_what_it_is_and_the_rest_is_drawn(mesh: Any) -> None:
    first = await mesh.generate(mesh.ask())
    await mesh.cache.stored.wait()
    events = await mesh.generate(mesh.ask(n=3))

    drawn = first[-1].finished.provenance.sample_id
    stored = next(event.finished for event in events if event.HasField("finished") and not event.sample_index)
    assert stored.provenance.sample_id == drawn
    assert stored.provenance.cache.outcome == provenance_pb2.CACHE_OUTCOME_STORED
    assert (stored.provenance.cache.stored_position, stored.provenance.cache.stored_total) == (1, 1)
    assert (stored.cost.nanos, stored.cost.saved_nanos) == (0, 100)
    assert [mesh.kinds(events, index)[-1] for index in range(3)] == ["finished"] * 3
    ids = {event.finished.provenance.sample_id for event in events if event.HasField("finished")}
    assert len(ids) == 3
    last_leg, hop = mesh.node_a.legs[-1]
    assert (last_leg.sampling.n, hop.first_sample_index) == (2, 1)
    entries = await mesh.ledger.until(4)
    assert [entry.cost.saved_nanos for entry in entries if entry.from_cache] == [100]


async def test_a_rollout_is_never_served_a_draw_twice(mesh: Any) -> None:
    seen = []
    for _ in range(3):
        mesh.cache.stored.clear()
        events = await mesh.generate(mesh.ask(rollout_id="r"))
        seen.append(events[-1].finished.provenance.sample_id)
        await mesh.cache.stored.wait()
    assert len(set(seen)) == 3


async def test_a_repeat_of_a_request_id_replays_its_samples(mesh: Any) -> None:
    request = mesh.ask(request_id="same", mode=request_pb2.CACHE_MODE_BYPASS)
    first = await mesh.generate(request)
    await mesh.cache.stored.wait()
    again = await mesh.generate(request)

    assert mesh.text(again) == mesh.text(first)
    provenance = again[-1].finished.provenance
    assert provenance.cache.outcome == provenance_pb2.CACHE_OUTCOME_REPLAYED
    assert provenance.sample_id == first[-1].finished.provenance.sample_id
    assert first[-1].finished.provenance.replay_guaranteed
    assert len(mesh.node_a.legs) == 1


async def test_after_a_failure_a_repeat_of_the_request_id_starts_anew(mesh: Any) -> None:
    from orchestra_errors import DataLoss

    request = mesh.ask(request_id="same")
    mesh.node_a.script = lambda *_: ["started", "x", DataLoss("it", "broke")]
    with pytest.raises(grpc.aio.AioRpcError):
        await mesh.generate(request)
    await mesh.cache.stored.wait()
    assert mesh.cache.released == ["same"]
    mesh.node_a.script = mesh.script("fine")
    again = await mesh.generate(request)
    assert mesh.text(again) == "fine"
    entries = await mesh.ledger.until(2)
    assert len({entry.attempt_id for entry in entries}) == 2


async def test_everything_wrong_is_named_at_once(mesh: Any) -> None:
    request = mesh.ask(model="no-such-model", text="", max_tokens=-3)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await mesh.generate(request)
    error = error_from_rpc(caught.value)
    assert isinstance(error, InvalidRequest)
    assert {violation.field for violation in error.violations} == {
        "generation.text",
        "generation.sampling.max_tokens",
        "generation.routing.model",
    }


@pytest.mark.parametrize(
    ("fields", "field", "nearest"),
    [
        ({"model": "smolm2-135m"}, "generation.routing.model", "smollm2-135m"),
        ({"phase": "phase_2_context_enginering"}, "generation.phase", "phase_2_context_engineering"),
    ],
)
async def test_an_unknown_name_is_not_found_and_the_nearest_offered(
    mesh: Any, fields: dict[str, Any], field: str, nearest: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await mesh.generate(mesh.ask(**fields))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    error = error_from_rpc(caught.value)
    assert isinstance(error, NotFound)
    assert [violation.field for violation in error.violations] == [field]
    assert nearest in error.metadata["nearest"]


async def test_a_known_model_that_is_placed_nowhere_says_so(mesh: Any) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await mesh.generate(mesh.ask(model="starcoder2-15b"))
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert "placed nowhere" in str(caught.value.details())


async def test_a_prompt_beyond_the_bound_is_refused_by_name(mesh: Any) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await mesh.generate(mesh.ask(text="x" * 20_000_000))
    error = error_from_rpc(caught.value)
    assert [violation.field for violation in error.violations] == ["generation.text"]
    assert mesh.text(await mesh.generate(mesh.ask())) == "Hello, world"


async def test_a_client_that_goes_ends_the_work_at_once(mesh: Any) -> None:
    mesh.node_a.script = lambda *_: ["started", "a", asyncio.Event()]
    call = mesh.stub.Generate(pb.GenerateRequest(generation=mesh.ask(run_id="run-c")))
    await anext(aiter(call))
    await mesh.node_a.began.wait()
    call.cancel()
    async with asyncio.timeout(5):
        await mesh.node_a.cancelled.wait()
    (entry,) = await mesh.ledger.until(1)
    assert entry.error_reason == "CANCELLED"
    assert not entry.HasField("usage")


async def test_an_expired_deadline_ends_the_work_and_says_so(mesh: Any) -> None:
    mesh.node_a.script = lambda *_: ["started", "a", asyncio.Event()]
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await mesh.generate(mesh.ask(), timeout=1.0)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert error_from_rpc(caught.value).reason == "DEADLINE_EXCEEDED"
    async with asyncio.timeout(5):
        await mesh.node_a.cancelled.wait()


async def test_without_the_cache_the_answer_comes_and_says_so(mesh: Any) -> None:
    await mesh.stop("cache")
    events = await mesh.generate(mesh.ask(request_id="r-1"))
    provenance = events[-1].finished.provenance
    assert provenance.cache.outcome == provenance_pb2.CACHE_OUTCOME_UNAVAILABLE
    assert provenance.HasField("replay_guaranteed") and not provenance.replay_guaranteed


async def test_a_cache_that_hangs_costs_its_budget_and_no_more(mesh: Any) -> None:
    mesh.cache.hold = asyncio.Event()
    async with asyncio.timeout(5):
        events = await mesh.generate(mesh.ask())
    assert events[-1].finished.provenance.cache.outcome == provenance_pb2.CACHE_OUTCOME_UNAVAILABLE
    mesh.cache.hold.set()


async def test_without_the_ledger_and_the_manager_local_answers_go_on(mesh: Any) -> None:
    await mesh.stop("ledger")
    await mesh.stop("manager")
    events = await mesh.generate(mesh.ask())
    assert mesh.text(events) == "Hello, world"
    assert events[-1].finished.cost.nanos == 100


async def test_bypass_neither_serves_nor_stores(mesh: Any) -> None:
    await mesh.generate(mesh.ask())
    await mesh.cache.stored.wait()
    lookups = mesh.cache.lookups
    events = await mesh.generate(mesh.ask(mode=request_pb2.CACHE_MODE_BYPASS))
    assert events[-1].finished.provenance.cache.outcome == provenance_pb2.CACHE_OUTCOME_BYPASSED
    assert mesh.cache.lookups == lookups
    await mesh.ledger.until(2)
    assert len(mesh.cache.stores) == 1


async def test_seeded_samples_of_one_request_are_not_taken_for_independent_draws(mesh: Any) -> None:
    await mesh.generate(mesh.ask(n=2, seed=7))
    await mesh.ledger.until(2)
    assert mesh.cache.lookups == 0
    assert mesh.cache.stores == []


async def test_when_the_router_is_full_a_time_to_retry_is_named(mesh: Any) -> None:
    admission = mesh.router.servicer._flows.generate._admission
    admission.admitted = 1024
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await mesh.generate(mesh.ask())
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert error_from_rpc(caught.value).retry_after == 1.0
    admission.admitted = 0
