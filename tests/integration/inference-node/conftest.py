"""A real daemon as a process of its own, on free ports, with the small real model."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from orchestra.inference.v1 import inference_service_pb2 as pb
from orchestra_testing import model_file
from orchestra_testing.nodes import NodeClient as Client
from orchestra_testing.nodes import NodeProcess, start_node
from orchestra_testing.nodes import client_of as open_client

MODEL = "smollm2-135m"


@asynccontextmanager
async def client_of(address: str) -> AsyncIterator[Client]:
    spec = pb.ModelSpec(
        model=MODEL,
        path=str(model_file(MODEL)),
        engine="auto",
        chat=True,
        context_tokens=1024,
        slots=2,
        queue_limit=8,
    )
    async with open_client(address, spec) as client:
        yield client


@pytest.fixture(scope="session")
def node_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    node = start_node(tmp_path_factory.mktemp("node"))
    yield node
    assert node.stop() == 0, node.log.read_text()


@pytest.fixture
async def node(node_process: NodeProcess) -> AsyncIterator[Client]:
    """The shared daemon with the model loaded."""
    async with client_of(node_process.address) as client:
        await client.load()
        yield client


@pytest.fixture
async def worker(node: Client) -> AsyncIterator[Client]:
    """The shared daemon's worker, called directly as a router does."""
    async with client_of((await node.worker()).address) as client:
        yield client


@pytest.fixture
def worker_of() -> Callable[[Client], object]:
    """Opens a client of a node's only worker."""

    @asynccontextmanager
    async def connect(node: Client) -> AsyncIterator[Client]:
        async with client_of((await node.worker()).address) as client:
            yield client

    return connect


@pytest.fixture
async def own_node(tmp_path: Path) -> AsyncIterator[tuple[NodeProcess, Client]]:
    """A daemon of the test's own, for tests that kill."""
    process = start_node(tmp_path)
    try:
        async with client_of(process.address) as client:
            yield process, client
    finally:
        if process.process.poll() is None:
            process.stop()


@pytest.fixture
async def start() -> AsyncIterator[Callable[..., object]]:
    """Starts daemons with settings of the test's own; they are stopped afterwards."""
    async with AsyncExitStack() as stack:

        async def started(
            folder: Path, manager: str = "127.0.0.1:1", **settings: Any
        ) -> tuple[NodeProcess, Client]:
            process = start_node(folder, manager, **settings)
            stack.callback(process.stop)
            return process, await stack.enter_async_context(client_of(process.address))

        yield started
