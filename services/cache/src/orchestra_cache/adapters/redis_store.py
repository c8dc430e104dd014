"""The store on a Valkey or Redis server: one script per lookup and per deposit, so that each is one step for
all."""

from __future__ import annotations

import struct
import time
from collections.abc import AsyncIterator, Sequence

import structlog
from redis.asyncio import Redis

from orchestra_cache.adapters import names
from orchestra_cache.adapters.deposits import read_store, store_call
from orchestra_cache.adapters.lookups import Damaged, Lifetimes, lookup_call, read_lookup
from orchestra_cache.adapters.scripts import Argument, Call, Script, run, store_errors
from orchestra_cache.domain.draws import (
    Deposit,
    Forgetting,
    Forgotten,
    Found,
    Holdings,
    Kept,
    Lease,
    Replay,
    ReplayState,
    Wish,
)
from orchestra_errors import OrchestraError

_BURY, _FORGET, _END_REPLAY = Script("bury"), Script("forget"), Script("end_replay")
_ACQUIRE, _RELEASE = Script("acquire"), Script("release")
_RECORD = 44
_AT_ONCE = 256
log = structlog.get_logger()


class RedisStore:
    """Sample sets, replay records and leases. `kind` is how the server came to be: embedded or redis."""

    def __init__(self, redis: Redis, lifetimes: Lifetimes, kind: str) -> None:
        self._redis = redis
        self._lifetimes = lifetimes
        self._kind = kind

    async def lookup(self, wishes: Sequence[Wish]) -> list[Found | OrchestraError]:
        calls = [lookup_call(wish, self._lifetimes) for wish in wishes]
        found: list[Found | OrchestraError] = []
        for wish, answer in zip(wishes, await run(self._redis, calls), strict=True):
            one, damaged = read_lookup(wish, answer)
            if isinstance(one, Found) and (damaged.draws or damaged.replay):
                one = await self._without(wish, one, damaged)
            found.append(one)
        return found

    async def _without(self, wish: Wish, found: Found, damaged: Damaged) -> Found:
        """Take out what cannot be read, so that the next one does not meet it again."""
        log.warning(
            "stored values are damaged", key=wish.topic.key, count=found.seen.damaged, replay=damaged.replay
        )
        if damaged.replay and wish.replay is not None:
            await self._end(wish.replay, "done", token="")
            (again,) = await run(self._redis, [lookup_call(wish, self._lifetimes)])
            one, _ = read_lookup(wish, again)
            return one if isinstance(one, Found) else Found((), found.seen, ReplayState.RUNNING)
        pairs: list[bytes | str] = []
        for number, value in damaged.draws:
            pairs += (str(number), value)
        await run(self._redis, [Call(_BURY, [names.set_of(wish.topic.key)], pairs)])
        return found

    async def deposit(self, deposits: Sequence[Deposit]) -> list[Kept | OrchestraError]:
        calls = [store_call(deposit, self._lifetimes) for deposit in deposits]
        answers = await run(self._redis, calls)
        return [read_store(deposit, answer) for deposit, answer in zip(deposits, answers, strict=True)]

    async def end_replay(self, replay: Replay) -> bool:
        return await self._end(replay, "running", replay.token)

    async def _end(self, replay: Replay, state: str, token: str) -> bool:
        record = names.replay_of(replay.tenant, replay.request_id)
        (ended,) = await run(self._redis, [Call(_END_REPLAY, [record], [state, token])])
        return bool(ended)

    async def acquire(self, key: str, owner: str, ms: int) -> Lease | str:
        (answer,) = await run(self._redis, [Call(_ACQUIRE, [names.lease_of(key)], [owner, ms])])
        fence, ends, *holder = answer
        return Lease(key, int(fence), int(ends)) if fence else bytes(holder[0]).decode()

    async def release(self, key: str, fence: int) -> bool:
        (released,) = await run(self._redis, [Call(_RELEASE, [names.lease_of(key)], [str(fence)])])
        return bool(released)

    async def forget(self, what: Forgetting) -> Forgotten:
        arguments: list[Argument] = [
            what.tenant,
            what.model,
            names.run(what.run_id) if what.run_id else b"",
            -1 if what.older_than_ms is None else what.older_than_ms,
            self._lifetimes.draws,
        ]
        sets = samples = 0
        async for found in self._sets(what.key):
            for gone in await run(self._redis, [Call(_FORGET, [name], arguments) for name in found]):
                sets += gone > 0
                samples += gone
        return Forgotten(sets, samples)

    async def _sets(self, key: str = "") -> AsyncIterator[list[str]]:
        """Names of sample sets, in groups; all, or the one of `key`."""
        if key:
            yield [names.set_of(key)]
            return
        seen: set[str] = set()
        cursor = 0
        while True:
            with store_errors():
                cursor, page = await self._redis.scan(cursor, match=names.SETS, count=_AT_ONCE)
            # a scan may name a key twice while the store's table grows
            fresh = [
                name
                for name in (raw.decode() if isinstance(raw, bytes) else raw for raw in page)
                if name not in seen
            ]
            seen.update(fresh)
            if fresh:
                yield fresh
            if not cursor:
                return

    async def holdings(self) -> Holdings:
        with store_errors():
            about = await self._redis.info()
        horizon = time.time() * 1000 - self._lifetimes.draws
        sets = samples = 0
        async for found in self._sets():
            with store_errors():
                async with self._redis.pipeline(transaction=False) as pipe:
                    for name in found:
                        pipe.hget(name, "m")
                    records = await pipe.execute()
            living = [_living(bytes(one), horizon) for one in records if one]
            sets += sum(1 for count in living if count)
            samples += sum(living)
        version = about.get("valkey_version") or about.get("redis_version", "")
        server = "valkey" if "valkey_version" in about else "redis"
        return Holdings(
            sets=sets,
            samples=samples,
            used_bytes=int(about["used_memory"]),
            max_bytes=int(about.get("maxmemory", 0)),
            evicted=int(about.get("evicted_keys", 0)),
            store=f"{self._kind}, {server} {version}",
        )

    async def answers(self) -> bool:
        """Whether the server can be reached now."""
        with store_errors():
            return bool(await self._redis.ping())


def _living(records: bytes, horizon_ms: float) -> int:
    times = (struct.unpack_from(">Q", records, at)[0] for at in range(0, len(records), _RECORD))
    return sum(1 for stored_at in times if stored_at > horizon_ms)
