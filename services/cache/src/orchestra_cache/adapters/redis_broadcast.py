"""A leader's events as a stream of the store: followers on any replica read it from any offset, as it
grows."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from redis.asyncio import Redis

from orchestra_cache.adapters import names
from orchestra_cache.adapters.scripts import RETRY_S, Call, Script, run, store_errors
from orchestra_errors import LeaseLost, Unavailable

_PUBLISH, _LEADS = Script("publish"), Script("leads")
_LIFETIME_MS = 600_000
"""Of the events, after the last of them was published."""
_LOOK_MS = 250
"""While nothing comes, the leader's lease is looked at this often."""

_VACANT = 2
"""Looks that must find nobody leading before a follower gives up: a lease may be on its way to the next."""


class RedisBroadcast:
    """`waiting` is a client of its own: every follower holds one of its connections."""

    def __init__(self, redis: Redis, waiting: Redis, lease_ms: int) -> None:
        self._redis = redis
        self._waiting = waiting
        self._lease_ms = lease_ms

    async def publish(self, key: str, fence: int, events: bytes, count: int, last: bool) -> int:
        keys = [names.lease_of(key), names.stream_of(key)]
        arguments: list[bytes | str | int] = [
            str(fence),
            self._lease_ms,
            _LIFETIME_MS,
            count,
            int(last),
            events,
        ]
        (answer,) = await run(self._redis, [Call(_PUBLISH, keys, arguments)])
        if not answer:
            raise LeaseLost(key)
        return int(answer[0])

    async def follow(self, key: str, offset: int) -> AsyncIterator[tuple[int, bytes]]:
        stream, after, fence, vacant = names.stream_of(key), "0-0", 0, 0
        while True:
            with store_errors():
                read: Any = await self._waiting.xread({stream: after}, count=64, block=_LOOK_MS)
            entries = _entries(read)
            for entry_id, fields in entries:
                after = entry_id
                leader = int(fields[b"fence"])
                if fence and leader != fence:
                    raise self._lost(key)
                fence = leader
                first, count = int(fields[b"offset"]), int(fields[b"count"])
                if first + count > offset:
                    yield first, fields[b"events"]
                if fields[b"last"] == b"1":
                    return
            if entries:
                vacant = 0
                continue
            (answer,) = await run(self._redis, [Call(_LEADS, [names.lease_of(key)], [])])
            leading = int(answer[0])
            vacant = 0 if leading else vacant + 1
            # before its first event a leader may be replaced; afterwards nobody can go on for it
            if vacant >= _VACANT or (fence and leading != fence):
                raise self._lost(key)

    def _lost(self, key: str) -> Unavailable:
        return Unavailable(f"the leader of {key}", retry_after=RETRY_S)


def _entries(read: Any) -> list[tuple[str, dict[bytes, bytes]]]:
    """The entries of the one stream that was asked for, whichever protocol the store speaks."""
    streams = read.values() if isinstance(read, dict) else [groups for _, groups in read or ()]
    found: list[tuple[str, dict[bytes, bytes]]] = []
    for groups in streams:
        # the newer protocol puts the entries into one more list
        rows = groups[0] if groups and isinstance(groups[0], list) else groups
        found += [(bytes(entry_id).decode(), fields) for entry_id, fields in rows]
    return found
