"""The openai SDK over real sockets before llmock: the whole stream, its provenance, its cost."""

from __future__ import annotations

from typing import Any

import pytest

from orchestra.cloud.v1 import cloud_proxy_service_pb2 as pb
from orchestra.generation.v1 import event_pb2, prompt_pb2, routing_pb2, usage_pb2
from orchestra.ledger.v1 import entry_pb2
from orchestra_errors import InvalidRequest, NotFound, NotYet, Unsupported
from orchestra_rpc import call_unary, unpack_status


def kinds(events: list[event_pb2.GenerationEvent]) -> list[str | None]:
    return [event.WhichOneof("event") for event in events]


def text(events: list[event_pb2.GenerationEvent]) -> str:
    return "".join(event.text_delta.text for event in events)


class TestOneSample:
    async def test_an_answer_comes_whole_with_provenance_and_cost(
        self, start: Any, ask: Any, llmock: Any
    ) -> None:
        llmock.reply("The answer is 42.")
        proxy = await start(llmock.base_url())
        events = await proxy.events(ask(max_tokens=50, temperature=0.5))
        assert kinds(events)[0] == "started"
        assert kinds(events)[-1] == "finished"
        assert text(events) == "The answer is 42."
        done = events[-1].finished
        assert done.reason == event_pb2.FINISH_REASON_STOP
        assert done.usage.prompt_tokens > 0
        assert not done.usage.HasField("cached_prompt_tokens"), "what is not reported stays absent"
        assert done.cost.state == usage_pb2.COST_STATE_SETTLED
        assert done.cost.nanos == done.usage.prompt_tokens * 2500 + done.usage.completion_tokens * 10_000
        origin = done.provenance
        assert (origin.model, origin.provider, origin.provider_model) == ("gpt-4o", "acme", "gpt-4o")
        assert origin.tier == routing_pb2.TIER_PREMIUM
        assert origin.revision, "the id that the provider reports"
        assert origin.price_version == "price-1"
        assert origin.sample_id == events[0].started.provenance.sample_id != ""
        assert origin.sampling.temperature == 0.5
        llmock.assert_resilient(strict=True)

    async def test_the_attempt_is_settled_under_its_reservation(
        self, start: Any, ask: Any, llmock: Any
    ) -> None:
        proxy = await start(llmock.base_url())
        events = await proxy.events(ask(reservation_id="res-1"))
        entry = await proxy.ledger.entry("req-1/0/1")
        done = events[-1].finished
        assert entry.state == entry_pb2.ENTRY_STATE_SETTLED
        assert entry.cost == done.cost
        assert entry.usage == done.usage
        assert (entry.tenant, entry.run_id, entry.reservation_id) == ("tenant-1", "run-1", "res-1")
        assert entry.sample_id == done.provenance.sample_id
        assert proxy.ledger.settled == ["req-1/0/1"]

    async def test_a_bound_answer_says_so(self, start: Any, ask: Any, raw: Any) -> None:
        body = (
            b'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'
            b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"length"}]}\n\n'
            b'data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":4,"total_tokens":13}}\n\n'
            b"data: [DONE]\n\n"
        )
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
        async with raw([head + body]) as server:
            proxy = await start(server.url)
            bound = await proxy.events(ask(max_tokens=4))
            assert bound[-1].finished.reason == event_pb2.FINISH_REASON_MAX_TOKENS
            full = await proxy.events(ask(max_tokens=400))
            assert full[-1].finished.reason == event_pb2.FINISH_REASON_CONTEXT_FULL

    async def test_tool_calls_pass(self, start: Any, ask: Any, llmock: Any) -> None:
        llmock.call_tool("get_weather", {"city": "Paris"})
        request = ask()
        request.generation.tools.add(
            name="get_weather",
            parameters_json_schema='{"type":"object","properties":{"city":{"type":"string"}}}',
        )
        proxy = await start(llmock.base_url())
        events = await proxy.events(request)
        calls = [event.tool_call_delta for event in events if event.WhichOneof("event") == "tool_call_delta"]
        assert calls[0].name == "get_weather"
        assert calls[0].id
        assert "".join(call.arguments_json for call in calls).replace(" ", "") == '{"city":"Paris"}'
        assert events[-1].finished.reason == event_pb2.FINISH_REASON_TOOL_CALLS

    async def test_cached_and_reasoning_tokens_thoughts_and_logprobs(
        self, start: Any, ask: Any, raw: Any
    ) -> None:
        body = (
            b'data: {"model":"gpt-4o-2024-08-06","system_fingerprint":"fp_1","choices":[{"index":0,"delta":'
            b'{"reasoning_content":"hmm"}}]}\n\n'
            b'data: {"choices":[{"index":0,"delta":{"content":"\\ud83d"},"logprobs":{"content":[{"token":"x",'
            b'"logprob":-0.5,"top_logprobs":[{"token":"x","logprob":-0.5},{"token":"y","logprob":-1.5}]}]}}]}\n\n'
            b'data: {"choices":[{"index":0,"delta":{"content":"\\ude00!"}}]}\n\n'
            b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
            b'data: {"choices":[],"usage":{"prompt_tokens":90,"completion_tokens":40,"total_tokens":130,'
            b'"prompt_tokens_details":{"cached_tokens":64},"completion_tokens_details":{"reasoning_tokens":30}}}\n\n'
            b"data: [DONE]\n\n"
        )
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
        async with raw([head + body]) as server:
            proxy = await start(server.url)
            events = await proxy.events(ask(logprobs=True, top_logprobs=2))
        assert text(events) == "\U0001f600!", "a character cut between two chunks is joined"
        assert "".join(event.reasoning_delta.text for event in events) == "hmm"
        delta = next(event.text_delta for event in events if event.text_delta.logprobs)
        assert list(delta.logprobs) == [-0.5]
        assert list(delta.top_logprobs[0].texts) == ["x", "y"]
        usage = events[-1].finished.usage
        assert (usage.cached_prompt_tokens, usage.reasoning_tokens) == (64, 30)
        assert events[-1].finished.provenance.revision == "fp_1"

    async def test_a_waiting_caller_hears_a_heart_beat(self, start: Any, ask: Any, llmock: Any) -> None:
        llmock.slow_first_token(0.5)
        proxy = await start(llmock.base_url(), heartbeat_s=0.1)
        events = await proxy.events(ask())
        assert kinds(events)[:2] == ["started", "heartbeat"]
        assert events[1].heartbeat.activity == event_pb2.ACTIVITY_WAITING_FOR_PROVIDER
        assert kinds(events).count("started") == 1


