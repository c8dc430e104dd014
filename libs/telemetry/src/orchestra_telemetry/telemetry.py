"""One object per process that holds what is measured and where it goes."""

from __future__ import annotations

import asyncio
import threading
import uuid
from typing import TYPE_CHECKING

from orchestra_telemetry.metrics import MetricsPort, RpcMetrics
from orchestra_telemetry.tracing import Tracing, otlp_processor

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor


class Telemetry:
    """Tracing and metrics of one service, constructed in `app.py` and handed to servers and channels."""

    def __init__(
        self, service: str, tracing: Tracing, metrics: RpcMetrics, port: MetricsPort | None = None
    ) -> None:
        self.service = service
        self.tracing = tracing
        self.metrics = metrics
        self._port = port

    @classmethod
    def start(
        cls,
        service: str,
        *,
        instance: str | None = None,
        otlp_endpoint: str | None = None,
        metrics_port: int = 0,
        metrics_host: str = "127.0.0.1",
        span_processor: SpanProcessor | None = None,
    ) -> Telemetry:
        """Begin measuring.

        `otlp_endpoint` empty or None: nothing is exported. `metrics_port` 0: no port. `span_processor`
        replaces the exporter (tests). Raises MetricsPortInUse.
        """
        instance = instance or uuid.uuid4().hex
        metrics = RpcMetrics(service)
        port = MetricsPort(metrics.registry, metrics_host, metrics_port)
        processor = span_processor
        if processor is None and otlp_endpoint:
            processor = otlp_processor(otlp_endpoint, metrics.spans_dropped)
        return cls(service, Tracing(service, instance, processor), metrics, port)

    @classmethod
    def off(cls, service: str = "orchestra") -> Telemetry:
        """Counts in memory and passes trace ids on; no thread, no port, no export."""
        return cls(service, Tracing(service, ""), RpcMetrics(service))

    async def close(self, timeout_s: float = 3.0) -> None:
        """Send the last spans, for at most `timeout_s` seconds, and close the metrics port."""
        loop = asyncio.get_running_loop()
        done = asyncio.Event()

        def finish() -> None:
            self.tracing.shutdown()
            if self._port is not None:
                self._port.close()
            if not loop.is_closed():
                loop.call_soon_threadsafe(done.set)

        # a daemon thread: a receiver that hangs must not hold the process
        threading.Thread(target=finish, name="telemetry-close", daemon=True).start()
        try:
            await asyncio.wait_for(done.wait(), timeout_s)
        except TimeoutError:
            self.metrics.spans_dropped("close_timeout", 1)
