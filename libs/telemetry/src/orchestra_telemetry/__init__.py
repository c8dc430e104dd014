"""Logging, tracing and metrics of every service. Knows nothing of gRPC servers: orchestra-rpc calls it."""

from orchestra_telemetry import lean as lean  # isort: skip  (before anything that imports structlog)
from orchestra_telemetry import names
from orchestra_telemetry.call_context import call_trace_id, current_traceparent, new_trace
from orchestra_telemetry.client_calls import ClientCall
from orchestra_telemetry.logs import configure_logging
from orchestra_telemetry.metrics import MetricsPortInUse, RpcMetrics
from orchestra_telemetry.server_calls import ServerCall
from orchestra_telemetry.spans import span
from orchestra_telemetry.telemetry import Telemetry
from orchestra_telemetry.tracing import Tracing

__all__ = [
    "ClientCall",
    "MetricsPortInUse",
    "RpcMetrics",
    "ServerCall",
    "Telemetry",
    "Tracing",
    "call_trace_id",
    "configure_logging",
    "current_traceparent",
    "names",
    "new_trace",
    "span",
]
