"""One real mesh with two real models for all end-to-end tests, its traces received for real."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from orchestra.router.v1 import router_service_pb2_grpc as router_grpc
from orchestra_rpc import MeshChannel, open_channel
from orchestra_testing import LocalMesh, OtlpReceiver


@pytest.fixture(scope="session")
def otlp() -> Iterator[OtlpReceiver]:
    with OtlpReceiver() as receiver:
        yield receiver


@pytest.fixture(scope="session")
def mesh(otlp: OtlpReceiver) -> Iterator[LocalMesh]:
    with LocalMesh(otlp_endpoint=otlp.address) as running:
        yield running


@pytest.fixture(scope="session")
def bare_mesh() -> Iterator[LocalMesh]:
    """The services without any model."""
    with LocalMesh(with_models=False) as running:
        yield running


@pytest.fixture
async def channel(mesh: LocalMesh) -> AsyncIterator[MeshChannel]:
    opened = open_channel(mesh.router)
    yield opened
    await opened.close()


@pytest.fixture
def router(channel: MeshChannel) -> router_grpc.RouterServiceAsyncStub:
    return router_grpc.RouterServiceStub(channel)
