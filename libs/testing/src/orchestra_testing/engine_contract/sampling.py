"""How tokens are drawn: seeds, logprobs, constraints."""

from __future__ import annotations

import json

import pytest

from orchestra.inference.v1 import node_pb2
from orchestra_errors import InvalidRequest
from orchestra_testing.engine_contract.given import Given, refused
from orchestra_testing.engine_contract.streams import deltas_of, ids_of
from orchestra_testing.nodes import NodeClient

SCHEMA = (
    '{"type":"object","properties":{"ok":{"type":"boolean"}},"required":["ok"],"additionalProperties":false}'
)
# a value for each setting that is not its neutral one
SETTINGS: dict[str, object] = {
    "temperature": 0.5,
    "top_p": 0.9,
    "top_k": 5,
    "min_p": 0.1,
    "repetition_penalty": 1.1,
    "presence_penalty": 0.5,
    "frequency_penalty": 0.5,
}


class SamplingContract(Given):
    """A setting does what it says, or is refused by name."""

    async def test_greedy_draws_repeat(self, worker: NodeClient) -> None:
        asked = worker.ask(temperature=0, max_tokens=16)
        assert await worker.text(asked) == await worker.text(asked)

    async def test_seeded_draws_repeat_and_others_differ(
        self, worker: NodeClient, can: node_pb2.Capabilities
    ) -> None:
        asked = worker.ask(seed=11, max_tokens=24)
        texts = [await worker.text(asked) for _ in range(2)]
        if can.deterministic_seed:
            assert texts[0] == texts[1]
        free = {await worker.text(worker.ask(max_tokens=24)) for _ in range(4)}
        assert len(free) > 1

    @pytest.mark.parametrize("setting", SETTINGS)
    async def test_every_setting_is_taken_or_refused(
        self, setting: str, worker: NodeClient, can: node_pb2.Capabilities
    ) -> None:
        asked = worker.ask(seed=5)
        setattr(asked.generation.sampling, setting, SETTINGS[setting])
        if setting in can.missing_sampling:
            await refused(worker, asked, setting)
            return
        events = await worker.events(asked)
        used = getattr(events[-1].finished.provenance.sampling, setting)
        assert used == pytest.approx(SETTINGS[setting])

    async def test_logprobs_are_one_per_token_after_the_processors(
        self, worker: NodeClient, can: node_pb2.Capabilities
    ) -> None:
        asked = worker.ask(logprobs=True, seed=3)
        if not can.logprobs:
            await refused(worker, asked, "logprobs")
            return
        if "top_k" not in can.missing_sampling:
            asked.generation.sampling.top_k = 2
        events = await worker.events(asked)
        logprobs = [value for delta in deltas_of(events) for value in delta.logprobs]
        assert len(logprobs) == events[-1].finished.usage.completion_tokens > 0
        assert all(-100 < value <= 1e-6 for value in logprobs)
        # of the answers to one prompt, the greedy one is the sure one
        asked.generation.sampling.temperature = 0
        greedy = [value for delta in deltas_of(await worker.events(asked)) for value in delta.logprobs]
        assert greedy == pytest.approx([0.0] * len(greedy), abs=self.tolerance)

    async def test_the_most_likely_tokens_come_sorted_with_the_drawn_one_among_them(
        self, worker: NodeClient, can: node_pb2.Capabilities
    ) -> None:
        asked = worker.ask(logprobs=True, top_logprobs=can.max_top_logprobs + 1, seed=3)
        if can.max_top_logprobs < 20:
            await refused(worker, asked, "top_logprobs")
        if not can.max_top_logprobs:
            return
        top_k = 2 if "top_k" not in can.missing_sampling else 0
        most = min(5, can.max_top_logprobs)
        asked = worker.ask(
            logprobs=True, top_logprobs=most, seed=3, top_k=top_k, return_token_ids=can.token_ids_out
        )
        deltas = deltas_of(await worker.events(asked))
        ids = [token for delta in deltas for token in delta.token_ids]
        logprobs = [value for delta in deltas for value in delta.logprobs]
        tops = [top for delta in deltas for top in delta.top_logprobs]
        assert len(tops) == len(logprobs) > 0
        for at, top in enumerate(tops):
            assert 1 <= len(top.token_ids) == len(top.logprobs) == len(top.texts) <= (top_k or most)
            assert list(top.logprobs) == sorted(top.logprobs, reverse=True)
            if can.token_ids_out and top_k:
                drawn = dict(zip(top.token_ids, top.logprobs, strict=True))
                assert drawn[ids[at]] == pytest.approx(logprobs[at], abs=self.tolerance)

    async def test_prompt_logprobs_are_one_per_token_of_the_prompt(
        self, worker: NodeClient, can: node_pb2.Capabilities
    ) -> None:
        asked = worker.ask("The sea is", max_tokens=2, prompt_logprobs=2)
        if not can.prompt_logprobs:
            await refused(worker, asked, "prompt_logprobs")
            return
        given = (await worker.events(asked))[-1].finished.prompt_logprobs
        ids = await worker.count("The sea is")
        assert list(given.token_ids) == ids
        assert len(given.logprobs) == len(ids) and given.logprobs[0] == 0
        assert all(value <= 1e-6 for value in given.logprobs)
        assert [len(top.token_ids) for top in given.top_logprobs] == [0] + [2] * (len(ids) - 1)

    async def test_an_answer_is_held_to_its_schema(
        self, worker: NodeClient, can: node_pb2.Capabilities
    ) -> None:
        asked = worker.ask("Answer in JSON: ", json_schema=SCHEMA, max_tokens=60, temperature=0)
        if not can.json_schema:
            await refused(worker, asked, "json_schema")
            return
        assert set(json.loads(await worker.text(asked))) == {"ok"}
        with pytest.raises(InvalidRequest) as refusal:
            await worker.events(worker.ask(json_schema='{"type":"nonsense"}'))
        assert [one.field for one in refusal.value.violations] == ["generation.sampling.json_schema"]

    async def test_an_answer_is_held_to_its_grammar(
        self, worker: NodeClient, can: node_pb2.Capabilities
    ) -> None:
        asked = worker.ask(grammar='root ::= "yes" | "no"', seed=1)
        if not can.grammar:
            await refused(worker, asked, "grammar")
            return
        assert await worker.text(asked) in ("yes", "no")
        with pytest.raises(InvalidRequest) as refusal:
            await worker.events(worker.ask(grammar='root ::= ("'))
        assert [one.field for one in refusal.value.violations] == ["generation.sampling.grammar"]

    async def test_greedy_samples_of_one_prompt_are_one_answer(self, worker: NodeClient) -> None:
        with pytest.raises(InvalidRequest) as refusal:
            await worker.events(worker.ask(temperature=0, n=3))
        assert [one.field for one in refusal.value.violations] == ["generation.sampling.n"]

    async def test_a_stop_token_that_is_none_is_refused(
        self, worker: NodeClient, can: node_pb2.Capabilities
    ) -> None:
        asked = worker.ask(stop_token_ids=[99_999_999])
        if "stop_token_ids" in can.missing_sampling:
            await refused(worker, asked, "stop_token_ids")
            return
        with pytest.raises(InvalidRequest) as refusal:
            await worker.events(asked)
        assert [one.field for one in refusal.value.violations] == ["generation.sampling.stop_token_ids"]

    async def test_logprobs_of_draws_are_those_of_the_tokens(
        self, worker: NodeClient, can: node_pb2.Capabilities
    ) -> None:
        """Draws that repeat do so with their logprobs, whoever asks for them."""
        if not (can.logprobs and can.token_ids_out):
            await refused(
                worker,
                worker.ask(logprobs=not can.logprobs, return_token_ids=not can.token_ids_out),
                "return_token_ids" if not can.token_ids_out else "logprobs",
            )
            return
        again: dict[str, object] = {"seed": 9} if can.deterministic_seed else {"temperature": 0}
        plain = await worker.events(worker.ask(return_token_ids=True, **again))
        told = await worker.events(worker.ask(return_token_ids=True, logprobs=True, **again))
        assert ids_of(plain) == ids_of(told)
