"""Structured logs on stderr: JSON for machines, a short line for a terminal. Trace ids come by themselves."""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, Literal, TextIO

import structlog
from opentelemetry import trace

Event = MutableMapping[str, Any]


def _add_trace(_logger: object, _method: str, event: Event) -> Event:
    seen = trace.get_current_span().get_span_context()
    if seen.is_valid:
        event["trace_id"] = format(seen.trace_id, "032x")
        event["span_id"] = format(seen.span_id, "016x")
    return event


def configure_logging(
    service: str,
    format: Literal["json", "console"] = "json",
    level: str = "info",
    *,
    instance: str | None = None,
    stream: TextIO | None = None,
) -> None:
    """Set the process's logging up once, at start.

    Every line carries `service`, `instance` when given, `level`, `timestamp` (UTC, ISO 8601) and inside a
    call `trace_id` and `span_id`. Lines of libraries that use the standard logging come out in the same
    format.
    """
    out = stream or sys.stderr
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        raise ValueError(f"log level {level!r} is none of debug, info, warning, error, critical")
    fixed = {"service": service} | ({"instance": instance} if instance else {})

    def add_service(_logger: object, _method: str, event: Event) -> Event:
        event.update(fixed)
        return event

    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_trace,
    ]
    last: list[Any] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=str)]
        if format == "json"
        else [
            structlog.dev.ConsoleRenderer(
                colors=out.isatty(), exception_formatter=structlog.dev.plain_traceback, pad_event_to=0
            )
        ]
    )
    if format == "json":
        shared.append(add_service)
    structlog.configure(
        processors=[*shared, *last],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(file=out),
        cache_logger_on_first_use=True,
    )
    forwarded = logging.StreamHandler(out)
    forwarded.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [forwarded]
    # libraries are chatty at info; our own lines do not come this way
    root.setLevel(max(number, logging.WARNING))
