"""Making calls: kinds instead of AioRpcError, and no stream left running."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any, TypeAlias, TypeVar

import grpc

from orchestra_rpc.status import error_from_rpc

T = TypeVar("T")
Stream: TypeAlias = "grpc.aio.UnaryStreamCall[Any, T] | grpc.aio.StreamStreamCall[Any, T]"


async def call_unary(call: Awaitable[T]) -> T:
    """The answer of a call with a single answer (`await call_unary(stub.Lookup(request))`). Raises kinds."""
    try:
        return await call
    except grpc.aio.AioRpcError as exc:
        raise error_from_rpc(exc) from None


@asynccontextmanager
async def call_stream(call: Stream[T]) -> AsyncIterator[AsyncIterator[T]]:
    """The answers of a call; raises kinds while they are read.

    Leaving the block always cancels the call: grpc.aio never does, and an abandoned call would keep its peer
    working.
    """
    try:
        yield _messages(call)
    finally:
        call.cancel()


async def _messages(call: Stream[T]) -> AsyncIterator[T]:
    try:
        async for message in call:
            yield message
    except grpc.aio.AioRpcError as exc:
        raise error_from_rpc(exc) from None
