"""One request is one trace, what is delivered after its answer included."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind

from orchestra.router.v1 import router_service_pb2 as pb
from orchestra_errors import WorkerLost


async def trace_of(mesh: Any, method: str, calls: set[str]) -> dict[str, ReadableSpan]:
    """Server spans by method, of the trace whose root called `method`, once all of `calls` are in it."""
    async with asyncio.timeout(10):
        while True:
            spans = mesh.spans.get_finished_spans()
            roots = [s for s in spans if s.name.endswith(method) and s.parent is None]
            of_trace = [s for s in spans if roots and s.context.trace_id == roots[0].context.trace_id]
            served = {s.name.rpartition("/")[2]: s for s in of_trace if s.kind is SpanKind.SERVER}
            if calls <= served.keys():
                break
            await asyncio.sleep(0.02)
    assert len(roots) == 1
    ids = {span.context.span_id for span in of_trace}
    assert all(span.parent is None or span.parent.span_id in ids for span in of_trace)
    assert [span.name for span in of_trace if span.parent is None] == [roots[0].name]
    assert all(span.end_time for span in of_trace)
    return served


async def test_every_hop_of_a_request_is_under_its_root(mesh: Any) -> None:
    events = await mesh.generate(mesh.ask())
    served = await trace_of(mesh, "Generate", {"Generate", "Lookup", "Store", "RecordUsage"})
    trace_id = format(served["Lookup"].context.trace_id, "032x")
    assert events[-1].finished.provenance.trace_id == trace_id
    assert all(span.status.is_ok or span.status.status_code.name == "UNSET" for span in served.values())


async def test_a_failed_and_a_cancelled_stream_say_so_in_their_trace(mesh: Any) -> None:
    mesh.node_a.script = lambda *_: ["started", "a", WorkerLost("smollm2-135m", "killed")]
    with pytest.raises(grpc.aio.AioRpcError):
        await mesh.generate(mesh.ask())
    served = await trace_of(mesh, "Generate", {"Generate", "RecordUsage"})
    assert "UNAVAILABLE" in str(served["Generate"].status.description)

    mesh.spans.clear()
    mesh.node_a.script = lambda *_: ["started", "a", asyncio.Event()]
    call = mesh.stub.Generate(pb.GenerateRequest(generation=mesh.ask(text="other")))
    await anext(aiter(call))
    await mesh.node_a.began.wait()
    call.cancel()
    served = await trace_of(mesh, "Generate", {"Generate", "RecordUsage"})
    assert "CANCELLED" in str(served["Generate"].status.description)


async def test_a_diverse_request_is_one_trace(mesh: Any) -> None:
    request = pb.GenerateDiverseRequest(
        generation=mesh.ask(model="", candidates=["smollm2-135m", "gemma3-270m"], n=4)
    )
    async for _ in mesh.stub.GenerateDiverse(request):
        pass
    served = await trace_of(mesh, "GenerateDiverse", {"GenerateDiverse", "BatchLookup", "GenerateBatch"})
    assert served["GenerateBatch"].status.status_code.name != "ERROR"
