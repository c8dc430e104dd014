"""What the suite stands on: a daemon with the engine's model, and how its tests ask for what they need."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import ClassVar

import pytest

from orchestra.inference.v1 import inference_service_pb2 as pb
from orchestra.inference.v1 import node_pb2
from orchestra_errors import Unsupported
from orchestra_rpc import call_stream
from orchestra_testing.nodes import NodeClient, NodeProcess, client_of, idle, start_node


class Given:
    """A subclass says in `spec` what to load, and in the attributes what no capability tells.

    The daemon is started once for the class. Tests leave the model loaded and idle.
    """

    wide_prompt: ClassVar[str] = "🦊🦊🦊🦊🦊🦊"
    """The greedy answer to it has characters that are not ASCII."""
    long_answers: ClassVar[bool] = False
    """Without a grammar a prompt is answered for as long as max_tokens and the context let it."""
    shares_prompts: ClassVar[bool] = True
    """Samples of one request compute their prompt once."""
    prompts_computed: ClassVar[float] = 1.1
    """How many prompts' worth they compute at most then, of one of a hundred tokens or so."""
    canonical: ClassVar[bool] = True
    """The tokenizer gives the ids of a greedy answer back for its text."""
    tolerance: ClassVar[float] = 0.02
    """Between two logprobs of one token in one context."""

    @pytest.fixture(scope="class")
    @classmethod
    def spec(cls) -> pb.ModelSpec:
        """What to load: 2 slots or more, a small queue_limit, some hundred tokens of context."""
        raise AssertionError("a subclass says what to load")

    @pytest.fixture(scope="class")
    @classmethod
    def daemon(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
        node = start_node(tmp_path_factory.mktemp("engine"))
        yield node
        assert node.stop() == 0, node.log.read_text()

    @pytest.fixture
    async def node(self, daemon: NodeProcess, spec: pb.ModelSpec) -> AsyncIterator[NodeClient]:
        """The daemon with the model loaded."""
        async with client_of(daemon.address, spec) as client:
            await client.load()
            yield client

    @pytest.fixture
    async def worker(self, node: NodeClient, spec: pb.ModelSpec) -> AsyncIterator[NodeClient]:
        """The model's worker, called directly as a router does."""
        async with client_of((await node.worker()).address, spec) as client:
            yield client

    @pytest.fixture(params=["through the daemon", "at the worker"])
    def either(self, request: pytest.FixtureRequest, node: NodeClient, worker: NodeClient) -> NodeClient:
        """Both ways that a call comes."""
        return node if request.param == "through the daemon" else worker

    @pytest.fixture
    async def can(self, node: NodeClient) -> node_pb2.Capabilities:
        """What the model says that it can do."""
        return (await node.worker()).capabilities

    @pytest.fixture
    async def alone(self, node: NodeClient) -> AsyncIterator[NodeClient]:
        """The model once more under another name, with one slot, for what a shared one would not survive."""
        await node.load(model="alone", slots=1, queue_limit=4)
        yield NodeClient(node.channel, node.spec_of(model="alone"))
        await node.unload("alone")

    def endless(self, client: NodeClient, can: node_pb2.Capabilities) -> pb.GenerateRequest:
        """A request whose answer fills the context."""
        assert can.grammar or self.long_answers, "say how an answer is made long"
        asked = client.ask(grammar="root ::= [ab] root") if can.grammar else client.ask()
        asked.generation.sampling.ClearField("max_tokens")
        return asked

    @asynccontextmanager
    async def every_slot_taken(
        self, client: NodeClient, can: node_pb2.Capabilities
    ) -> AsyncIterator[list[asyncio.Task[list[object]]]]:
        """Requests run on every slot of the daemon's model until the block is left; then it is idle again."""
        slots = (await client.worker()).slots_total
        running: list[asyncio.Task[list[object]]] = []
        async with AsyncExitStack() as stack:
            stack.push_async_callback(client.until_worker, idle)
            for _ in range(slots):
                task = asyncio.create_task(_follow(client, self.endless(client, can)))
                stack.push_async_callback(_end, task)
                running.append(task)
            await client.until_worker(lambda seen: seen.slots_free == 0)
            yield running


async def _follow(client: NodeClient, asked: pb.GenerateRequest) -> list[object]:
    async with call_stream(client.stub.Generate(asked)) as answers:
        return [answer.event async for answer in answers]


async def _end(task: asyncio.Task[list[object]]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def refused(client: NodeClient, asked: pb.GenerateRequest, capability: str) -> None:
    """Assert that the request is refused because the model lacks the capability, and that it says so."""
    with pytest.raises(Unsupported) as said:
        await client.events(asked)
    assert said.value.status_code == "INVALID_ARGUMENT"
    assert capability in said.value.metadata["capability"]


def long_prompt(words: int) -> str:
    """A prompt of about that many tokens."""
    return "word " * words


async def prompt_of(client: NodeClient, tokens: int, model: str = "") -> str:
    """A text of at most `tokens` tokens and nearly as many."""
    some = len(await client.count(long_prompt(32), model))
    more = len(await client.count(long_prompt(64), model))
    return long_prompt(int(32 + (tokens - some) * 32 / (more - some)))
