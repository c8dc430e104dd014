"""The current trace: its id, its place in metadata, and how one begins without an exporter."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

PROPAGATED = ("traceparent", "tracestate")
_w3c = TraceContextTextMapPropagator()
# a generator of its own: a program that seeds `random` must not repeat trace ids
_random = random.SystemRandom()


def call_trace_id() -> str:
    """The current trace as 32 hex digits; empty outside of any call."""
    seen = trace.get_current_span().get_span_context()
    return format(seen.trace_id, "032x") if seen.is_valid else ""


def new_trace() -> trace.Span:
    """The start of a trace in a process that exports none.

    Marked as sampled: whether to record is left to the peers that have an exporter.
    """
    return trace.NonRecordingSpan(
        trace.SpanContext(
            trace_id=_random.getrandbits(128) or 1,
            span_id=_random.getrandbits(64) or 1,
            is_remote=False,
            trace_flags=trace.TraceFlags(trace.TraceFlags.SAMPLED),
        )
    )


def extract(metadata: Iterable[tuple[str, str | bytes]]) -> Context:
    """The caller's trace from call metadata; an empty context when there is none or it is malformed."""
    carrier: dict[str, str] = {}
    for key, value in metadata:
        if key in PROPAGATED:
            carrier[key] = value if isinstance(value, str) else value.decode("ascii", "replace")
    return _w3c.extract(carrier, Context()) if carrier else Context()


def inject(span: trace.Span) -> list[tuple[str, str]]:
    """Metadata that makes `span` the parent of whatever the callee records."""
    carrier: dict[str, str] = {}
    _w3c.inject(carrier, trace.set_span_in_context(span, Context()))
    return list(carrier.items())


def current_traceparent() -> Mapping[str, str]:
    """W3C headers of the current span, for transports other than our channels (pipes, HTTP); empty outside a
    call."""
    return dict(inject(trace.get_current_span()))
