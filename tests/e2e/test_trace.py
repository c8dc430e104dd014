"""One request, one trace: every hop under one root, closed, with its true status."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import psutil
import pytest

from orchestra.router.v1 import router_service_pb2 as pb
from orchestra.router.v1 import router_service_pb2_grpc as pb_grpc
from orchestra_client import Orchestra, Settings
from orchestra_errors import OrchestraError
from orchestra_rpc import call_stream, open_channel
from orchestra_stack.progress import Silent
from orchestra_stack.readiness import wait_for_models
from orchestra_telemetry import Telemetry
from orchestra_testing import GEMMA, SMOL, LocalMesh, OtlpReceiver, SeenSpan, generate_request

pytestmark = pytest.mark.timeout(180)

ERROR = 2
HOPS = {"client", "router", "cache", "inference-node-worker", "cost-ledger"}


@pytest.fixture
async def telemetry(otlp: OtlpReceiver) -> AsyncIterator[Telemetry]:
    made = Telemetry.start("client", otlp_endpoint=otlp.address)
    yield made
    await made.close()


async def traced(
    mesh: LocalMesh, telemetry: Telemetry, request: pb.GenerateRequest, stop_after: int = 0
) -> tuple[str, OrchestraError | None]:
    """Ask, and return the trace id; leave after so many deltas when told to."""
    channel = open_channel(mesh.router, telemetry=telemetry)
    stub: pb_grpc.RouterServiceAsyncStub = pb_grpc.RouterServiceStub(channel)
    trace_id, deltas, failed = "", 0, None
    try:
        async with call_stream(stub.Generate(request, timeout=60)) as answers:
            async for answer in answers:
                if answer.event.HasField("started"):
                    trace_id = answer.event.started.provenance.trace_id
                deltas += answer.event.HasField("text_delta")
                if stop_after and deltas >= stop_after:
                    break
    except OrchestraError as error:
        failed = error
    finally:
        await channel.close()
    return trace_id, failed


def check_tree(spans: list[SeenSpan]) -> None:
    """One root, no orphan, everything closed."""
    known = {one.span_id for one in spans}
    roots = [one for one in spans if not one.parent_id]
    assert len(roots) == 1, [(one.service, one.name) for one in roots]
    orphans = [(one.service, one.name) for one in spans if one.parent_id and one.parent_id not in known]
    assert not orphans
    assert all(one.end_ns >= one.start_ns > 0 for one in spans)


def has_hops(spans: list[SeenSpan]) -> bool:
    whole = {one.span_id for one in spans} >= {one.parent_id for one in spans if one.parent_id}
    return whole and {one.service for one in spans} >= HOPS


async def test_one_request_is_one_trace_with_every_hop(
    mesh: LocalMesh, otlp: OtlpReceiver, telemetry: Telemetry
) -> None:
    trace_id, failed = await traced(mesh, telemetry, generate_request())
    assert failed is None
    spans = await asyncio.to_thread(otlp.wait_for, has_hops, 20.0, trace_id)
    check_tree(spans)
    assert not [one for one in spans if one.status == ERROR], [(one.service, one.name) for one in spans]


async def test_the_client_library_makes_the_root(mesh: LocalMesh, otlp: OtlpReceiver) -> None:
    prompt = generate_request().generation.text
    async with Orchestra(settings=Settings(router=mesh.router, otlp_endpoint=otlp.address)) as client:
        answer = client.generate(prompt, model=SMOL, max_tokens=8)
        [sample] = await answer.collect()
        assert sample.trace_id == answer.trace_id
    spans = await asyncio.to_thread(otlp.wait_for, has_hops, 20.0, answer.trace_id)
    check_tree(spans)
    [root] = [one for one in spans if not one.parent_id]
    assert root.name == "orchestra generate"


async def test_a_cancelled_stream_is_not_a_success(
    mesh: LocalMesh, otlp: OtlpReceiver, telemetry: Telemetry
) -> None:
    trace_id, _ = await traced(mesh, telemetry, generate_request(max_tokens=1500), stop_after=3)
    spans = await asyncio.to_thread(otlp.wait_for, has_hops, 20.0, trace_id)
    check_tree(spans)
    for service in ("client", "router", "inference-node-worker"):
        mine = [one for one in spans if one.service == service and "Generate" in one.name]
        codes = {
            one.attributes.get("rpc.grpc.status_code", one.attributes.get("rpc.response.status_code"))
            for one in mine
        }
        assert codes & {1, "1", "CANCELLED"}, (service, codes, [dict(one.attributes) for one in mine])


async def test_a_stream_whose_worker_dies_is_an_error(
    mesh: LocalMesh, otlp: OtlpReceiver, telemetry: Telemetry
) -> None:
    request = generate_request(model=GEMMA, max_tokens=1500)
    channel = open_channel(mesh.router, telemetry=telemetry)
    stub: pb_grpc.RouterServiceAsyncStub = pb_grpc.RouterServiceStub(channel)
    trace_id = ""
    try:
        with pytest.raises(OrchestraError) as caught:
            async with call_stream(stub.Generate(request, timeout=60)) as answers:
                async for answer in answers:
                    if answer.event.HasField("started"):
                        trace_id = answer.event.started.provenance.trace_id
                    if answer.event.HasField("text_delta"):
                        kill_worker(mesh, "node-b")
    finally:
        await channel.close()
    assert caught.value.status_code == "UNAVAILABLE", caught.value

    def enough(spans: list[SeenSpan]) -> bool:
        return {one.service for one in spans if one.status == ERROR} >= {"client", "router"}

    spans = await asyncio.to_thread(otlp.wait_for, enough, 20.0, trace_id)
    assert len([one for one in spans if not one.parent_id]) == 1
    await wait_for_models(mesh.deployment, mesh.mesh.exit_code, 60, Silent(), patient=True)


def kill_worker(mesh: LocalMesh, node: str) -> None:
    for child in psutil.Process(mesh.mesh.process(node).pid).children(recursive=True):
        if any("worker" in word for word in child.cmdline()):
            child.kill()
