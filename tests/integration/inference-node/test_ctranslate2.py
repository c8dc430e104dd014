"""A node that holds an evaluator: it generates and scores, or embeds, and refuses the rest by name."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from orchestra.inference.v1 import inference_service_pb2 as pb
from orchestra.inference.v1 import node_pb2
from orchestra_errors import Unsupported
from orchestra_rpc import call_unary

# the tiny models lie beside the unit tests of the engine
sys.path.insert(0, str(Path(__file__).parents[2] / "unit/inference-node/ctranslate2"))

from tiny_models import write_codet5, write_graphcodebert

PROMPT = "def f ( x ) :"


def spec(model: str, path: Path) -> dict[str, Any]:
    return {
        "model": model,
        "path": str(path),
        "engine": "ctranslate2",
        "chat": False,
        "context_tokens": 64,
        "slots": 2,
    }


@pytest.fixture
async def codet5(own_node: Any, tmp_path: Path) -> Any:
    _, client = own_node
    await client.load(**spec("codet5-base", write_codet5(tmp_path / "codet5")))
    return client


async def test_a_model_that_writes_generates_and_scores(codet5: Any) -> None:
    worker = await codet5.worker("codet5-base")
    able = worker.capabilities
    assert (worker.state, worker.engine, worker.quantization) == (
        node_pb2.STATE_SERVING,
        "ctranslate2",
        "F32",
    )
    assert able.generate and able.score and able.logprobs and not able.deterministic_seed
    assert set(able.missing_sampling) >= {"seed", "min_p"}
    asked = codet5.ask(
        PROMPT, "codet5-base", temperature=1, n=3, max_tokens=12, logprobs=True, return_token_ids=True
    )
    events = await codet5.events(asked)
    finished = [event.finished for event in events if event.HasField("finished")]
    assert len(finished) == 3
    for done in finished:
        assert done.provenance.revision.startswith("sha256:")
        assert not done.provenance.sampling.HasField("seed"), "no seed was used, so none is told"
        assert 0 < done.usage.completion_tokens <= 12
    score = pb.ScoreRequest(model="codet5-base")
    for index in range(3):
        deltas = [
            one.text_delta for one in events if one.sample_index == index and one.HasField("text_delta")
        ]
        ids = [token for delta in deltas for token in delta.token_ids]
        if ids:
            score.items.add(text=PROMPT).target_token_ids.ids.extend(ids)
    answer = await call_unary(codet5.stub.Score(score))
    order = sorted(range(len(events)), key=lambda at: events[at].sample_index)
    drawn = [value for at in order for value in events[at].text_delta.logprobs]
    scored = [value for target in answer.targets for value in target.logprobs]
    assert scored == pytest.approx(drawn, abs=1e-3)


async def test_what_it_cannot_do_is_refused_by_name(codet5: Any) -> None:
    asked = codet5.ask(PROMPT, "codet5-base", seed=3, min_p=0.1)
    with pytest.raises(Unsupported, match="seed, min_p"):
        await codet5.events(asked)
    with pytest.raises(Unsupported, match="embeddings"):
        await call_unary(codet5.stub.Embed(pb.EmbedRequest(model="codet5-base", texts=["a"])))
    score = pb.ScoreRequest(model="codet5-base", top_logprobs=2)
    score.items.add(text=PROMPT, target_text="return x")
    with pytest.raises(Unsupported, match="top_logprobs"):
        await call_unary(codet5.stub.Score(score))


async def test_a_model_that_reads_embeds_and_never_scores(own_node: Any, tmp_path: Path) -> None:
    _, client = own_node
    await client.load(**spec("graphcodebert", write_graphcodebert(tmp_path / "graphcodebert")))
    able = (await client.worker("graphcodebert")).capabilities
    assert able.embeddings and not able.generate and not able.score
    texts = [PROMPT, "return x + 1", "y"]
    answer = await call_unary(client.stub.Embed(pb.EmbedRequest(model="graphcodebert", texts=texts)))
    assert [len(one.values) for one in answer.embeddings] == [16] * 3
    score = pb.ScoreRequest(model="graphcodebert")
    score.items.add(text=PROMPT, target_text="return x")
    with pytest.raises(Unsupported, match="score"):
        await call_unary(client.stub.Score(score))