class TestSeveralSamples:
    async def test_each_has_a_call_an_id_and_an_entry_of_its_own(
        self, start: Any, ask: Any, llmock: Any
    ) -> None:
        proxy = await start(llmock.base_url())
        events = await proxy.events(
            ask(n=4, seed=7, reservation_id="res-1", attempt_id="req/5/2-ab", first=5)
        )
        ended = [event for event in events if event.HasField("finished")]
        assert sorted(event.sample_index for event in ended) == [5, 6, 7, 8]
        assert len({event.finished.provenance.sample_id for event in ended}) == 4
        assert len({event.finished.provenance.sampling.seed for event in ended}) == 4
        assert len({request.body["seed"] for request in llmock.requests}) == 4
        entries = [await proxy.ledger.entry(f"req/{index}/2-ab") for index in (5, 6, 7, 8)]
        named = [entry for entry in entries if entry.reservation_id]
        assert len(named) == 1, "the one reservation is given back by whichever sample ends last"

    async def test_one_that_fails_does_not_end_the_others(self, start: Any, ask: Any, llmock: Any) -> None:
        llmock.fail(400, times=1, message="no")
        proxy = await start(llmock.base_url())
        events = await proxy.events(ask(n=3))
        ends = [event for event in events if event.WhichOneof("event") in ("finished", "sample_failed")]
        assert sorted(event.sample_index for event in ends) == [0, 1, 2]
        (failed,) = [event.sample_failed for event in ends if event.HasField("sample_failed")]
        error = unpack_status(failed.status)
        assert error.metadata["kind"] == "refused"
        assert failed.provenance.provider == "acme"


