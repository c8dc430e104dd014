"""Streams: their grammar, whose they are, and what they count."""

from __future__ import annotations

import pytest

from orchestra.generation.v1 import event_pb2
from orchestra.inference.v1 import node_pb2
from orchestra_testing.engine_contract.given import Given, refused
from orchestra_testing.nodes import Event, NodeClient

PROMPT = "def solve(values):\n    # " + "sort the values, drop doubles, " * 12


def deltas_of(events: list[Event], index: int = 0) -> list[event_pb2.TextDelta]:
    """The text deltas of one sample, in order."""
    return [one.text_delta for one in events if one.sample_index == index and one.HasField("text_delta")]


def ids_of(events: list[Event], index: int = 0) -> list[int]:
    """The token ids of one sample, in order."""
    return [token for delta in deltas_of(events, index) for token in delta.token_ids]


class StreamContract(Given):
    """One stream is one request: started, its deltas, and one end for each sample."""

    async def test_a_stream_is_started_deltas_finished(
        self, either: NodeClient, node: NodeClient, can: node_pb2.Capabilities
    ) -> None:
        asked = either.ask(temperature=0)
        generation = asked.generation
        generation.request_id, generation.phase, generation.run_id = "r1", "p", "run"
        asked.hop.attempt_id, asked.hop.first_sample_index = "r1/3/1", 3
        events = await either.events(asked)
        kinds = [event.WhichOneof("event") for event in events]
        assert kinds[0] == "started" and kinds[-1] == "finished"
        assert set(kinds[1:-1]) <= {"text_delta", "heartbeat"}
        assert {event.sample_index for event in events} == {3}
        finished = events[-1].finished
        assert not finished.HasField("cost"), "the router prices local work"
        timings = finished.timings
        assert timings.device_share.ToNanoseconds() <= timings.total.ToNanoseconds()
        assert 0 < timings.to_first_token.ToNanoseconds() < timings.total.ToNanoseconds()
        served = await node.worker()
        began = events[0].started.provenance
        assert began == finished.provenance
        assert (began.model, began.provider) == (served.model, "local")
        assert began.engine and began.engine_build == served.engine_build
        assert (began.node_id, began.worker_id) == ("test-node", served.worker_id)
        assert began.instance_id == served.instance_id
        assert began.revision == served.revision != ""
        assert began.quantization == served.quantization
        assert (began.request_id, began.attempt_id, began.phase, began.run_id) == ("r1", "r1/3/1", "p", "run")
        assert len(began.trace_id) == 32 and len(began.sample_id) == 32 and began.drawn_at.seconds > 0
        for field in ("temperature", "top_p", "top_k", "min_p", "repetition_penalty", "seed", "n"):
            assert began.sampling.HasField(field), field

    async def test_usage_is_what_was_given(self, worker: NodeClient, can: node_pb2.Capabilities) -> None:
        asked = worker.ask(temperature=0, max_tokens=7)
        if can.token_ids_out:
            asked.generation.sampling.return_token_ids = True
        else:
            await refused(worker, worker.ask(return_token_ids=True), "return_token_ids")
        events = await worker.events(asked)
        usage = events[-1].finished.usage
        prompt = await worker.count("def add(a, b):")
        assert usage.prompt_tokens == len(prompt)
        assert 0 <= usage.cached_prompt_tokens <= usage.prompt_tokens
        assert 1 <= usage.completion_tokens <= 7
        ids = ids_of(events)
        if not can.token_ids_out:
            assert not ids
            return
        assert usage.completion_tokens == len(ids)
        if self.canonical:
            text = worker.text_of(events)
            assert await worker.count("def add(a, b):" + text) == prompt + ids, "the text is that of the ids"

    async def test_ids_are_given_to_those_alone_who_ask(self, worker: NodeClient) -> None:
        assert not ids_of(await worker.events(worker.ask()))

    async def test_characters_are_whole_whatever_the_tokens_cut(self, worker: NodeClient) -> None:
        events = await worker.events(worker.ask(self.wide_prompt, temperature=0, max_tokens=24))
        texts = [delta.text for delta in deltas_of(events)]
        assert not "".join(texts).isascii()
        assert all("\ufffd" not in text for text in texts)

    async def test_samples_of_one_request_end_each_by_itself(
        self, either: NodeClient, can: node_pb2.Capabilities
    ) -> None:
        events = await either.events(either.ask(n=5, seed=7, max_tokens=12))
        started = {one.sample_index: one.started.provenance for one in events if one.HasField("started")}
        finished = [one.sample_index for one in events if one.HasField("finished")]
        assert sorted(started) == sorted(finished) == [0, 1, 2, 3, 4]
        assert len([one for one in events if one.HasField("started")]) == 5
        assert len({one.sampling.seed for one in started.values()}) == 5
        assert len({one.sample_id for one in started.values()}) == 5
        assert len({either.text_of(events, index) for index in range(5)}) > 1
        if can.deterministic_seed:
            again = await either.text(either.ask(seed=started[3].sampling.seed, max_tokens=12))
            assert again == either.text_of(events, 3)

    @pytest.mark.parametrize("n", [2, 8])
    async def test_samples_of_one_request_compute_one_prompt(self, n: int, worker: NodeClient) -> None:
        events = await worker.events(worker.ask(f"# {n} {PROMPT}", n=n, seed=3, max_tokens=6))
        usages = [event.finished.usage for event in events if event.HasField("finished")]
        assert len(usages) == n
        (prompt,) = {usage.prompt_tokens for usage in usages}
        computed = sum(usage.prompt_tokens - usage.cached_prompt_tokens for usage in usages)
        assert prompt > 64
        if self.shares_prompts:
            assert 0.9 * prompt <= computed <= self.prompts_computed * prompt
        else:
            assert computed == n * prompt
