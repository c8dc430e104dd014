"""Channels whose every call carries the deadline and the trace.

A channel of our own around grpc.aio's, instead of client interceptors: an intercepted aio call is another
object with a task behind it, and it costs that task per call. Here the call that the stub returns is
grpc.aio's own.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from types import TracebackType
from typing import Any, Self

import grpc

from orchestra_rpc.deadline import outgoing_timeout
from orchestra_rpc.settings import MIB
from orchestra_telemetry import ClientCall, Telemetry


def open_channel(
    target: str | Sequence[str],
    *,
    telemetry: Telemetry | None = None,
    idempotent: Collection[str] = (),
    max_message_bytes: int = 64 * MIB,
    credentials: grpc.ChannelCredentials | None = None,
    options: Sequence[tuple[str, Any]] = (),
) -> MeshChannel:
    """A channel to `host:port`, or spread over several addresses in turn.

    Only UNAVAILABLE, and only on the unary methods named in `idempotent` (`/a.b.C/D`), is repeated: at most
    twice.
    """
    targets = [target] if isinstance(target, str) else list(target)
    address = targets[0] if len(targets) == 1 else "ipv4:" + ",".join(targets)
    every = [*_options(max_message_bytes, _service_config(idempotent)), *options]
    inner = (
        grpc.aio.secure_channel(address, credentials, options=every)
        if credentials
        else grpc.aio.insecure_channel(address, options=every)
    )
    return MeshChannel(inner, address, telemetry or Telemetry.off())


def _service_config(idempotent: Collection[str]) -> str:
    config: dict[str, Any] = {"loadBalancingConfig": [{"round_robin": {}}]}
    if idempotent:
        names = [method.lstrip("/").partition("/") for method in idempotent]
        config["methodConfig"] = [
            {
                "name": [{"service": service, "method": method} for service, _, method in names],
                "retryPolicy": {
                    "maxAttempts": 3,
                    "initialBackoff": "0.05s",
                    "maxBackoff": "0.5s",
                    "backoffMultiplier": 2,
                    "retryableStatusCodes": ["UNAVAILABLE"],
                },
            }
        ]
        config["retryThrottling"] = {"maxTokens": 20, "tokenRatio": 0.2}
    return json.dumps(config)


def _options(max_message_bytes: int, service_config: str) -> list[tuple[str, Any]]:
    return [
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.max_send_message_length", max_message_bytes),
        ("grpc.max_metadata_size", 64 * 1024),
        ("grpc.absolute_max_metadata_size", 128 * 1024),
        ("grpc.service_config", service_config),
        ("grpc.enable_retries", 1),
        ("grpc.keepalive_time_ms", 5_000),
        ("grpc.keepalive_timeout_ms", 4_000),
        # keepalive alone misses a frozen peer for 14 s
        ("grpc.http2.ping_timeout_ms", 4_000),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 2_000),
        # a proxy from the environment has no business between services
        ("grpc.enable_http_proxy", 0),
    ]


class MeshChannel(grpc.aio.Channel):
    """grpc.aio's channel; each call is timed, traced and limited by the current deadline."""

    def __init__(self, inner: grpc.aio.Channel, target: str, telemetry: Telemetry) -> None:
        self._inner = inner
        self._telemetry = telemetry
        self.target = target

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trail: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self, grace: float | None = None) -> None:
        await self._inner.close(grace)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        return self._inner.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        await self._inner.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        await self._inner.channel_ready()

    def unary_unary(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return _MeasuredCallable(self._inner.unary_unary(method, *args, **kwargs), method, self)

    def unary_stream(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return _MeasuredCallable(self._inner.unary_stream(method, *args, **kwargs), method, self)

    def stream_unary(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return _MeasuredCallable(self._inner.stream_unary(method, *args, **kwargs), method, self)

    def stream_stream(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return _MeasuredCallable(self._inner.stream_stream(method, *args, **kwargs), method, self)

    def begin(self, method: str) -> ClientCall:
        return ClientCall(self._telemetry, method, self.target)


class _MeasuredCallable:
    """A stub's method of any of the four shapes."""

    def __init__(self, inner: Any, method: str, channel: MeshChannel) -> None:
        self._inner = inner
        self._method = method
        self._channel = channel

    def __call__(self, *args: Any, timeout: float | None = None, metadata: Any = None, **kwargs: Any) -> Any:
        seen = self._channel.begin(self._method)
        given = grpc.aio.Metadata(*(tuple(pair) for pair in metadata or ()), *seen.metadata)
        try:
            call = self._inner(*args, timeout=outgoing_timeout(timeout), metadata=given, **kwargs)
        except BaseException as exc:
            seen.finish("UNKNOWN", description=repr(exc))
            raise
        call.add_done_callback(lambda ended: _note_end(ended, seen))
        return call


def _note_end(call: Any, seen: ClientCall) -> None:
    code = _at_once(call.code())
    seen.finish(code.name if code is not None else "UNKNOWN", description=_at_once(call.details()) or "")


def _at_once(coroutine: Any) -> Any:
    """The result of a coroutine that has nothing to wait for: a finished call's status."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    coroutine.close()
    return None
