"""How answers end: at a bound, at a stop, in a full context."""

from __future__ import annotations

import pytest

from orchestra.generation.v1 import event_pb2
from orchestra.inference.v1 import node_pb2
from orchestra_errors import InvalidRequest
from orchestra_testing.engine_contract.given import Given, long_prompt, prompt_of, refused
from orchestra_testing.engine_contract.streams import deltas_of
from orchestra_testing.nodes import NodeClient


class EndContract(Given):
    """Every answer ends for a reason that it names."""

    async def test_an_answer_ends_at_max_tokens(self, worker: NodeClient, can: node_pb2.Capabilities) -> None:
        for limit in (1, 5):
            asked = self.endless(worker, can)
            asked.generation.sampling.max_tokens = limit
            finished = (await worker.events(asked))[-1].finished
            assert finished.reason == event_pb2.FINISH_REASON_MAX_TOKENS
            assert finished.usage.completion_tokens == limit
            assert not finished.stop_matched

    async def test_a_stop_text_ends_before_itself_also_across_tokens(
        self, worker: NodeClient, can: node_pb2.Capabilities
    ) -> None:
        asked = worker.ask(temperature=0, max_tokens=16)
        if "stop" in can.missing_sampling:
            asked.generation.sampling.stop.append("x")
            await refused(worker, asked, "stop")
            return
        texts = [delta.text for delta in deltas_of(await worker.events(asked)) if delta.text]
        whole = "".join(texts)
        assert len(whole) > 3
        # from the middle of one token into the next
        border = next(
            (at for at in _borders(texts) if whole.find(whole[at - 1 : at + 1]) == at - 1), len(whole) - 1
        )
        stop = whole[border - 1 : border + 1]
        asked.generation.sampling.stop.extend(["never to be found", stop])
        events = await worker.events(asked)
        finished = events[-1].finished
        assert finished.reason == event_pb2.FINISH_REASON_STOP_SEQUENCE
        assert finished.stop_matched == stop
        assert worker.text_of(events) == whole[: whole.find(stop)]

    async def test_a_stop_token_ends_before_itself(
        self, worker: NodeClient, can: node_pb2.Capabilities
    ) -> None:
        asked = worker.ask(temperature=0, max_tokens=16)
        if "stop_token_ids" in can.missing_sampling:
            asked.generation.sampling.stop_token_ids.append(5)
            await refused(worker, asked, "stop_token_ids")
            return
        asked.generation.sampling.return_token_ids = can.token_ids_out
        whole = deltas_of(await worker.events(asked))
        at = len(whole) // 2
        stop = whole[at].token_ids[0] if can.token_ids_out else (await worker.count(whole[at].text))[-1]
        asked.generation.sampling.stop_token_ids.append(stop)
        events = await worker.events(asked)
        assert events[-1].finished.reason == event_pb2.FINISH_REASON_STOP_SEQUENCE
        text = worker.text_of(events)
        shorter = "".join(delta.text for delta in whole[:at])
        assert text == shorter[: len(text)], "it ends where the token first comes, and that no later"

    async def test_a_full_context_is_said_to_be_full(
        self, worker: NodeClient, can: node_pb2.Capabilities
    ) -> None:
        asked = self.endless(worker, can)
        asked.generation.text = await prompt_of(worker, can.context_tokens - 24)
        finished = (await worker.events(asked))[-1].finished
        assert finished.reason == event_pb2.FINISH_REASON_CONTEXT_FULL
        used = finished.usage.prompt_tokens + finished.usage.completion_tokens
        assert used == can.context_tokens

    async def test_a_prompt_longer_than_the_context_is_refused_with_both_figures(
        self, either: NodeClient, can: node_pb2.Capabilities
    ) -> None:
        long = long_prompt(can.context_tokens + 8)
        with pytest.raises(InvalidRequest) as refusal:
            await either.events(either.ask(long))
        assert [one.field for one in refusal.value.violations] == ["generation.text"]
        assert str(len(await either.count(long))) in refusal.value.message
        assert str(can.context_tokens) in refusal.value.message


def _borders(texts: list[str]) -> list[int]:
    """Where one text ends and the next begins, in characters of all."""
    at, found = 0, []
    for text in texts[:-1]:
        at += len(text)
        found.append(at)
    return found
