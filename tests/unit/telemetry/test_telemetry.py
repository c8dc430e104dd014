"""Logs carry the trace, spans that are lost are counted, a receiver that is gone holds nothing up."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent import futures
from typing import Any

import grpc
import pytest
import structlog
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import StatusCode

from orchestra_telemetry import (
    ClientCall,
    MetricsPortInUse,
    ServerCall,
    Telemetry,
    call_trace_id,
    configure_logging,
    current_traceparent,
    names,
    span,
)
from orchestra_telemetry.codes import CODES
from orchestra_telemetry.drops import BoundedSpanProcessor


@pytest.fixture(autouse=True)
def untouched_logging() -> Iterator[None]:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = before
    structlog.reset_defaults()


def test_a_json_line_names_service_level_time_and_trace() -> None:
    out = io.StringIO()
    configure_logging("router", "json", "info", instance="i-1", stream=out)
    log = structlog.get_logger()
    with ServerCall(Telemetry.off(), "/a.B/C", ()) as call:
        log.info("stream finished", tokens=3)
        log.debug("not this")
    logging.getLogger("grpc").warning("from %s", "a library")
    try:
        raise ValueError("broken")
    except ValueError:
        log.exception("failed")
    first, second, third = (json.loads(line) for line in out.getvalue().splitlines())
    assert first["event"] == "stream finished"
    assert (first["service"], first["instance"], first["level"], first["tokens"]) == (
        "router",
        "i-1",
        "info",
        3,
    )
    assert first["trace_id"] == call.trace_id
    assert first["timestamp"].endswith("Z")
    assert (second["event"], second["logger"], second["service"]) == ("from a library", "grpc", "router")
    assert "trace_id" not in second
    assert "ValueError: broken" in third["exception"]


def test_console_lines_are_short_and_a_wrong_level_is_named() -> None:
    out = io.StringIO()
    configure_logging("router", "console", "info", stream=out)
    structlog.get_logger().info("serving", address="127.0.0.1:50050")
    assert "serving" in out.getvalue()
    assert "127.0.0.1:50050" in out.getvalue()
    with pytest.raises(ValueError, match="loud"):
        configure_logging("router", "json", "loud")


class Kept(SpanExporter):
    def __init__(self, result: SpanExportResult = SpanExportResult.SUCCESS) -> None:
        self.spans: list[ReadableSpan] = []
        self.gate = threading.Event()
        self.entered = threading.Event()
        self.result = result

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.entered.set()
        self.gate.wait(10)
        self.spans += spans
        return self.result

    def shutdown(self) -> None:
        self.gate.set()


def test_spans_that_do_not_fit_are_counted() -> None:
    lost: dict[str, int] = {}

    def dropped(why: str, count: int) -> None:
        lost[why] = lost.get(why, 0) + count

    exporter = Kept()
    processor = BoundedSpanProcessor(exporter, dropped, max_queue=16, delay_s=0.01)
    telemetry = Telemetry.start("probe", span_processor=processor)
    with ServerCall(telemetry, "/a.B/C", ()):
        with span("first"):
            pass
        assert exporter.entered.wait(5)
        for _ in range(40):
            with span("one"):
                pass
    exporter.gate.set()
    assert processor.force_flush(5000)
    assert len(exporter.spans) + lost["queue_full"] == 42
    assert lost["queue_full"] >= 42 - 16 - 1 - 1
    telemetry.tracing.shutdown()


def test_a_failed_export_is_counted() -> None:
    lost: dict[str, int] = {}
    exporter = Kept(SpanExportResult.FAILURE)
    exporter.gate.set()
    processor = BoundedSpanProcessor(exporter, lambda why, count: lost.update({why: count}), delay_s=0.01)
    with ServerCall(Telemetry.start("probe", span_processor=processor), "/a.B/C", ()):
        pass
    processor.force_flush(5000)
    assert lost == {"export_failed": 1}
    processor.shutdown()


def test_spans_inside_fail_with_what_passes_through_them() -> None:
    exporter = Kept()
    exporter.gate.set()
    processor = BoundedSpanProcessor(exporter, lambda why, count: None)
    telemetry = Telemetry.start("probe", span_processor=processor)
    for error in (ValueError("x"), asyncio.CancelledError()):
        with pytest.raises(type(error)), ServerCall(telemetry, "/a.B/C", ()), span("inner"):
            raise error
    processor.force_flush(5000)
    ended = [(one.name, one.status.status_code, one.status.description) for one in exporter.spans]
    assert ended == [
        ("inner", StatusCode.ERROR, "ValueError"),
        ("a.B/C", StatusCode.ERROR, "UNKNOWN"),
        ("inner", StatusCode.ERROR, "CANCELLED"),
        ("a.B/C", StatusCode.ERROR, "CANCELLED"),
    ]
    telemetry.tracing.shutdown()


def test_the_trace_passes_a_process_that_records_nothing() -> None:
    off = Telemetry.off()
    assert call_trace_id() == ""
    assert current_traceparent() == {}
    header = ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    with ServerCall(off, "/a.B/C", [header, ("tracestate", "v=1")]) as call:
        assert call.trace_id == call_trace_id() == "0af7651916cd43dd8448eb211c80319c"
        onward = ClientCall(off, "/a.B/D", "127.0.0.1:1")
        assert dict(onward.metadata) == {"traceparent": header[1], "tracestate": "v=1"}
        onward.finish("OK")
    with ServerCall(off, "/a.B/C", [("traceparent", "nonsense")]) as call:
        assert len(call.trace_id) == 32
        assert call.trace_id in current_traceparent()["traceparent"]


def test_labels_are_bounded() -> None:
    telemetry = Telemetry.off()
    telemetry.metrics.declare(["a.B/C"])
    for number in range(50):
        with ServerCall(telemetry, f"/made.Up/M{number}", ()):
            pass
    with ServerCall(telemetry, "/a.B/C", ()):
        pass
    read = telemetry.metrics.registry.get_sample_value
    assert read("orchestra_rpc_server_calls_total", {"method": "other", "code": "OK"}) == 50
    assert read("orchestra_rpc_server_calls_total", {"method": "a.B/C", "code": "OK"}) == 1


async def test_the_metrics_port_serves_and_a_taken_one_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
        with pytest.raises(MetricsPortInUse, match=f"127.0.0.1:{port}"):
            Telemetry.start("probe", metrics_port=port)
    telemetry = Telemetry.start("probe", metrics_port=port)
    url = f"http://127.0.0.1:{port}/metrics"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with await asyncio.to_thread(opener.open, url, timeout=5) as answer:
        page = answer.read().decode()
    assert 'orchestra_service_info{service="probe"} 1.0' in page
    assert "process_resident_memory_bytes" in page
    await telemetry.close()


class Receiver(trace_service_pb2_grpc.TraceServiceServicer):
    def __init__(self) -> None:
        self.requests: list[Any] = []

    def Export(self, request: Any, context: Any) -> Any:
        self.requests.append(request)
        return trace_service_pb2.ExportTraceServiceResponse()


async def test_spans_reach_a_real_otlp_receiver() -> None:
    receiver = Receiver()
    server = grpc.server(futures.ThreadPoolExecutor(2))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(receiver, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    telemetry = Telemetry.start("probe", instance="i-1", otlp_endpoint=f"127.0.0.1:{port}")
    with ServerCall(telemetry, "/a.B/C", ()) as call:
        call.finish("NOT_FOUND", "NOT_FOUND", "no such thing")
    assert await asyncio.to_thread(telemetry.tracing.flush)
    await telemetry.close()
    server.stop(None)
    (resource,) = receiver.requests[0].resource_spans
    attributes = {a.key: a.value.string_value for a in resource.resource.attributes}
    assert (attributes["service.name"], attributes["service.instance.id"]) == ("probe", "i-1")
    (one,) = resource.scope_spans[0].spans
    assert (one.name, one.status.code, one.trace_id.hex()) == ("a.B/C", 2, call.trace_id)


async def test_a_receiver_that_is_gone_holds_nothing_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts and never answers
        port = silent.getsockname()[1]
        telemetry = Telemetry.start("probe", otlp_endpoint=f"127.0.0.1:{port}")
        with ServerCall(telemetry, "/a.B/C", ()):
            pass
        began = time.monotonic()
        await telemetry.close(timeout_s=0.3)
        assert time.monotonic() - began < 3


def test_names_of_codes_are_grpcs() -> None:
    assert [code.name for code in sorted(grpc.StatusCode, key=lambda code: code.value[0])] == list(CODES)
    assert names.rpc_span("/a.B/C") == "a.B/C"


def test_a_service_without_a_receiver_does_not_pay_for_one() -> None:
    """Memory counts: neither the exporter nor the SDK is loaded."""
    program = (
        "import sys; from orchestra_telemetry import Telemetry, configure_logging;"
        "configure_logging('x'); Telemetry.start('x');"
        "print([m for m in ('opentelemetry.exporter.otlp', 'opentelemetry.sdk', 'grpc') if m in sys.modules])"
    )
    out = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert out.stdout.strip() == "[]"
