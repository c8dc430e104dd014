"""Given texts: scored and embedded, or refused by name."""

from __future__ import annotations

import math

import pytest

from orchestra.inference.v1 import inference_service_pb2 as pb
from orchestra.inference.v1 import node_pb2
from orchestra_errors import InvalidRequest, NotFound, Unsupported, WrongInstance
from orchestra_rpc import call_unary
from orchestra_testing.engine_contract.given import Given, long_prompt
from orchestra_testing.engine_contract.streams import deltas_of, ids_of
from orchestra_testing.nodes import NodeClient


async def scores(client: NodeClient, *items: tuple[list[int], list[int]], top: int = 0) -> list[list[float]]:
    """The logprobs of each target after its context, both as token ids."""
    request = pb.ScoreRequest(model=client.model, top_logprobs=top)
    for context, target in items:
        item = request.items.add()
        item.token_ids.ids.extend(context)
        item.target_token_ids.ids.extend(target)
    answer = await call_unary(client.stub.Score(request))
    return [list(target.logprobs) for target in answer.targets]


async def vectors(client: NodeClient, *texts: str) -> list[list[float]]:
    """The vector of each text."""
    answer = await call_unary(client.stub.Embed(pb.EmbedRequest(model=client.model, texts=texts)))
    return [list(one.values) for one in answer.embeddings]


class ScoreContract(Given):
    """The logprobs of a text are the model's own, whoever wrote it."""

    async def test_a_text_scores_as_the_sum_of_its_parts(
        self, either: NodeClient, can: node_pb2.Capabilities
    ) -> None:
        request = pb.ScoreRequest(model=either.model)
        request.items.add(text="The sea is", target_text=" blue and deep")
        if not can.score:
            with pytest.raises(Unsupported) as refusal:
                await call_unary(either.stub.Score(request))
            assert refusal.value.metadata["capability"] == "score"
            return
        answer = await call_unary(either.stub.Score(request))
        (target,) = answer.targets
        assert len(target.token_ids) == len(target.logprobs) > 1
        assert all(value <= 0 for value in target.logprobs)
        assert answer.model == either.model and answer.revision
        context, ids = await either.count("The sea is"), list(target.token_ids)
        whole, first, rest = await scores(
            either, (context, ids), (context, ids[:1]), (context + ids[:1], ids[1:])
        )
        assert sum(whole) == pytest.approx(sum(first) + sum(rest), abs=self.tolerance * len(ids))
        assert whole == pytest.approx(list(target.logprobs), abs=self.tolerance)

    async def test_a_target_scores_what_drawing_it_gave(
        self, worker: NodeClient, can: node_pb2.Capabilities
    ) -> None:
        if not (can.score and can.logprobs and can.token_ids_out):
            return
        events = await worker.events(worker.ask(seed=5, logprobs=True, return_token_ids=True))
        drawn = [value for delta in deltas_of(events) for value in delta.logprobs]
        context = await worker.count("def add(a, b):")
        (scored,) = await scores(worker, (context, ids_of(events)))
        assert scored == pytest.approx(drawn, abs=self.tolerance), "no setting but the neutral ones"

    async def test_what_is_wrong_with_items_is_named_at_once(
        self, worker: NodeClient, can: node_pb2.Capabilities
    ) -> None:
        bad = pb.ScoreRequest(model=worker.model, top_logprobs=21)
        bad.items.add(text="a")
        bad.items.add(target_text="b")
        bad.items.add(text="a", target_text="")
        with pytest.raises(InvalidRequest) as refusal:
            await call_unary(worker.stub.Score(bad))
        assert {one.field for one in refusal.value.violations} == {
            "top_logprobs",
            "items[0].target",
            "items[1].context",
            "items[2].target_text",
        }
        with pytest.raises(NotFound):
            other = pb.ScoreRequest(model="nobody")
            other.items.add(text="a", target_text="b")
            await call_unary(worker.stub.Score(other))
        if can.score:
            with pytest.raises(InvalidRequest, match=r"items\[1\]"):
                await scores(worker, ([1], [2]), ([1], [10**8]))
            with pytest.raises(InvalidRequest, match="context"):
                await scores(worker, ([1], [2] * can.context_tokens))


class EmbedContract(Given):
    """A text has one vector of unit length, whatever comes with it."""

    async def test_vectors_have_unit_length_and_are_the_texts_own(
        self, either: NodeClient, can: node_pb2.Capabilities
    ) -> None:
        texts = ("sort a list of numbers", "the sea is blue", "sort a list of numbers", "a" * 40)
        if not can.embeddings:
            with pytest.raises(Unsupported) as refusal:
                await vectors(either, *texts)
            assert refusal.value.metadata["capability"] == "embeddings"
            return
        together = await vectors(either, *texts)
        assert len({len(vector) for vector in together}) == 1
        for text, vector in zip(texts, together, strict=True):
            assert math.hypot(*vector) == pytest.approx(1.0, abs=1e-4)
            (by_itself,) = await vectors(either, text)
            assert vector == pytest.approx(by_itself, abs=self.tolerance)
        assert together[0] == pytest.approx(together[2], abs=self.tolerance)
        assert together[0] != pytest.approx(together[1], abs=self.tolerance)

    async def test_many_texts_come_back_in_order(
        self, worker: NodeClient, can: node_pb2.Capabilities
    ) -> None:
        texts = [f"text number {at}" for at in range(70)]
        if not can.embeddings:
            with pytest.raises(Unsupported, match="embeddings"):
                await vectors(worker, *texts)
            return
        request = pb.EmbedRequest(model=worker.model, texts=texts)
        answer = await call_unary(worker.stub.Embed(request))
        assert answer.model == worker.model and answer.revision
        assert all(one.tokens > 0 for one in answer.embeddings)
        found = [list(one.values) for one in answer.embeddings]
        for at in (0, 33, 69):
            (alone,) = await vectors(worker, texts[at])
            assert alone == pytest.approx(found[at], abs=self.tolerance)

    async def test_wrong_texts_are_refused(self, worker: NodeClient, can: node_pb2.Capabilities) -> None:
        with pytest.raises(InvalidRequest) as refusal:
            await vectors(worker, "a", "")
        assert [one.field for one in refusal.value.violations] == ["texts[1]"]
        with pytest.raises(WrongInstance):
            request = pb.EmbedRequest(texts=["a"], expected_instance_id="other")
            await call_unary(worker.stub.Embed(request))
        if can.embeddings:
            with pytest.raises(InvalidRequest, match="texts"):
                await vectors(worker, "a", long_prompt(4 * can.context_tokens))
