"""The server's one interceptor: telemetry around limits around errors around the handler.

One instead of a chain, because each part must see how the inner one ended, and because grpc.aio hands an
interceptor a handler of one of four shapes: they are brought to one shape here, once.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import aclosing
from typing import Any, TypeAlias, TypeVar, cast

import grpc
import structlog
from google.protobuf.message import DecodeError

from orchestra_errors import Internal, InvalidRequest, NotYet, OrchestraError
from orchestra_rpc.deadline import trimmed
from orchestra_rpc.running_calls import RunningCall, RunningCalls
from orchestra_rpc.settings import RpcSettings
from orchestra_rpc.status import DETAILS_KEY, code_of, error_from_rpc, status_from_error
from orchestra_telemetry import ServerCall, Telemetry

T = TypeVar("T")
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Method: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
PLUMBING = ("/grpc.health.", "/grpc.reflection.", "/grpc.channelz.")
log = structlog.get_logger()


class MeshInterceptor(grpc.aio.ServerInterceptor):
    """Health and reflection pass untouched; everything else is measured, limited and explained."""

    def __init__(
        self, settings: RpcSettings, telemetry: Telemetry, calls: RunningCalls, open_ended: Collection[str]
    ) -> None:
        self._settings = settings
        self._telemetry = telemetry
        self._calls = calls
        self._open_ended = frozenset(open_ended)

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Method | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Method | None:
        handler = await continuation(handler_call_details)
        name = handler_call_details.method
        if handler is None or name.startswith(PLUMBING):
            return handler
        if handler.response_streaming:
            return self._streaming(handler, name)
        return self._single(handler, name)

    def _single(self, handler: Method, name: str) -> Method:
        inner: Any = handler.stream_unary if handler.request_streaming else handler.unary_unary

        read, write = _reading(handler), handler.response_serializer or _as_is

        async def answer(request: Any, context: Context) -> Any:
            async def work(call: RunningCall, seen: ServerCall) -> Any:
                given = _watched_requests(request, call, read) if handler.request_streaming else read(request)
                return write(await inner(given, context))

            return await self._guard(name, context, work, streaming=False)

        make = (
            grpc.stream_unary_rpc_method_handler
            if handler.request_streaming
            else grpc.unary_unary_rpc_method_handler
        )
        return make(answer)

    def _streaming(self, handler: Method, name: str) -> Method:
        inner: Any = handler.stream_stream if handler.request_streaming else handler.unary_stream

        read, write = _reading(handler), handler.response_serializer or _as_is

        async def answer(request: Any, context: Context) -> None:
            async def work(call: RunningCall, seen: ServerCall) -> None:
                watched = _WatchedContext(context, call, seen, read, write)
                given = _watched_requests(request, call, read) if handler.request_streaming else read(request)
                answers = inner(given, watched)
                if not hasattr(answers, "__aiter__"):
                    await answers
                    return
                async with aclosing(answers):
                    async for message in answers:
                        await watched.write(message)

            await self._guard(name, context, work, streaming=True)

        make = (
            grpc.stream_stream_rpc_method_handler
            if handler.request_streaming
            else grpc.unary_stream_rpc_method_handler
        )
        return make(answer)

    def _seconds(self, context: Context, streaming: bool, open_ended: bool) -> float | None:
        left: float | None = context.time_remaining()
        if left is not None:
            return min(trimmed(left), self._settings.maximum_deadline_s)
        if open_ended:
            return None
        return (
            self._settings.default_stream_deadline_s if streaming else self._settings.default_unary_deadline_s
        )

    async def _guard(
        self,
        name: str,
        context: Context,
        work: Callable[[RunningCall, ServerCall], Awaitable[T]],
        *,
        streaming: bool,
    ) -> T:
        call = RunningCall(name, open_ended=name in self._open_ended)
        seconds = self._seconds(context, streaming, call.open_ended)
        silence = self._settings.silence_s if streaming and not call.open_ended else 0.0
        with ServerCall(self._telemetry, name, context.invocation_metadata() or ()) as seen:
            error: OrchestraError
            try:
                with self._calls.hold(call), call.limits(seconds, silence):
                    answer = await work(call, seen)
                if call.ending is None:
                    _note_own_code(context, seen)
                    return answer
                error = call.ending
            except asyncio.CancelledError:
                if call.ending is None:
                    raise
                call.task.uncancel()
                error = call.ending
            except grpc.aio.AbortError:
                _note_own_code(context, seen)
                raise
            except Exception as exc:
                error = call.ending or _kind_of(exc, name, seen.trace_id)
            seen.finish(error.status_code, error.reason, error.message)
            return cast(T, await _refuse(context, error))


def _kind_of(exc: Exception, method: str, trace_id: str) -> OrchestraError:
    """The kind inside `exc`; everything that is none is our mistake: logged whole, told as INTERNAL only."""
    if isinstance(exc, OrchestraError):
        return exc
    if isinstance(exc, grpc.aio.AioRpcError):
        return error_from_rpc(exc)
    if isinstance(exc, ExceptionGroup):
        kinds, others = exc.split((OrchestraError, grpc.aio.AioRpcError))
        if kinds is not None and others is None:
            first: Any = kinds
            while isinstance(first, ExceptionGroup):
                first = first.exceptions[0]
            return _kind_of(first, method, trace_id)
    if isinstance(exc, NotImplementedError) and str(exc) == "Method not implemented!":
        # the generated base class's words for a method that the servicer lacks; any other is our mistake
        return NotYet(method.lstrip("/"))
    log.error("unexpected failure", method=method, exc_info=exc)
    return Internal(trace_id)


async def _refuse(context: Context, error: OrchestraError) -> Any:
    status = status_from_error(error)
    mine = [(key, value) for key, value in context.trailing_metadata() or () if key != DETAILS_KEY]
    await context.abort(code_of(error), status.message, (*mine, (DETAILS_KEY, status.SerializeToString())))


def _note_own_code(context: Context, seen: ServerCall) -> None:
    # a handler that sets its status itself breaks the house rule, but its span must tell the truth
    code: Any = context.code()
    if code:
        number = code.value[0] if isinstance(code, grpc.StatusCode) else int(code)
        seen.finish(next(known.name for known in grpc.StatusCode if known.value[0] == number))


def _as_is(message: Any) -> Any:
    return message


def _reading(handler: Method) -> Callable[[Any], Any]:
    """Bytes to requests. Done here and not by grpc.aio, which tells its caller the exception's own words."""
    decode = handler.request_deserializer
    if decode is None:
        return _as_is

    def read(raw: Any) -> Any:
        try:
            return decode(raw)
        except DecodeError:
            raise InvalidRequest.of("request", "is not a message of this method") from None

    return read


async def _watched_requests(
    requests: AsyncIterator[Any], call: RunningCall, read: Callable[[Any], Any]
) -> AsyncIterator[Any]:
    async for request in requests:
        call.moved()
        yield read(request)


class _WatchedContext:
    """The handler's context with `write` and `read` observed; everything else is the original's."""

    def __init__(
        self,
        inner: Context,
        call: RunningCall,
        seen: ServerCall,
        decode: Callable[[Any], Any],
        encode: Callable[[Any], Any],
    ) -> None:
        self._inner = inner
        self._call = call
        self._seen = seen
        self._decode = decode
        self._encode = encode

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def write(self, message: Any) -> None:
        with self._call.writing():
            await self._inner.write(self._encode(message))
        self._seen.message()

    async def read(self) -> Any:
        message = await self._inner.read()
        self._call.moved()
        return message if message is grpc.aio.EOF else self._decode(message)
