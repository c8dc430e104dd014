"""Spans wait in a bounded queue; what does not fit is dropped and counted, never waited for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

Dropped = Callable[[str, int], None]
"""Called with why (`queue_full`, `export_failed`) and how many spans."""


class _Counted(SpanExporter):
    def __init__(self, inner: SpanExporter, taken: Callable[[int], None], dropped: Dropped) -> None:
        self._inner = inner
        self._taken = taken
        self._dropped = dropped

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self._taken(len(spans))
        result = self._inner.export(spans)
        if result is not SpanExportResult.SUCCESS:
            self._dropped("export_failed", len(spans))
        return result

    def shutdown(self) -> None:
        self._inner.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._inner.force_flush(timeout_millis)


class BoundedSpanProcessor(SpanProcessor):
    """A BatchSpanProcessor whose losses are known.

    The SDK's own queue drops with nothing but a log line, so spans are counted in front of it and the excess
    is turned away here.
    """

    def __init__(
        self, exporter: SpanExporter, dropped: Dropped, *, max_queue: int = 8192, delay_s: float = 1.0
    ) -> None:
        self._lock = threading.Lock()
        self._waiting = 0
        self._max = max_queue
        self._dropped = dropped
        self._batch = BatchSpanProcessor(
            _Counted(exporter, self._take, dropped),
            max_queue_size=max_queue,
            schedule_delay_millis=delay_s * 1000,
            max_export_batch_size=min(512, max_queue),
        )

    def _take(self, count: int) -> None:
        with self._lock:
            self._waiting -= count

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        self._batch.on_start(span, parent_context)

    def on_end(self, span: ReadableSpan) -> None:
        if not (span.context and span.context.trace_flags.sampled):
            return
        with self._lock:
            full = self._waiting >= self._max
            self._waiting += not full
        if full:
            self._dropped("queue_full", 1)
        else:
            self._batch.on_end(span)

    def shutdown(self) -> None:
        self._batch.shutdown()  # type: ignore[no-untyped-call]

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._batch.force_flush(timeout_millis)
