"""Composition root of a worker."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, aclosing, contextmanager
from dataclasses import asdict
from typing import Any

import structlog
from opentelemetry import trace

from orchestra.generation.v1.provenance_pb2 import Provenance
from orchestra.inference.v1 import inference_service_pb2_grpc as pb_grpc
from orchestra_errors import Internal, OrchestraError
from orchestra_inference_node.domain.admission import Admission
from orchestra_inference_node.domain.drawing import Draw, End
from orchestra_inference_node.flows.request import RequestFlow
from orchestra_inference_node.flows.sample import OpenSpan, SampleFlow
from orchestra_inference_node.flows.slots import Slots
from orchestra_inference_node.flows.texts import TextsFlow
from orchestra_inference_node.ports import Engine
from orchestra_inference_node.rpc.worker_servicer import WorkerServicer
from orchestra_inference_node.worker.link import Reports, follow_orders
from orchestra_inference_node.worker.order import Order
from orchestra_inference_node.worker.status import StatusReports
from orchestra_rpc import PortInUse, RpcSettings, RunningServer, Service, running
from orchestra_telemetry import Telemetry, call_trace_id, names, span

SERVICE = "orchestra.inference.v1.InferenceService"
log = structlog.get_logger()


async def run_worker(order: Order, engine: Engine, reports: Reports) -> int:
    """Serve until told to drain or left alone; the process's exit code."""
    telemetry = Telemetry.start(
        "inference-node-worker", instance=order.instance_id, otlp_endpoint=order.otlp_endpoint or None
    )
    status = StatusReports(reports)
    slots = Slots(order.model, Admission(engine.facts.slots, order.queue_limit), status.touch)
    samples = SampleFlow(
        engine, slots, time.monotonic, heartbeat_s=order.heartbeat_s, open_span=engine_spans(order, engine)
    )
    status.watch(samples)
    servicer = WorkerServicer(
        engine,
        RequestFlow(samples, unexpected),
        TextsFlow(engine, slots, time.monotonic),
        served_by(order, engine),
    )
    await warm_up(engine, reports)
    async with AsyncExitStack() as stack:
        server = await first_free(stack, order, servicer, telemetry)
        reports.send("ready", address=f"{order.host}:{server.port}", facts=asdict(engine.facts))
        status.serving(server.calls)
        log.info("worker serves", model=order.model, address=server.address)
        await until_told_to_stop(server, reports)
    await engine.close()
    await telemetry.close()
    return 0


def unexpected(error: Exception) -> OrchestraError:
    log.error("sample failed unexpectedly", exc_info=error)
    return Internal(call_trace_id())


def served_by(order: Order, engine: Engine) -> Provenance:
    """What all samples of this process have in common."""
    return Provenance(
        model=order.model,
        provider="local",
        revision=order.revision,
        quantization=order.quantization,
        engine=engine.facts.name,
        engine_build=engine.facts.build,
        node_id=order.node_id,
        worker_id=order.worker_id,
        instance_id=order.instance_id,
    )


async def warm_up(engine: Engine, reports: Reports) -> None:
    """Use the engine once, so that the first caller does not wait for what it makes on its first use."""
    reports.send("warming")
    if not engine.facts.generate:
        await engine.embed(("Hello",))
        return
    ids = await engine.tokenize("Hello")
    (stream,) = engine.generate((Draw(prompt_ids=ids, seed=0, max_tokens=1),), idle_s=60.0)
    async with aclosing(stream):
        async for _ in stream:
            pass


def is_taken(host: str, port: int) -> bool:
    """Asked first, because gRPC writes an error to stderr for each port that it cannot have."""
    try:
        with socket.create_server((host.strip("[]"), port), family=_family(host)):
            return False
    except OSError:
        return True


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


async def first_free(
    stack: AsyncExitStack, order: Order, servicer: WorkerServicer, telemetry: Telemetry
) -> RunningServer:
    """A server on the first port of the range that is free. Raises PortInUse when none is."""
    service = Service(SERVICE, pb_grpc.add_InferenceServiceServicer_to_server, servicer)
    for port in order.ports:
        if is_taken(order.listen_host, port):
            continue
        # the daemon bounds the drain
        settings = RpcSettings(listen=f"{order.listen_host}:{port}", drain_s=86_400.0)
        try:
            return await stack.enter_async_context(running([service], settings=settings, telemetry=telemetry))
        except PortInUse:
            continue
    raise PortInUse(f"every worker port is taken ({order.ports[0]} to {order.ports[-1]})")


async def until_told_to_stop(server: RunningServer, reports: Reports) -> None:
    """Return after a drain that the daemon ordered, or at once when the daemon is gone."""
    loop = asyncio.get_running_loop()
    told = asyncio.Event()

    def on_order(order: dict[str, Any]) -> None:
        def cut() -> None:
            reports.send("cut", calls=len(server.calls))
            server.hurry.set()

        loop.call_later(order["drain"], cut)
        told.set()

    following = asyncio.create_task(follow_orders(on_order), name="orders")
    waiting = asyncio.create_task(told.wait(), name="told")
    await asyncio.wait([following, waiting], return_when=asyncio.FIRST_COMPLETED)
    if not told.is_set():
        log.warning("the daemon is gone")
        server.hurry.set()
    waiting.cancel()
    await server.drain()
    following.cancel()


class _SpanNotes:
    def __init__(self, current: trace.Span) -> None:
        self._span = current

    def end(self, end: End) -> None:
        self._span.set_attribute(names.GEN_AI_INPUT_TOKENS, end.prompt_tokens)
        self._span.set_attribute(names.GEN_AI_OUTPUT_TOKENS, end.completion_tokens)
        self._span.set_attribute(names.GEN_AI_FINISH_REASONS, [end.reason.name.lower()])


def engine_spans(order: Order, engine: Engine) -> OpenSpan:
    """Spans around single draws, after the GenAI conventions."""
    name = names.generation_span(names.OPERATION_CHAT, order.model)
    fixed = {
        names.GEN_AI_OPERATION: names.OPERATION_CHAT,
        names.GEN_AI_PROVIDER: "local",
        names.GEN_AI_REQUEST_MODEL: order.model,
        names.GEN_AI_RESPONSE_MODEL: order.model,
        names.ENGINE: engine.facts.name,
        names.NODE: order.node_id,
    }

    @contextmanager
    def open_span(draw: Draw) -> Iterator[_SpanNotes]:
        asked: dict[str, Any] = {
            names.GEN_AI_TEMPERATURE: draw.temperature,
            names.GEN_AI_TOP_P: draw.top_p,
            names.GEN_AI_TOP_K: draw.top_k,
            names.GEN_AI_SEED: draw.seed,
        }
        if draw.max_tokens is not None:
            asked[names.GEN_AI_MAX_TOKENS] = draw.max_tokens
        with span(name, fixed | asked) as current:
            yield _SpanNotes(current)

    return open_span
