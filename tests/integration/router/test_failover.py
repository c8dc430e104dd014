"""What a consumer sees when targets fail, at every point of a stream."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import grpc
import pytest

from orchestra_errors import DataLoss, Draining, NoCapacity, OrchestraError, WorkerLost
from orchestra_rpc import error_from_rpc

WORDS = ["w0 ", "w1 ", "w2 ", "w3 "]
WHOLE = ["started", "heartbeat", *WORDS, "finish"]
BOTH = {"model": "", "candidates": ["smollm2-135m", "gemma3-270m"]}


def lost() -> OrchestraError:
    return WorkerLost("smollm2-135m", "killed")


def cut(at: int, by: str) -> Sequence[Any]:
    """The stream that fails before its k-th event, by an error or by just ending."""
    return [*WHOLE[:at], "end" if by == "end" else lost()]


def both_fail_first_on(mesh: Any, script: Any) -> None:
    """Whichever is asked first fails, the other answers."""
    asked = []

    def scripted(node: Any) -> Any:
        def steps(*args: Any) -> Any:
            asked.append(node)
            return script if asked[0] is node else WHOLE

        return steps

    for node in (mesh.node_a, mesh.node_b):
        node.script = scripted(node)


@pytest.mark.parametrize("by", ["error", "end"])
@pytest.mark.parametrize("at", range(len(WHOLE)))
async def test_each_token_once_and_one_terminal_wherever_the_first_target_fails(
    mesh: Any, at: int, by: str
) -> None:
    both_fail_first_on(mesh, cut(at, by))
    content = sum(step in WORDS for step in WHOLE[:at])
    if content:
        seen: list[Any] = []
        call = mesh.stub.Generate(mesh_request(mesh))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            async for response in call:
                seen.append(response.event)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert error_from_rpc(caught.value).reason == "WORKER_LOST"
        assert mesh.text(seen) == "".join(WORDS[:content])
        (entry,) = await mesh.ledger.until(1)
        assert (entry.error_reason, entry.HasField("usage")) == ("WORKER_LOST", False)
        return
    events = await mesh.generate(mesh.ask(**BOTH))
    assert mesh.text(events) == "".join(WORDS)
    assert mesh.kinds(events).count("finished") == 1
    provenance = events[-1].finished.provenance
    assert [hop.reason for hop in provenance.hops] == ["WORKER_LOST"]
    assert provenance.hops[0].model != provenance.model
    assert not provenance.substituted_for


def mesh_request(mesh: Any) -> Any:
    from orchestra.router.v1 import router_service_pb2 as pb

    return pb.GenerateRequest(generation=mesh.ask(**BOTH))


async def test_a_named_model_is_never_replaced_silently(mesh: Any) -> None:
    mesh.node_a.script = lambda *_: [lost()]
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await mesh.generate(mesh.ask())
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert mesh.node_b.legs == []


async def test_a_fallback_that_was_allowed_says_whom_it_stands_for(mesh: Any) -> None:
    mesh.node_a.script = lambda *_: [lost()]
    request = mesh.ask(allow_substitution=True)
    request.routing.fallback.append("gemma3-270m")
    events = await mesh.generate(request)
    provenance = events[-1].finished.provenance
    assert (provenance.model, provenance.substituted_for) == ("gemma3-270m", "smollm2-135m")


async def test_a_full_target_is_left_for_another_and_not_blamed(mesh: Any) -> None:
    both_fail_first_on(mesh, [NoCapacity("smollm2-135m", 1.0)])
    events = await mesh.generate(mesh.ask(**BOTH))
    assert [hop.reason for hop in events[-1].finished.provenance.hops] == ["NO_CAPACITY"]


async def test_when_all_are_full_the_time_to_retry_reaches_the_caller(mesh: Any) -> None:
    mesh.node_a.script = lambda *_: [NoCapacity("smollm2-135m", 2.5)]
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await mesh.generate(mesh.ask())
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert error_from_rpc(caught.value).retry_after == 2.5


async def test_an_error_that_another_target_cannot_heal_is_told_at_once(mesh: Any) -> None:
    both_fail_first_on(mesh, [DataLoss("weights", "damaged")])
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await mesh.generate(mesh.ask(**BOTH))
    assert caught.value.code() is grpc.StatusCode.DATA_LOSS
    assert len(mesh.node_a.legs) + len(mesh.node_b.legs) == 1


async def test_a_restarted_worker_is_not_taken_for_the_one_that_was_chosen(mesh: Any) -> None:
    mesh.node_a.instance_id = "node-a-2"
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await mesh.generate(mesh.ask())
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    await mesh.publish()
    events = await mesh.generate(mesh.ask())
    assert events[-1].finished.provenance.instance_id == "node-a-2"


async def test_with_allow_restart_a_second_started_voids_the_first_tokens(mesh: Any) -> None:
    both_fail_first_on(mesh, ["started", "w0 ", lost()])
    events = await mesh.generate(mesh.ask(**BOTH, allow_restart=True))
    assert mesh.kinds(events).count("started") == 2
    after = events[[i for i, event in enumerate(events) if event.HasField("started")][1] :]
    assert mesh.text(after) == "".join(WORDS)
    await mesh.cache.stored.wait()
    (store,) = mesh.cache.stores
    assert store.samples[0].events[1].text_delta.text == "".join(WORDS)


async def test_of_several_samples_only_the_unstarted_go_elsewhere(mesh: Any) -> None:
    """Index 0 finished, 1 had begun, 2 and 3 had not: a lost worker costs one sample."""
    asked: list[Any] = []

    def scripted(node: Any) -> Any:
        def steps(generation: Any, hop: Any, index: int) -> Any:
            asked.append(node)
            if asked[0] is not node or index == 0:
                return WHOLE
            return ["started", "w0 ", Draining("node")] if index == 1 else WHOLE

        return steps

    for node in (mesh.node_a, mesh.node_b):
        node.script = scripted(node)
    events = await mesh.generate(mesh.ask(**BOTH, n=4))
    assert [mesh.kinds(events, index)[-1] for index in range(4)] == [
        "finished",
        "sample_failed",
        "finished",
        "finished",
    ]
    models = {e.sample_index: e.finished.provenance.model for e in events if e.HasField("finished")}
    assert models[0] != models[2] == models[3]


async def test_attempts_are_bounded(mesh: Any) -> None:
    for node in (mesh.node_a, mesh.node_b):
        node.script = lambda *_: [lost()]
    with pytest.raises(grpc.aio.AioRpcError):
        await mesh.generate(mesh.ask(**BOTH))
    assert len(mesh.node_a.legs) + len(mesh.node_b.legs) <= 3


async def test_a_node_that_is_gone_is_left_for_another(mesh: Any) -> None:
    await mesh.stop("node_a")
    for _ in range(3):
        events = await mesh.generate(mesh.ask(**BOTH))
        assert events[-1].finished.provenance.model == "gemma3-270m"


async def test_a_draining_placement_gets_nothing_new_and_what_runs_goes_on(mesh: Any) -> None:
    go = asyncio.Event()
    mesh.node_a.script = lambda *_: ["started", "a", go, "b", "finish"]
    running = asyncio.create_task(mesh.generate(mesh.ask()))
    await mesh.node_a.began.wait()
    mesh.manager.nodes = [mesh.node_b]
    await mesh.publish()
    with pytest.raises(grpc.aio.AioRpcError):
        await mesh.generate(mesh.ask())
    go.set()
    assert mesh.text(await running) == "ab"
