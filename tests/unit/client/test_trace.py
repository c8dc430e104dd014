"""Every request is one trace with one root, closed on every way out, with the right status."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from orchestra.generation.v1 import event_pb2
from orchestra_client import Ask, Orchestra, Settings
from orchestra_errors import NoCapacity, OrchestraError
from orchestra_testing import OtlpReceiver

from .conftest import Running, started, text

ERROR = 2


@pytest.fixture
def receiver() -> Iterator[OtlpReceiver]:
    with OtlpReceiver() as found:
        yield found


@pytest.fixture
def settings(mesh: Running, receiver: OtlpReceiver) -> Settings:
    return Settings(router=mesh.address, otlp_endpoint=receiver.address)


async def test_a_finished_stream(settings: Settings, receiver: OtlpReceiver) -> None:
    async with Orchestra(settings=settings) as asked:
        answer = asked.generate("x", model="smollm2-135m", run_id="run-1", n=2)
        samples = await answer.collect()
    root, call = receiver.spans(answer.trace_id)
    assert (root.name, root.parent_id, root.status) == ("orchestra generate", "", 0)
    assert root.attributes["orchestra.run"] == "run-1"
    assert root.attributes["gen_ai.request.choice.count"] == 2
    assert call.parent_id == root.span_id and call.name.endswith("RouterService/Generate")
    # the server was in the same trace
    assert {sample.trace_id for sample in samples} == {answer.trace_id}


async def test_a_cancelled_stream(mesh: Running, settings: Settings, receiver: OtlpReceiver) -> None:
    async def endless(request: Any) -> AsyncIterator[event_pb2.GenerationEvent]:
        yield started()
        while True:
            yield text("more ")
            await asyncio.sleep(0.01)

    mesh.router.script = endless
    async with Orchestra(settings=settings) as asked:
        async with asked.generate("x") as answer:
            await anext(answer)
        assert await asyncio.to_thread(mesh.router.released.wait, 5)
    spans = receiver.spans(answer.trace_id)
    assert [(span.status, span.attributes["error.type"]) for span in spans] == [(ERROR, "CANCELLED")] * 2


async def test_a_failed_stream(mesh: Running, settings: Settings, receiver: OtlpReceiver) -> None:
    async def full(request: Any) -> AsyncIterator[event_pb2.GenerationEvent]:
        yield started()
        raise NoCapacity("smollm2-135m", 1.0)

    mesh.router.script = full
    async with Orchestra(settings=settings) as asked:
        answer = asked.generate("x")
        with pytest.raises(NoCapacity):
            await answer.collect()
    root, call = receiver.spans(answer.trace_id)
    assert root.status == call.status == ERROR
    assert root.attributes["orchestra.error.reason"] == "NO_CAPACITY"


@pytest.mark.parametrize("verb", ["models", "explain", "batch", "diverse"])
async def test_every_verb_has_its_root(verb: str, settings: Settings, receiver: OtlpReceiver) -> None:
    async with Orchestra(settings=settings) as asked:
        if verb == "models":
            await asked.models()
        elif verb == "explain":
            with pytest.raises(OrchestraError):
                await asked.explain("x", model="smolm")
        elif verb == "batch":
            assert [key async for key, _ in asked.batch([Ask(prompt="x")]).samples()] == ["0"]
        else:
            await asked.diverse("x", plan={"a": 1}).collect()
    roots = [span for span in receiver.spans() if not span.parent_id]
    assert {span.name for span in roots} == {f"orchestra {verb}"}
    assert all(span.status == (ERROR if verb == "explain" else 0) for span in roots)


async def test_the_callers_own_span_is_the_parent(mesh: Running) -> None:
    own = TracerProvider().get_tracer("trainer").start_span("step")
    async with Orchestra(mesh.address) as asked:
        with trace.use_span(own):
            (sample,) = await asked.generate("x").collect()
    assert sample.trace_id == format(own.get_span_context().trace_id, "032x")
