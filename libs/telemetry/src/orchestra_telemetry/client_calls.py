"""One call made: its span, the metadata that carries it, its figures."""

from __future__ import annotations

import time

from opentelemetry import trace

from orchestra_telemetry import names
from orchestra_telemetry.call_context import inject, new_trace
from orchestra_telemetry.server_calls import close_rpc_span
from orchestra_telemetry.telemetry import Telemetry


class ClientCall:
    """A call from its start to `finish`, which must be called once on every way out (later calls do
    nothing)."""

    __slots__ = ("_began", "_finished", "_method", "_span", "_telemetry", "metadata")

    def __init__(self, telemetry: Telemetry, method: str, target: str) -> None:
        self._telemetry = telemetry
        self._method = names.rpc_span(method)
        self._began = time.monotonic()
        self._finished = False
        self._span = self._open(target)
        self.metadata = inject(self._span)
        """To be added to the call's metadata."""

    def _open(self, target: str) -> trace.Span:
        tracer = self._telemetry.tracing.tracer
        if tracer is None:
            current = trace.get_current_span()
            return current if current.get_span_context().is_valid else new_trace()
        service, _, rpc = self._method.rpartition("/")
        attributes = {
            names.RPC_SYSTEM: "grpc",
            names.RPC_SERVICE: service,
            names.RPC_METHOD: rpc,
            names.SERVER_ADDRESS: target,
        }
        return tracer.start_span(self._method, None, trace.SpanKind.CLIENT, attributes)

    @property
    def trace_id(self) -> str:
        """32 hex digits."""
        return format(self._span.get_span_context().trace_id, "032x")

    def finish(self, code: str, reason: str = "", description: str = "") -> None:
        if self._finished:
            return
        self._finished = True
        self._telemetry.metrics.client_ended(self._method, code, time.monotonic() - self._began)
        # where nothing records, the span is the caller's own and not ours to close
        if self._telemetry.tracing.records:
            close_rpc_span(self._span, code, reason, description)
