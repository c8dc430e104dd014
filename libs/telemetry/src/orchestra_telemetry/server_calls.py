"""One answered call: its span and its figures. Status codes are names (`OK`, `CANCELLED`), so no gRPC is
needed here."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from contextvars import Token
from types import TracebackType

from opentelemetry import trace
from opentelemetry.context import Context, attach, detach

from orchestra_telemetry import names
from orchestra_telemetry.call_context import extract, new_trace
from orchestra_telemetry.codes import number_of
from orchestra_telemetry.spans import active_tracer
from orchestra_telemetry.telemetry import Telemetry


class ServerCall:
    """Context manager around one handler: inside it the call's span is current.

    `finish(code)` says how it ended; without it, leaving by CancelledError is CANCELLED, by another
    exception UNKNOWN, and normally OK. The span is closed on every way out.
    """

    __slots__ = (
        "_active",
        "_began",
        "_code",
        "_description",
        "_messages",
        "_method",
        "_reason",
        "_span",
        "_telemetry",
        "_token",
    )

    def __init__(
        self, telemetry: Telemetry, method: str, metadata: Iterable[tuple[str, str | bytes]]
    ) -> None:
        self._telemetry = telemetry
        self._method = names.rpc_span(method)
        self._began = time.monotonic()
        self._code: str | None = None
        self._reason = ""
        self._description = ""
        self._messages = 0
        parent = extract(metadata)
        self._span = self._open(parent)
        self._token: Token[Context] | None = None
        self._active: Token[trace.Tracer | None] | None = None

    def _open(self, parent: Context) -> trace.Span:
        tracer = self._telemetry.tracing.tracer
        if tracer is None:
            # a hop that records nothing is transparent: children hang on the caller's span
            caller = trace.get_current_span(parent)
            return caller if caller.get_span_context().is_valid else new_trace()
        service, _, rpc = self._method.rpartition("/")
        attributes = {names.RPC_SYSTEM: "grpc", names.RPC_SERVICE: service, names.RPC_METHOD: rpc}
        return tracer.start_span(self._method, parent, trace.SpanKind.SERVER, attributes)

    @property
    def trace_id(self) -> str:
        """32 hex digits."""
        return format(self._span.get_span_context().trace_id, "032x")

    def message(self) -> None:
        """Note one message sent; the first gives the time to first message."""
        self._messages += 1
        if self._messages == 1:
            waited = time.monotonic() - self._began
            self._telemetry.metrics.server_first_message(self._method, waited)
            self._span.set_attribute(names.TIME_TO_FIRST, waited)

    def finish(self, code: str, reason: str = "", description: str = "") -> None:
        """Say how the call ended; the last word counts."""
        self._code, self._reason, self._description = code, reason, description

    def __enter__(self) -> ServerCall:
        self._telemetry.metrics.server_started(self._method)
        self._token = attach(trace.set_span_in_context(self._span))
        self._active = active_tracer.set(self._telemetry.tracing.tracer)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trail: TracebackType | None
    ) -> None:
        code = self._code or ("OK" if exc is None else "CANCELLED" if _is_cancel(exc) else "UNKNOWN")
        if self._active is not None and self._token is not None:
            active_tracer.reset(self._active)
            detach(self._token)
        self._telemetry.metrics.server_ended(self._method, code, time.monotonic() - self._began)
        if not self._span.is_recording():
            return
        if self._messages:
            self._span.set_attribute(names.MESSAGES, self._messages)
        close_rpc_span(self._span, code, self._reason, self._description)


def _is_cancel(exc: BaseException) -> bool:
    return isinstance(exc, asyncio.CancelledError | GeneratorExit)


def close_rpc_span(span: trace.Span, code: str, reason: str, description: str) -> None:
    """Write how a call ended into its span and end it."""
    span.set_attribute(names.RPC_STATUS_CODE, number_of(code))
    if code != "OK":
        span.set_attribute(names.ERROR_TYPE, code)
        if reason:
            span.set_attribute(names.ERROR_REASON, reason)
        span.set_status(
            trace.Status(trace.StatusCode.ERROR, f"{code}: {description}" if description else code)
        )
    span.end()
