"""Memory before a load: a model that does not fit is refused before anything is started, and one that runs
out of memory all the same says so, with the bytes needed and free."""

from __future__ import annotations

import asyncio
import resource
from pathlib import Path
from typing import Any

import pytest

from orchestra.inference.v1 import inference_service_pb2 as pb
from orchestra.inference.v1 import node_pb2
from orchestra_errors import InsufficientMemory
from orchestra_inference_node.adapters.llamacpp.sizing import memory_needed
from orchestra_inference_node.ports import LoadSettings
from orchestra_rpc import call_stream, call_unary

MIB = 1024 * 1024


async def refused_load(client: Any, **spec: object) -> tuple[InsufficientMemory, set[int]]:
    """Why the load ended, and the stages that it went through."""
    stages = set()
    with pytest.raises(InsufficientMemory) as refused:
        request = pb.LoadModelRequest(spec=client.spec_of(**spec))
        async with asyncio.timeout(60), call_stream(client.stub.LoadModel(request)) as moves:
            async for move in moves:
                stages.add(move.progress.stage)
    return refused.value, stages


async def test_a_model_that_does_not_fit_is_refused_before_a_process_is_started(node: Any) -> None:
    error, stages = await refused_load(node, model="large", context_tokens=2048, slots=20_000)
    told = error.metadata
    needed = 20_000 * 2048 * 23_040
    assert needed < int(told["needed_bytes"]) < 1.1 * needed, "the cache of all slots, and the weights"
    assert 0 < int(told["free_bytes"]) < needed
    assert (told["model"], told["device"]) == ("large", "cpu0")
    assert error.status_code == "RESOURCE_EXHAUSTED"
    assert stages <= {node_pb2.LOAD_STAGE_VERIFYING}
    assert [worker.model for worker in (await node.node()).workers] == ["smollm2-135m"]


@pytest.mark.parametrize(
    ("context", "slots", "options"), [(1024, 2, {}), (2048, 8, {}), (2048, 8, {"cache_type": "q8_0"})]
)
async def test_what_is_said_to_be_needed_is_what_the_process_then_holds(
    context: int, slots: int, options: dict[str, str], node: Any
) -> None:
    spec = node.spec_of()
    needed = memory_needed(LoadSettings("m", spec.path, context, slots, True, None, options, Path("/")))
    moves = await node.load(model="measured", context_tokens=context, slots=slots, engine_options=options)
    held = moves[-1].worker.memory_bytes
    await call_unary(node.stub.UnloadModel(pb.UnloadModelRequest(model="measured")))
    assert needed is not None and held <= needed <= 1.25 * held


async def test_a_process_that_gets_no_memory_says_so_with_what_it_needed(own_node: Any) -> None:
    """Its worker may map 2.5 GB of addresses, which the daemon cannot know; the cache alone is 3 GB."""
    process, client = own_node
    limit = 2_500 * MIB
    resource.prlimit(process.process.pid, resource.RLIMIT_AS, (limit, limit))
    error, stages = await refused_load(client, model="large", context_tokens=2048, slots=64)
    assert node_pb2.LOAD_STAGE_LOADING_WEIGHTS in stages, "it was tried"
    needed, free = (int(error.metadata[name]) for name in ("needed_bytes", "free_bytes"))
    assert needed > 64 * 2048 * 23_040 and free > needed
    assert not (await client.node()).workers
    assert (await client.load())[-1].progress.stage == node_pb2.LOAD_STAGE_READY, "a smaller one is loaded"
