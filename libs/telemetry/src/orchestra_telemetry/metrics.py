"""Prometheus metrics: rate, errors and duration per method, and the port that serves them."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server
from prometheus_client.gc_collector import GCCollector
from prometheus_client.process_collector import ProcessCollector

SECONDS = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    60.0,
    120.0,
    300.0,
)
OTHER = "other"


class MetricsPortInUse(Exception):
    """The metrics port is taken; the text is one line for the user."""


class RpcMetrics:
    """What every service counts. Label values come from declared methods and status codes only, so they are
    bounded."""

    def __init__(self, service: str, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self._methods: set[str] = set()
        r = self.registry
        self._served = Counter("orchestra_rpc_server_calls", "Calls answered", ["method", "code"], registry=r)
        self._seconds = Histogram(
            "orchestra_rpc_server_seconds", "Time to answer whole", ["method"], registry=r, buckets=SECONDS
        )
        self._first = Histogram(
            "orchestra_rpc_server_first_message_seconds",
            "Time to the first message of a stream",
            ["method"],
            registry=r,
            buckets=SECONDS,
        )
        self._running = Gauge("orchestra_rpc_server_running", "Calls being answered", ["method"], registry=r)
        self._called = Counter("orchestra_rpc_client_calls", "Calls made", ["method", "code"], registry=r)
        self._waited = Histogram(
            "orchestra_rpc_client_seconds",
            "Time until a called peer ended",
            ["method"],
            registry=r,
            buckets=SECONDS,
        )
        self._dropped = Counter(
            "orchestra_spans_dropped", "Spans that were not exported", ["why"], registry=r
        )
        up = Gauge("orchestra_service_info", "1, labelled with the service", ["service"], registry=r)
        up.labels(service).set(1)

    def declare(self, methods: Iterable[str]) -> None:
        """Allow these methods (`a.b.C/D`) as label values; all others count as `other`."""
        self._methods.update(methods)

    def server_started(self, method: str) -> None:
        self._running.labels(self._label(method)).inc()

    def server_first_message(self, method: str, seconds: float) -> None:
        self._first.labels(self._label(method)).observe(seconds)

    def server_ended(self, method: str, code: str, seconds: float) -> None:
        label = self._label(method)
        self._running.labels(label).dec()
        self._served.labels(label, code).inc()
        self._seconds.labels(label).observe(seconds)

    def client_ended(self, method: str, code: str, seconds: float) -> None:
        # a client calls only methods of stubs it was built with: bounded by construction
        self._called.labels(method, code).inc()
        self._waited.labels(method).observe(seconds)

    def spans_dropped(self, why: str, count: int) -> None:
        self._dropped.labels(why).inc(count)

    def _label(self, method: str) -> str:
        return method if method in self._methods else OTHER


class MetricsPort:
    """Serves one registry on `http://host:port/metrics` from a thread of its own. Port 0 serves nothing."""

    def __init__(self, registry: CollectorRegistry, host: str, port: int) -> None:
        self._stop = None
        self.port = port
        if port == 0:
            return
        ProcessCollector(registry=registry)
        GCCollector(registry=registry)
        try:
            server, thread = start_http_server(port, addr=host, registry=registry)
        except OSError as exc:
            raise MetricsPortInUse(f"metrics port {host}:{port} cannot be used: {exc.strerror}") from exc
        self._stop = (server, thread)

    def close(self) -> None:
        if self._stop is not None:
            server, thread = self._stop
            self._stop = None
            server.shutdown()
            server.server_close()
            thread.join(timeout=2)
