"""The manager as a process, against a node that does what the contract says."""

from __future__ import annotations

import asyncio

import pytest

from orchestra.models.v1 import model_manager_service_pb2 as pb
from orchestra.models.v1 import model_pb2
from orchestra_errors import InvalidRequest, NotFound
from orchestra_rpc import call_stream, call_unary

SERVING = model_pb2.PLACEMENT_STATE_SERVING
HERE = "node-a/small"
OTHER = "node-a/other"


def serves(key):
    return lambda placements: key in placements and placements[key].state == SERVING


async def test_a_wanted_model_is_loaded_on_the_node_that_reports_and_shown_with_its_worker(registered, board):
    (placement,) = await board(serves(HERE))
    assert registered.asked == ["load small"]
    assert placement.worker.instance_id == "one-1"
    assert placement.worker.slots_total == 4, "the placement's batch size, not the model's"
    assert placement.pinned
    assert placement.family == "tiny"
    assert (placement.watts, placement.power_source) == (15.0, model_pb2.POWER_SOURCE_DECLARED)


async def test_watts_that_were_measured_at_work_go_before_those_of_the_moment_and_the_declared(
    registered, board
):
    """The router prices local samples by these, so the ledger gets what was measured."""
    await board(serves(HERE))
    registered.workers["small"].measured.watts = 42.5
    registered.workers["small"].measured.load.FromSeconds(3)
    registered.idle_watts = 4.0
    registered.changed.set()
    (placement,) = await board(lambda placements: placements[HERE].worker.HasField("measured"))
    assert (placement.watts, placement.power_source) == (42.5, model_pb2.POWER_SOURCE_MEASURED)
    registered.workers["small"].ClearField("measured")
    registered.changed.set()
    (placement,) = await board(lambda placements: not placements[HERE].worker.HasField("measured"))
    assert (placement.watts, placement.power_source) == (4.0, model_pb2.POWER_SOURCE_MEASURED)


async def test_before_any_node_reports_the_wish_says_what_it_waits_for(board):
    (placement,) = await board(lambda placements: HERE in placements)
    assert placement.state == model_pb2.PLACEMENT_STATE_WANTED
    assert placement.state_reason == "node node-a has not reported yet"
    assert not placement.HasField("worker")


async def test_a_swap_tells_the_routers_before_it_unloads(registered, stub, board):
    await board(serves(HERE))
    left_first: list[bool] = []

    async def watch() -> None:
        call = stub.WatchPlacements(pb.WatchPlacementsRequest())
        async for message in call:
            for one in message.placements:
                if one.placement_id == HERE and one.state == model_pb2.PLACEMENT_STATE_DRAINING:
                    left_first.append("unload small" not in registered.asked)
                    return

    watching = asyncio.create_task(watch())
    request = pb.SwapModelsRequest(unload=["small"], load=["other"])
    async with call_stream(stub.SwapModels(request)) as messages:
        stages = [(message.model, pb.SwapStage.Name(message.stage)[11:]) async for message in messages]
    await asyncio.wait_for(watching, 5)
    assert left_first == [True]
    assert registered.asked == ["load small", "unload small", "load other"]
    assert stages[0] == ("small", "DRAINING")
    assert stages[-1] == ("other", "SERVING")
    (placement,) = await board(serves(OTHER))
    assert placement.placement_id == OTHER, "the deployment's own wish stays swapped out"


async def test_a_failed_swap_brings_back_what_served(registered, stub, board):
    await board(serves(HERE))
    registered.fail.add("other")
    request = pb.SwapModelsRequest(unload=["small"], load=["other"])
    stages = []
    with pytest.raises(Exception, match="no such file"):
        async with call_stream(stub.SwapModels(request)) as messages:
            async for message in messages:
                stages.append((message.model, pb.SwapStage.Name(message.stage)[11:]))
    assert ("small", "ROLLING_BACK") in stages
    assert stages[-1] == ("small", "SERVING")
    await board(lambda placements: serves(HERE)(placements) and OTHER not in placements)


