"""A real OTLP/gRPC trace receiver that keeps what it is sent."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Self

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as pb
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as pb_grpc
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

OK, ERROR = 1, 2


@dataclass(frozen=True, slots=True)
class SeenSpan:
    """A span as it arrived: closed, or it would not have been sent.

    Ids in hex; times in ns; `status` 0 unset, 1 ok, 2 error; `links` are trace ids.
    """

    service: str
    name: str
    kind: int
    trace_id: str
    span_id: str
    parent_id: str
    start_ns: int
    end_ns: int
    status: int
    status_message: str
    attributes: Mapping[str, Any]
    links: tuple[str, ...]


class OtlpReceiver:
    """A context manager. It listens in its own threads: on the loop that sends, exporters drop most spans."""

    def __init__(self) -> None:
        self._spans: list[SeenSpan] = []
        self._came = threading.Condition()
        self._server = grpc.server(ThreadPoolExecutor(2, thread_name_prefix="otlp"))
        pb_grpc.add_TraceServiceServicer_to_server(_Servicer(self._keep), self._server)  # type: ignore[no-untyped-call]
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop(grace=None).wait()

    def spans(self, trace_id: str | None = None) -> list[SeenSpan]:
        """Every span so far, or those of one trace, in the order of their starts."""
        with self._came:
            found = [span for span in self._spans if trace_id in (None, span.trace_id)]
        return sorted(found, key=lambda span: span.start_ns)

    def wait_for(
        self, enough: Callable[[list[SeenSpan]], bool], seconds: float = 15.0, trace_id: str | None = None
    ) -> list[SeenSpan]:
        """Until the spans (of a trace) are enough; AssertionError that lists what came otherwise."""
        until = time.monotonic() + seconds
        while True:
            found = self.spans(trace_id)
            if enough(found):
                return found
            left = until - time.monotonic()
            if left <= 0:
                shown = "\n".join(f"  {span.service}: {span.name} status {span.status}" for span in found)
                raise AssertionError(f"not enough spans within {seconds:g} s:\n{shown or '  none'}")
            with self._came:
                self._came.wait(min(left, 0.5))

    def _keep(self, request: pb.ExportTraceServiceRequest) -> None:
        with self._came:
            self._spans.extend(_read(request))
            self._came.notify_all()


class _Servicer(pb_grpc.TraceServiceServicer):
    def __init__(self, keep: Callable[[pb.ExportTraceServiceRequest], None]) -> None:
        self._keep = keep

    def Export(self, request: pb.ExportTraceServiceRequest, context: object) -> pb.ExportTraceServiceResponse:
        self._keep(request)
        return pb.ExportTraceServiceResponse()


def _read(request: pb.ExportTraceServiceRequest) -> list[SeenSpan]:
    found = []
    for batch in request.resource_spans:
        service = str(_attributes(batch.resource.attributes).get("service.name", ""))
        for span in (span for scope in batch.scope_spans for span in scope.spans):
            found.append(
                SeenSpan(
                    service=service,
                    name=span.name,
                    kind=span.kind,
                    trace_id=span.trace_id.hex(),
                    span_id=span.span_id.hex(),
                    parent_id=span.parent_span_id.hex(),
                    start_ns=span.start_time_unix_nano,
                    end_ns=span.end_time_unix_nano,
                    status=span.status.code,
                    status_message=span.status.message,
                    attributes=_attributes(span.attributes),
                    links=tuple(link.trace_id.hex() for link in span.links),
                )
            )
    return found


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs if isinstance(pair, KeyValue)}


def _value(value: AnyValue) -> Any:
    which = value.WhichOneof("value")
    if which == "array_value":
        return [_value(one) for one in value.array_value.values]
    return getattr(value, which) if which else None
