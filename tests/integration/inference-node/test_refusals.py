"""Bad input is named whole, at once, and leaves the worker as it was."""

from __future__ import annotations

from typing import Any

import pytest

from orchestra.generation.v1 import prompt_pb2
from orchestra.inference.v1 import inference_service_pb2 as pb
from orchestra_errors import (
    FailedPrecondition,
    InvalidRequest,
    NotFound,
    NotYet,
    OrchestraError,
    Unsupported,
    WrongInstance,
)
from orchestra_rpc import call_stream, call_unary


def fields(error: OrchestraError) -> set[str]:
    return {violation.field for violation in error.violations}


async def test_every_wrong_field_is_named_at_once(worker: Any) -> None:
    asked = worker.ask("", max_tokens=-1, temperature=9, n=0, top_logprobs=2)
    asked.generation.routing.model = ""
    with pytest.raises(InvalidRequest) as refused:
        await worker.events(asked)
    assert fields(refused.value) == {
        "generation.text",
        "generation.sampling.max_tokens",
        "generation.sampling.temperature",
        "generation.sampling.n",
        "generation.sampling.top_logprobs",
        "generation.routing.model",
    }


async def test_greedy_samples_of_one_prompt_are_one_answer(worker: Any) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await worker.events(worker.ask(temperature=0, n=3))
    assert fields(refused.value) == {"generation.sampling.n"}


@pytest.mark.parametrize("through", ["node", "worker"])
async def test_a_prompt_longer_than_the_context_is_refused_with_both_figures(
    through: str, node: Any, worker: Any
) -> None:
    client = {"node": node, "worker": worker}[through]
    with pytest.raises(InvalidRequest) as refused:
        await client.events(client.ask("word " * 2000))
    assert fields(refused.value) == {"generation.text"}
    assert "2001" in refused.value.message and "1024" in refused.value.message


async def test_what_the_model_cannot_do_is_refused_by_name(worker: Any) -> None:
    asked = worker.ask(prompt_logprobs=2)
    message = asked.generation.chat.messages.add(role=prompt_pb2.ROLE_USER)
    message.parts.add(text="what is this?")
    message.parts.add().image.MergeFrom(prompt_pb2.Media(data=b"\x89PNG", mime_type="image/png"))
    asked.generation.tools.add(name="look")
    with pytest.raises(Unsupported) as refused:
        await worker.events(asked)
    assert refused.value.metadata["capability"] == "images, tools"


async def test_a_base_model_does_not_chat(node: Any) -> None:
    await node.load(model="base", chat=False, slots=1)
    asked = node.ask(model="base")
    asked.generation.chat.messages.add(role=prompt_pb2.ROLE_USER).parts.add(text="hi")
    with pytest.raises(Unsupported, match="chat"):
        await node.events(asked)
    assert (await node.events(node.ask(model="base")))[-1].HasField("finished")
    await call_unary(node.stub.UnloadModel(pb.UnloadModelRequest(model="base")))


async def test_another_model_or_instance_is_not_answered_for(node: Any, worker: Any) -> None:
    for client in (node, worker):
        with pytest.raises(NotFound, match="smollm2-135m"):
            await client.events(client.ask(model="gpt-9"))
        asked = client.ask()
        asked.hop.expected_instance_id = "an-older-one"
        with pytest.raises(WrongInstance):
            await client.events(asked)
        served = await node.worker()
        asked.hop.expected_instance_id = served.instance_id
        assert (await client.events(asked))[-1].HasField("finished")


@pytest.mark.parametrize(
    ("sampling", "field"),
    [
        ({"grammar": 'root ::= ("'}, "sampling.grammar"),
        ({"json_schema": '{"type":"nonsense"}'}, "sampling.json_schema"),
        ({"stop_token_ids": [99_999_999]}, "sampling.stop_token_ids"),
    ],
)
async def test_what_only_the_engine_can_judge_is_refused_too(
    sampling: dict[str, Any], field: str, worker: Any
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await worker.events(worker.ask(**sampling))
    assert {name.removeprefix("generation.") for name in fields(refused.value)} == {field}


async def test_token_ids_outside_the_vocabulary_are_refused(worker: Any) -> None:
    asked = worker.ask()
    asked.generation.token_ids.ids.extend([1, 99_999_999])
    with pytest.raises(InvalidRequest):
        await worker.events(asked)


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
    with pytest.raises(NotYet):
        await call_unary(node.stub.PrefetchModel(pb.PrefetchModelRequest()))
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