async def test_a_swap_that_cannot_be_names_every_reason_and_does_nothing(registered, stub, board):
    await board(serves(HERE))
    request = pb.SwapModelsRequest(unload=["other", "nonsense"], load=["huge"])
    with pytest.raises(InvalidRequest) as refused:
        async with call_stream(stub.SwapModels(request)) as messages:
            async for _ in messages:
                pass
    assert {one.field for one in refused.value.violations} == {"unload[0]", "unload[1]", "load[0]"}
    assert "too few" in str(
        next(one for one in refused.value.violations if one.field == "load[0]").description
    )
    assert registered.asked == ["load small"]


async def test_a_node_that_goes_silent_is_lost_and_found_again(node, stub, board):
    registering = asyncio.create_task(node.register(stub))
    await board(serves(HERE))
    registering.cancel()
    await asyncio.wait([registering])
    (placement,) = await board(lambda placements: placements[HERE].state == model_pb2.PLACEMENT_STATE_LOST)
    assert "lease" in placement.state_reason
    registering = asyncio.create_task(node.register(stub))
    await board(serves(HERE))
    assert node.asked == ["load small"], "what it still serves is not loaded again"
    registering.cancel()
    await asyncio.wait([registering])


async def test_phase_swap_and_hold_survive_a_kill(manager, registered, stub, board):
    await board(serves(HERE))
    await call_unary(stub.SetPhase(pb.SetPhaseRequest(phase="phase_3")))
    step = pb.AdvanceRotationRequest(request_id="step-1")
    advanced = await call_unary(stub.AdvanceRotation(step))
    assert await call_unary(stub.AdvanceRotation(step)) == advanced, "a repeat takes no other step"
    await call_unary(stub.CordonNode(pb.CordonNodeRequest(node_id="node-a", reason="edge tests")))
    await manager.kill()
    await manager.start()
    status = (await call_unary(stub.GetPhase(pb.GetPhaseRequest(), wait_for_ready=True))).status
    assert status == advanced.status
    assert status.rotation_position == 1
    assert status.unplaced, "no weights are configured for the phase's models, and that is said"
    ended = await call_unary(stub.UncordonNode(pb.UncordonNodeRequest(node_id="node-a")))
    assert [hold.reason for hold in ended.ended] == ["edge tests"]


async def test_a_drained_node_gives_up_its_models_and_gets_them_back(registered, stub, board):
    await board(serves(HERE))
    answer = await call_unary(stub.DrainNode(pb.DrainNodeRequest(node_id="node-a", reason="lent")))
    assert list(answer.leaving) == ["small"]
    (placement,) = await board(lambda placements: placements[HERE].state == model_pb2.PLACEMENT_STATE_WANTED)
    assert placement.state_reason == "held: lent"
    await call_unary(stub.UncordonNode(pb.UncordonNodeRequest(node_id="node-a")))
    await board(serves(HERE))
    assert registered.asked == ["load small", "unload small", "load small"]


async def test_unknown_names_offer_the_nearest(stub):
    with pytest.raises(NotFound, match="phase_3_interactive_feedback"):
        await call_unary(stub.SetPhase(pb.SetPhaseRequest(phase="phase_3_interactive_feedbak")))
    with pytest.raises(NotFound, match=r"qwen2\.5-coder-7b"):
        await call_unary(stub.GetModel(pb.GetModelRequest(name="qwen2.5-coder-7c")))


async def test_the_catalogue_is_paged_whole_and_in_order(stub):
    names, token = [], ""
    while True:
        page = await call_unary(stub.ListModels(pb.ListModelsRequest(page_size=10, page_token=token)))
        names += [model.name for model in page.models]
        token = page.next_page_token
        if not token:
            break
    assert names == sorted(set(names))
    assert {"small", "other", "huge", "gpt-4o", "llama3.1-70b"} <= set(names)
