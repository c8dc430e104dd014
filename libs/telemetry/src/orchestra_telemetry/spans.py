"""Spans inside a service."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

from opentelemetry import trace
from opentelemetry.context import attach, detach
from opentelemetry.util.types import AttributeValue

active_tracer: ContextVar[trace.Tracer | None] = ContextVar("orchestra_active_tracer", default=None)
"""The tracer of the call that runs now, set by ServerCall."""


@contextmanager
def span(name: str, attributes: Mapping[str, AttributeValue] | None = None) -> Iterator[trace.Span]:
    """A span under the current one, closed on every way out, failed when an exception (cancellation too)
    passes.

    Inside one task only. Where nothing records, the current span is yielded and nothing is created.
    """
    tracer = active_tracer.get()
    if tracer is None:
        yield trace.get_current_span()
        return
    opened = tracer.start_span(name, attributes=attributes)
    token = attach(trace.set_span_in_context(opened))
    try:
        yield opened
    except BaseException as exc:
        kind = "CANCELLED" if isinstance(exc, asyncio.CancelledError) else type(exc).__name__
        opened.set_status(trace.Status(trace.StatusCode.ERROR, kind))
        opened.set_attribute("error.type", kind)
        raise
    finally:
        detach(token)
        opened.end()
