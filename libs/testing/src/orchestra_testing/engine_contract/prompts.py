"""Prompts: texts, token ids, chats; and everything that is wrong with a request, named at once."""

from __future__ import annotations

import pytest

from orchestra.generation.v1 import prompt_pb2
from orchestra.inference.v1 import inference_service_pb2 as pb
from orchestra.inference.v1 import node_pb2
from orchestra_errors import InvalidRequest, NotFound, Unsupported, WrongInstance
from orchestra_rpc import call_unary
from orchestra_testing.engine_contract.given import Given, refused
from orchestra_testing.nodes import NodeClient


def chat_of(client: NodeClient, text: str = "Say hi") -> pb.GenerateRequest:
    """A request with a chat of one message."""
    asked = client.ask(temperature=0)
    asked.generation.chat.messages.add(role=prompt_pb2.ROLE_USER).parts.add(text=text)
    return asked


class PromptContract(Given):
    """What is asked is answered as it stands, or refused."""

    async def test_token_ids_in_are_the_prompt_as_it_is(
        self, worker: NodeClient, can: node_pb2.Capabilities
    ) -> None:
        ids = await worker.count("def add(a, b):")
        assert len(ids) > 1
        asked = worker.ask(temperature=0)
        asked.generation.token_ids.ids.extend(ids)
        if not can.token_ids_in:
            await refused(worker, asked, "token_ids")
            return
        events = await worker.events(asked)
        assert events[-1].finished.usage.prompt_tokens == len(ids)
        assert worker.text_of(events) == await worker.text(worker.ask(temperature=0))
        asked.generation.token_ids.ids.append(99_999_999)
        with pytest.raises(InvalidRequest):
            await worker.events(asked)

    async def test_a_chat_goes_through_the_models_template_or_is_refused(
        self, either: NodeClient, can: node_pb2.Capabilities
    ) -> None:
        asked = chat_of(either)
        count = pb.CountTokensRequest(model=either.model, chat=asked.generation.chat)
        if not can.chat:
            await refused(either, asked, "chat")
            with pytest.raises(Unsupported, match="chat"):
                await call_unary(either.stub.CountTokens(count))
            return
        events = await either.events(asked)
        counted = await call_unary(either.stub.CountTokens(count))
        assert events[-1].finished.usage.prompt_tokens == counted.tokens
        assert counted.tokens > len(await either.count("Say hi")), "the template adds to the text"
        assert not counted.token_ids, "nobody asked for them"

    async def test_a_model_declared_without_a_template_does_not_chat(self, node: NodeClient) -> None:
        await node.load(model="base", chat=False, slots=1)
        try:
            base = NodeClient(node.channel, node.spec_of(model="base"))
            await refused(base, chat_of(base), "chat")
            assert (await base.events(base.ask()))[-1].HasField("finished")
        finally:
            await node.unload("base")

    async def test_what_no_engine_of_ours_can_is_refused_by_name(
        self, worker: NodeClient, can: node_pb2.Capabilities
    ) -> None:
        asked = chat_of(worker)
        media = prompt_pb2.Media(data=b"\x89PNG", mime_type="image/png")
        asked.generation.chat.messages[0].parts.add().image.MergeFrom(media)
        asked.generation.tools.add(name="look")
        assert not (can.images or can.audio or can.tools)
        await refused(worker, asked, "images, tools")

    async def test_every_wrong_field_is_named_at_once(self, worker: NodeClient) -> None:
        asked = worker.ask("", max_tokens=-1, temperature=9, n=0, top_logprobs=2)
        asked.generation.routing.model = ""
        with pytest.raises(InvalidRequest) as refusal:
            await worker.events(asked)
        assert {one.field for one in refusal.value.violations} == {
            "generation.text",
            "generation.sampling.max_tokens",
            "generation.sampling.temperature",
            "generation.sampling.n",
            "generation.sampling.top_logprobs",
            "generation.routing.model",
        }

    async def test_another_model_or_instance_is_not_answered_for(
        self, either: NodeClient, node: NodeClient
    ) -> None:
        with pytest.raises(NotFound, match=node.model):
            await either.events(either.ask(model="gpt-9"))
        asked = either.ask()
        asked.hop.expected_instance_id = "an-older-one"
        with pytest.raises(WrongInstance):
            await either.events(asked)
        asked.hop.expected_instance_id = (await node.worker()).instance_id
        assert (await either.events(asked))[-1].HasField("finished")
