"""Texts through the whole mesh to the embedding model, and what its vectors say of code."""

from __future__ import annotations

import asyncio
from math import sqrt
from typing import Any

import pytest

from orchestra.ledger.v1 import cost_ledger_service_pb2 as ledger_pb
from orchestra.ledger.v1 import cost_ledger_service_pb2_grpc as ledger_grpc
from orchestra.router.v1 import router_service_pb2 as router_pb
from orchestra_errors import InvalidRequest, Unsupported
from orchestra_rpc import call_stream, call_unary, open_channel
from orchestra_testing import MINILM, SMOL, LocalMesh, generate_request

pytestmark = pytest.mark.timeout(180)

SAME_TASK = (
    "def add(a, b):\n    return a + b",
    "def sum_two(x, y):\n    result = x + y\n    return result",
)
ANOTHER = "class Node:\n    def __init__(self, value):\n        self.next = None"


def cosine(one: Any, other: Any) -> float:
    return sum(a * b for a, b in zip(one.values, other.values, strict=True))


async def test_code_for_one_task_is_near_and_for_another_far(router: Any) -> None:
    texts = [*SAME_TASK, ANOTHER]
    answer = await call_unary(router.Embed(router_pb.EmbedRequest(texts=texts, local_only=True)))
    first, second, other = answer.embeddings
    assert (answer.model, answer.provider) == (MINILM, "local")
    assert answer.revision.startswith("sha256:")
    for one in answer.embeddings:
        assert len(one.values) == 384 and one.tokens > 0
        assert sqrt(cosine(one, one)) == pytest.approx(1, abs=1e-5)
    assert 0.6 < cosine(first, second) < 0.9
    assert cosine(first, other) < 0.35 > cosine(second, other)
    alone = await call_unary(router.Embed(router_pb.EmbedRequest(model=MINILM, texts=texts[:1])))
    assert cosine(alone.embeddings[0], first) == pytest.approx(1, abs=1e-4)


async def test_a_text_that_is_too_long_is_named_through_every_hop(router: Any) -> None:
    texts = ["short"] * 20 + ["word " * 600, "short", "word " * 700]
    with pytest.raises(InvalidRequest) as refused:
        await call_unary(router.Embed(router_pb.EmbedRequest(texts=texts)))
    assert [one.field for one in refused.value.violations] == ["texts[20]", "texts[22]"]
    assert "602 tokens" in refused.value.message


async def test_who_embeds_does_not_generate_and_who_generates_does_not_embed(router: Any) -> None:
    with pytest.raises(Unsupported):
        async with call_stream(router.Generate(generate_request(model=MINILM))) as events:
            _ = [event async for event in events]
    with pytest.raises(Unsupported, match="embeddings"):
        await call_unary(router.Embed(router_pb.EmbedRequest(model=SMOL, texts=["a"])))


async def test_the_ledger_knows_what_was_embedded(mesh: LocalMesh, router: Any) -> None:
    async with open_channel(mesh.address("cost-ledger")) as channel:
        ledger = ledger_grpc.CostLedgerServiceStub(channel)
        asked = ledger_pb.QueryCostsRequest(filter=ledger_pb.CostFilter(model=MINILM))

        async def tokens() -> int:
            found = await call_unary(ledger.QueryCosts(asked))
            return sum(one.prompt_tokens for one in found.buckets)

        before = await tokens()
        answer = await call_unary(router.Embed(router_pb.EmbedRequest(texts=["one two three"])))
        assert answer.embeddings[0].tokens == 5
        async with asyncio.timeout(20):
            # entries are shipped behind the answer
            while await tokens() < before + 5:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
