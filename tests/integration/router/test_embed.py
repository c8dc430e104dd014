"""Embed at the router: one model's worker answers, in order, or it is said why none can."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from orchestra.inference.v1 import node_pb2
from orchestra.router.v1 import router_service_pb2 as pb
from orchestra_errors import OrchestraError, WorkerLost
from orchestra_rpc import error_from_rpc

EMBEDS = node_pb2.Capabilities(context_tokens=512, generate=False, embeddings=True)


async def refused(mesh: Any, **request: Any) -> OrchestraError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await mesh.stub.Embed(pb.EmbedRequest(**request))
    return error_from_rpc(caught.value)


@pytest.fixture
async def embedding(mesh: Any) -> Any:
    """node-b embeds, node-a generates."""
    mesh.node_b.capabilities = EMBEDS
    await mesh.publish()
    return mesh


@pytest.mark.parametrize("model", ["", "gemma3-270m"])
async def test_texts_come_back_in_order_from_the_model_that_embeds(embedding: Any, model: str) -> None:
    texts = ["one", "three", "a"]
    answer = await embedding.stub.Embed(pb.EmbedRequest(model=model, texts=texts, local_only=True))
    assert [one.values[0] for one in answer.embeddings] == [3, 5, 1]
    assert (answer.model, answer.provider, answer.revision) == ("gemma3-270m", "local", "sha256:as-it-says")
    (asked,) = embedding.node_b.embedded
    assert (asked.model, asked.expected_instance_id) == ("gemma3-270m", "node-b-1")
    (entry,) = await embedding.ledger.until(1)
    assert (entry.usage.prompt_tokens, entry.model, entry.node_id) == (9, "gemma3-270m", "node-b")
    assert entry.error_reason == "" and entry.timings.HasField("total")
    assert not entry.cost.HasField("nanos"), "a worker does not say how long it computed"


async def test_it_is_never_chosen_to_generate(embedding: Any) -> None:
    answer = await embedding.stub.ExplainRoute(
        pb.ExplainRouteRequest(generation=embedding.ask(model="gemma3-270m"))
    )
    mine = next(one for one in answer.candidates if one.model == "gemma3-270m")
    assert (mine.eligible, mine.reason) == (False, "CAPABILITY_MISSING")
    listed = (await embedding.stub.ListModels(pb.ListModelsRequest(serving_only=True))).models
    able = {model.name: model.capabilities for model in listed}
    assert able["gemma3-270m"].embeddings and not able["gemma3-270m"].generate
    assert not able["smollm2-135m"].embeddings


async def test_another_worker_of_the_model_is_asked_when_one_fails(embedding: Any) -> None:
    for node in (embedding.node_a, embedding.node_b):
        node.model, node.capabilities = "gemma3-270m", EMBEDS
        node.embeds = lambda texts: WorkerLost("gemma3-270m", "died")
    await embedding.publish()
    assert (await refused(embedding, texts=["a"])).reason == "WORKER_LOST"
    assert (len(embedding.node_a.embedded), len(embedding.node_b.embedded)) == (1, 1)
    embedding.node_b.embeds = lambda texts: [[1.0]] * len(texts)
    assert (await embedding.stub.Embed(pb.EmbedRequest(texts=["a"]))).model == "gemma3-270m"
    entries = await embedding.ledger.until(3)
    assert sorted(entry.error_reason for entry in entries)[-2:] == ["WORKER_LOST", "WORKER_LOST"]


async def test_a_restarted_worker_is_not_taken_for_the_one_that_was_chosen(embedding: Any) -> None:
    embedding.node_b.instance_id = "node-b-2"
    error = await refused(embedding, texts=["a"])
    assert error.reason == "UNAVAILABLE" and "restarted" in error.message


async def test_a_worker_that_leaves_a_text_out_is_not_believed(embedding: Any) -> None:
    embedding.node_b.embeds = lambda texts: [[1.0]]
    error = await refused(embedding, texts=["a", "b"])
    assert error.reason == "UNAVAILABLE" and "1 vectors for 2 texts" in error.message


async def test_everything_wrong_is_named_at_once(embedding: Any) -> None:
    error = await refused(embedding, texts=["a", "", "b", ""])
    assert [one.field for one in error.violations] == ["texts[1]", "texts[3]"]
    assert [one.field for one in (await refused(embedding)).violations] == ["texts"]
    assert [one.field for one in (await refused(embedding, texts=["a"] * 2049)).violations] == ["texts"]
    assert (await refused(embedding, model="gema3-270m", texts=["a"])).reason == "NOT_FOUND"
    assert embedding.node_b.embedded == []


async def test_who_cannot_embed_is_not_asked(mesh: Any) -> None:
    assert (await refused(mesh, model="smollm2-135m", texts=["a"])).reason == "CAPABILITY_MISSING"
    assert (await refused(mesh, texts=["a"])).reason == "NO_ELIGIBLE_TARGET"
    assert (await refused(mesh, model="codellama-34b", texts=["a"])).reason == "NO_ELIGIBLE_TARGET"
    assert (await refused(mesh, model="gpt-4o", texts=["a"])).reason == "NOT_YET"
    assert (await refused(mesh, model="gpt-4o", texts=["a"], local_only=True)).reason == "PERMISSION_DENIED"


async def test_among_several_models_one_must_be_named(embedding: Any) -> None:
    embedding.node_a.capabilities = EMBEDS
    await embedding.publish()
    error = await refused(embedding, texts=["a"])
    assert [one.field for one in error.violations] == ["model"]
    assert "gemma3-270m, smollm2-135m" in error.message
