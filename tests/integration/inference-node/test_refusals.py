"""Bad input is named whole, at once, and leaves the worker as it was."""

from __future__ import annotations

from typing import Any

import pytest

from orchestra.inference.v1 import inference_service_pb2 as pb
from orchestra_errors import (
    FailedPrecondition,
    InvalidRequest,
    OrchestraError,
    Unsupported,
)
from orchestra_rpc import call_stream, call_unary


def fields(error: OrchestraError) -> set[str]:
    return {violation.field for violation in error.violations}


async def test_specs_are_checked_whole(node: Any) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await node.load(model="", path="", context_tokens=0, slots=0, expected_revision="md5:1")
    assert fields(refused.value) == {
        "spec.model",
        "spec.path",
        "spec.context_tokens",
        "spec.slots",
        "spec.expected_revision",
    }
    spec = node.spec_of(model="x")
    spec.engine_options["turbo"] = "1"
    with pytest.raises(InvalidRequest, match="turbo"):
        async with call_stream(node.stub.LoadModel(pb.LoadModelRequest(spec=spec))) as moves:
            _ = [move async for move in moves]
    spec = node.spec_of(model="x", engine="exllamav2")
    with pytest.raises(FailedPrecondition, match="not installed"):
        async with call_stream(node.stub.LoadModel(pb.LoadModelRequest(spec=spec))) as moves:
            _ = [move async for move in moves]
    spec = node.spec_of(model="x")
    spec.device_ids.append("held")
    with pytest.raises(FailedPrecondition, match="reserved"):
        async with call_stream(node.stub.LoadModel(pb.LoadModelRequest(spec=spec))) as moves:
            _ = [move async for move in moves]


async def test_what_is_missing_says_so(node: Any, worker: Any) -> None:
    for client in (node, worker):
        with pytest.raises(Unsupported, match="embeddings"):
            await call_unary(client.stub.Embed(pb.EmbedRequest(model="smollm2-135m", texts=["a"])))
    with pytest.raises(FailedPrecondition, match="fast_tier"):
        await call_unary(node.stub.PrefetchModel(pb.PrefetchModelRequest(spec=node.spec_of())))
    with pytest.raises(FailedPrecondition, match="daemon"):
        await call_unary(worker.stub.GetNode(pb.GetNodeRequest()))


async def test_the_node_says_what_it_is_made_of(node: Any) -> None:
    seen = await node.node()
    assert (seen.node_id, seen.version) == ("test-node", "0.1.0")
    cpu = seen.devices[0]
    assert cpu.memory_total_bytes > 0 and cpu.name
    assert (cpu.engine, cpu.watts_declared) == ("llamacpp", 15)
    assert not cpu.HasField("watts_measured"), "nothing measures it"
    assert seen.devices[1].reserved