class TestRefusals:
    @pytest.mark.parametrize(
        ("wish", "name"),
        [
            ({"top_k": 5}, "top_k"),
            ({"min_p": 0.1}, "min_p"),
            ({"repetition_penalty": 1.1}, "repetition_penalty"),
            ({"grammar": 'root ::= "a"'}, "grammars"),
            ({"stop_token_ids": [1]}, "stop_token_ids"),
            ({"return_token_ids": True}, "return_token_ids"),
            ({"prompt_logprobs": 1}, "prompt_logprobs"),
            ({"seed": 2**63}, f"seeds above {2**63 - 1}"),
        ],
    )
    async def test_what_no_chat_api_has_is_refused_by_name(
        self, start: Any, ask: Any, llmock: Any, wish: dict[str, Any], name: str
    ) -> None:
        proxy = await start(llmock.base_url())
        error, _ = await proxy.failure(ask(**wish))
        assert isinstance(error, Unsupported)
        assert error.metadata["capability"] == name
        assert not llmock.requests

    async def test_prompts_that_a_chat_model_cannot_read(self, start: Any, ask: Any, llmock: Any) -> None:
        proxy = await start(llmock.base_url())
        request = ask()
        request.generation.text = "Once upon"
        error, _ = await proxy.failure(request)
        assert error.metadata["capability"] == "raw text prompts"
        request.generation.token_ids.ids.append(1)
        error, _ = await proxy.failure(request)
        assert error.metadata["capability"] == "token_ids prompts"
        request = ask()
        request.generation.chat.messages.add(role=prompt_pb2.ROLE_USER).parts.add().image.data = b"x"
        request.generation.chat.messages[1].parts[0].image.mime_type = "image/png"
        error, _ = await proxy.failure(request)
        assert error.metadata["capability"] == "images"

    async def test_every_wrong_field_at_once(self, start: Any, llmock: Any) -> None:
        proxy = await start(llmock.base_url())
        request = pb.GenerateRequest()
        request.generation.sampling.max_tokens = -1
        error, _ = await proxy.failure(request)
        assert isinstance(error, InvalidRequest)
        fields = {violation.field for violation in error.violations}
        assert {"generation.prompt", "generation.sampling.max_tokens", "generation.routing.model"} <= fields

    async def test_an_unknown_model_offers_the_nearest(self, start: Any, ask: Any, llmock: Any) -> None:
        proxy = await start(llmock.base_url())
        request = ask()
        request.generation.routing.model = "gpt-4"
        error, _ = await proxy.failure(request)
        assert isinstance(error, NotFound)
        assert "gpt-4o" in error.metadata["nearest"]

    async def test_a_kind_that_is_not_there_yet(self, start: Any, ask: Any, llmock: Any) -> None:
        proxy = await start(llmock.base_url(), kind="google")
        error, _ = await proxy.failure(ask())
        assert isinstance(error, NotYet)
        (listed,) = (await call_unary(proxy.stub.ListProviders(pb.ListProvidersRequest()))).providers
        assert listed.state == pb.PROVIDER_STATE_NOT_SERVING
        assert "google" in listed.state_reason

    async def test_what_is_not_written_yet_says_so(self, start: Any, llmock: Any) -> None:
        proxy = await start(llmock.base_url())
        for call in (
            proxy.stub.CountTokens(pb.CountTokensRequest()),
            proxy.stub.SubmitBatchJob(pb.SubmitBatchJobRequest()),
            proxy.stub.GetBatchJob(pb.GetBatchJobRequest()),
            proxy.stub.FetchBatchResults(pb.FetchBatchResultsRequest()),
            proxy.stub.CancelBatchJob(pb.CancelBatchJobRequest()),
        ):
            with pytest.raises(NotYet):
                await call_unary(call)
