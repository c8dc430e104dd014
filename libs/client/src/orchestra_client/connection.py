"""The channel to the router and the trace of what is asked. Loaded with the first call, not before."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.context import attach, detach

from orchestra.router.v1 import router_service_pb2_grpc as pb_grpc
from orchestra_errors import OrchestraError
from orchestra_rpc import MeshChannel, open_channel
from orchestra_telemetry import Telemetry, names, new_trace

from .settings import Settings

_ROUTER = "/orchestra.router.v1.RouterService/"
_IDEMPOTENT = [_ROUTER + method for method in ("ExplainRoute", "ListModels", "MeasureDiversity", "GetRun")]


class Connection:
    """One channel, used by one event loop of one process."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.process = os.getpid()
        self.telemetry = (
            Telemetry.start("client", otlp_endpoint=settings.otlp_endpoint)
            if settings.otlp_endpoint
            else Telemetry.off("client")
        )
        self.channel: MeshChannel = open_channel(
            settings.router,
            telemetry=self.telemetry,
            idempotent=_IDEMPOTENT,
            max_message_bytes=settings.max_message_bytes,
        )
        self.router: pb_grpc.RouterServiceAsyncStub = pb_grpc.RouterServiceStub(self.channel)

    async def close(self) -> None:
        """Ends what still runs and sends the last spans."""
        await self.channel.close()
        await self.telemetry.close()


class Root:
    """The span under which a call and all its hops stand.

    A child of the caller's own span where there is one. Where nothing is exported it records nothing and
    still gives the trace its id.
    """

    def __init__(self, telemetry: Telemetry, name: str, attributes: dict[str, str | int]) -> None:
        tracer = telemetry.tracing.tracer
        current = trace.get_current_span()
        self._ours = tracer is not None
        if tracer is not None:
            self._span = tracer.start_span(name, attributes=attributes)
        elif current.get_span_context().is_valid:
            self._span = current
        else:
            self._span = new_trace()

    @property
    def trace_id(self) -> str:
        """32 hex digits."""
        return format(self._span.get_span_context().trace_id, "032x")

    @contextmanager
    def active(self) -> Iterator[None]:
        """What is called inside has this span as its parent."""
        token = attach(trace.set_span_in_context(self._span))
        try:
            yield
        finally:
            detach(token)

    def end(self, error: OrchestraError | None = None, *, cancelled: bool = False) -> None:
        """Once; later calls do nothing."""
        if not self._ours:
            return
        self._ours = False
        reason = "CANCELLED" if cancelled else error.reason if error is not None else ""
        if reason:
            self._span.set_attribute(names.ERROR_TYPE, reason)
            self._span.set_attribute(names.ERROR_REASON, reason)
            self._span.set_status(trace.Status(trace.StatusCode.ERROR, reason))
        self._span.end()
