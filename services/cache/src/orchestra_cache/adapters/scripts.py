"""Lua scripts on the store: sent by digest, many in one round trip, loaded again when the store has lost
them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import (
    BusyLoadingError,
    MaxConnectionsError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
)
from redis.exceptions import ConnectionError as StoreGone
from redis.exceptions import TimeoutError as StoreSlow

from orchestra_errors import Unavailable

RETRY_S = 0.5
_AWAY = (BusyLoadingError, MaxConnectionsError, OutOfMemoryError, ReadOnlyError, StoreGone, StoreSlow)
Argument = bytes | str | int


class Script:
    """One file of this package's `scripts`, behind what all of them share."""

    def __init__(self, name: str) -> None:
        folder = resources.files("orchestra_cache.adapters") / "scripts"
        self.name = name
        self.text = (folder / "prelude.lua").read_text() + (folder / f"{name}.lua").read_text()
        self.sha = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()


@dataclass(frozen=True, slots=True)
class Call:
    """One run of a script."""

    script: Script
    keys: Sequence[str]
    arguments: Sequence[Argument]


@contextmanager
def store_errors() -> Iterator[None]:
    """Raises Unavailable in place of what says that the store is away."""
    try:
        yield
    except _AWAY as error:
        raise Unavailable("the cache's store", retry_after=RETRY_S) from error


async def run(redis: Redis, calls: Sequence[Call]) -> list[Any]:
    """The answers in order, in one round trip. Raises Unavailable when the store is away; a script that fails
    raises RedisError."""
    with store_errors():
        answers = await _send(redis, calls)
        if any(isinstance(answer, NoScriptError) for answer in answers):
            for script in {call.script for call in calls}:
                await redis.script_load(script.text)
            missing = [i for i, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
            for i, answer in zip(missing, await _send(redis, [calls[i] for i in missing]), strict=True):
                answers[i] = answer
        for answer in answers:
            if isinstance(answer, RedisError):
                raise answer
    return answers


async def _send(redis: Redis, calls: Sequence[Call]) -> list[Any]:
    if len(calls) == 1:
        (call,) = calls
        try:
            return [await redis.evalsha(call.script.sha, len(call.keys), *call.keys, *call.arguments)]
        except NoScriptError as error:
            return [error]
    async with redis.pipeline(transaction=False) as pipe:
        for call in calls:
            pipe.evalsha(call.script.sha, len(call.keys), *call.keys, *call.arguments)
        answers: list[Any] = await pipe.execute(raise_on_error=False)
    return answers
