"""Spans, and where they go: OTLP over gRPC when an endpoint is configured, nowhere otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry import trace

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor

    from orchestra_telemetry.drops import Dropped


class Tracing:
    """A tracer of one process, or none.

    Without a span processor no span is recorded: a trace id still begins here and passes through, so that
    peers with an exporter see one connected trace, and a call costs microseconds.
    """

    def __init__(self, service: str, instance: str, processor: SpanProcessor | None = None) -> None:
        self._processor = processor
        self.tracer: trace.Tracer | None = None
        if processor is not None:
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider

            resource = Resource.create(
                {
                    "service.name": service,
                    "service.namespace": "orchestra",
                    "service.instance.id": instance,
                }
            )
            provider = TracerProvider(resource=resource, shutdown_on_exit=False)
            provider.add_span_processor(processor)
            self.tracer = provider.get_tracer("orchestra")

    @property
    def records(self) -> bool:
        return self.tracer is not None

    def flush(self, timeout_s: float = 5.0) -> bool:
        """Send what waits; False when the time was too short."""
        return self._processor is None or self._processor.force_flush(int(timeout_s * 1000))

    def shutdown(self) -> None:
        """Send what waits and stop; may block for seconds when the receiver is gone."""
        if self._processor is not None:
            self._processor.shutdown()


def otlp_processor(endpoint: str, dropped: Dropped) -> SpanProcessor:
    """Spans to an OTLP/gRPC receiver at `host:port` or `http://host:port` (plain text) or `https://…`."""
    # the exporter and the SDK cost memory that a service without a receiver should not pay
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

    from orchestra_telemetry.drops import BoundedSpanProcessor

    exporter = OTLPSpanExporter(
        endpoint=endpoint,
        insecure=not endpoint.startswith("https://"),
        timeout=5,
    )
    return BoundedSpanProcessor(exporter, dropped)
