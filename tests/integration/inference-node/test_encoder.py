"""A node that holds an encoder embeds, and refuses by name what an encoder cannot do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from orchestra.inference.v1 import inference_service_pb2 as pb
from orchestra.inference.v1 import node_pb2
from orchestra_errors import DataLoss, InvalidRequest, Unsupported
from orchestra_rpc import call_unary
from orchestra_testing import model_file

MINILM = "minilm-l6"


def spec(**changes: Any) -> dict[str, Any]:
    return {
        "model": MINILM,
        "path": str(model_file(MINILM)),
        "engine": "encoder",
        "chat": False,
        "context_tokens": 256,
        "slots": 1,
    } | changes


@pytest.fixture
async def encoder(own_node: Any) -> Any:
    _, client = own_node
    meant = replace(client, spec=client.spec_of(**spec()))
    await meant.load()
    return meant


async def test_a_folder_becomes_a_worker_that_embeds(encoder: Any, worker_of: Any) -> None:
    worker = await encoder.worker()
    able = worker.capabilities
    assert (worker.state, worker.engine, worker.quantization) == (node_pb2.STATE_SERVING, "encoder", "INT8")
    assert worker.revision.startswith("sha256:") and worker.engine_build.startswith("onnxruntime ")
    assert able.embeddings and able.HasField("generate") and not able.generate
    assert (able.context_tokens, able.max_n, worker.slots_total) == (256, 0, 1)
    texts = [f"def f{at}(x):\n    return x + {at}\n" * (1 + at % 5) for at in range(40)]
    request = pb.EmbedRequest(model=MINILM, texts=texts)
    through_node = await call_unary(encoder.stub.Embed(request))
    assert through_node.revision == worker.revision and len(through_node.embeddings) == 40
    async with worker_of(encoder) as direct:
        request.expected_instance_id = worker.instance_id
        answer = await call_unary(direct.stub.Embed(request))
    for one, other in zip(through_node.embeddings, answer.embeddings, strict=True):
        assert one.tokens == other.tokens
        assert list(one.values) == pytest.approx(list(other.values), abs=1e-5)
    count = await call_unary(encoder.stub.CountTokens(pb.CountTokensRequest(model=MINILM, text=texts[7])))
    assert count.tokens == answer.embeddings[7].tokens


async def test_what_an_encoder_cannot_do_is_refused_by_name(encoder: Any) -> None:
    with pytest.raises(Unsupported, match="generate"):
        await encoder.events(encoder.ask(model=MINILM))
    score = pb.ScoreRequest(model=MINILM)
    score.items.add(text="a", target_text="b")
    with pytest.raises(Unsupported, match="score"):
        await call_unary(encoder.stub.Score(score))
    texts = ["a"] * 30
    texts[2] = texts[29] = "word " * 300
    with pytest.raises(InvalidRequest) as refused:
        await call_unary(encoder.stub.Embed(pb.EmbedRequest(model=MINILM, texts=texts)))
    assert [one.field for one in refused.value.violations] == ["texts[2]", "texts[29]"]


async def test_a_folder_that_is_none_is_refused_and_leaves_nothing(own_node: Any, tmp_path: Any) -> None:
    _, client = own_node
    (tmp_path / "m").mkdir()
    (tmp_path / "m/model.onnx").write_bytes(b"half a model")
    with pytest.raises(DataLoss):
        await client.load(**spec(path=str(tmp_path / "m")))
    (tmp_path / "m/model.onnx").unlink()
    with pytest.raises(InvalidRequest, match="onnx"):
        await client.load(**spec(path=str(tmp_path / "m")))
    assert not [one for one in (await client.node()).workers if one.state == node_pb2.STATE_SERVING]


async def test_it_leaves_as_it_came(encoder: Any) -> None:
    before = (await encoder.worker()).memory_bytes
    gone = await call_unary(encoder.stub.UnloadModel(pb.UnloadModelRequest(model=MINILM)))
    assert gone.was_loaded and gone.memory_freed_bytes > 100 << 20 <= before
    assert not (await encoder.node()).workers
