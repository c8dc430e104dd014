"""Lookups as runs of `lookup.lua`, and its answers as values."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import Any

from orchestra_cache.adapters import names
from orchestra_cache.adapters.scripts import Argument, Call, Script
from orchestra_cache.domain.draws import Found, Lease, ReplayState, Seen, Serving, StoredDraw, Wish
from orchestra_cache.domain.framing import unframe
from orchestra_errors import AlreadyExists

LOOKUP = Script("lookup")
_HEAD = 8
_DRAW = 5


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """Of what is stored, in milliseconds."""

    draws: int
    replays: int
    running: int
    lease: int


@dataclass(frozen=True, slots=True)
class Damaged:
    """Values that could not be read: the numbers of draws and their bytes; or a replay record."""

    draws: tuple[tuple[int, bytes], ...] = ()
    replay: bool = False


def lookup_call(wish: Wish, lifetimes: Lifetimes) -> Call:
    topic, policy = wish.topic, wish.policy
    keys = [names.set_of(topic.key), names.lease_of(topic.key)]
    digest, token = b"", ""
    if wish.replay is not None:
        keys.append(names.replay_of(wish.replay.tenant, wish.replay.request_id))
        digest, token = wish.replay.digest, wish.replay.token
    serving = policy.serving if topic.keeps_draws else Serving.NOTHING
    arguments: list[Argument] = [
        serving.value,
        wish.n,
        lifetimes.draws,
        -1 if policy.max_age_ms is None else policy.max_age_ms,
        policy.min_distinct,
        int(policy.distinct),
        names.rollout(wish.rollout_id),
        wish.owner if wish.want_lease and topic.deterministic else "",
        lifetimes.lease,
        digest,
        token,
        lifetimes.running,
        lifetimes.replays,
    ]
    return Call(LOOKUP, keys, arguments)


def read_lookup(wish: Wish, answer: list[Any]) -> tuple[Found | AlreadyExists, Damaged]:
    """What the script said. A damaged draw is left out and counted; a damaged replay record gives no draws at
    all."""
    kind = bytes(answer[0])
    if kind == b"conflict":
        assert wish.replay is not None
        taken = AlreadyExists("request_id", wish.replay.request_id, "was used with another payload")
        return taken, Damaged()
    if kind == b"running":
        return Found((), Seen(), ReplayState.RUNNING), Damaged()
    if kind == b"replayed":
        return _read_replay(wish, int(answer[1]), answer[2:])
    return _read_set(wish, answer)


def _read_replay(wish: Wish, closed_at: int, frames: list[bytes]) -> tuple[Found, Damaged]:
    assert wish.replay is not None
    place = names.replay_of(wish.replay.tenant, wish.replay.request_id).encode()
    payloads = [unframe(value, place) for value in frames]
    whole = [StoredDraw(payload, closed_at, 0, 0, None) for payload in payloads if payload is not None]
    if len(whole) < len(frames):
        return Found((), Seen(damaged=len(frames) - len(whole)), ReplayState.REPLAYED), Damaged(replay=True)
    return Found(whole, Seen(), ReplayState.REPLAYED), Damaged()


def _read_set(wish: Wish, answer: list[Any]) -> tuple[Found, Damaged]:
    fence, ends, total, eligible, distinct, served_before, repeats = (int(one) for one in answer[1:_HEAD])
    place = names.set_of(wish.topic.key).encode()
    draws, damaged = [], []
    rest = islice(answer, _HEAD, None)
    for number, position, stored_at, cost, value in zip(*[rest] * _DRAW, strict=True):
        payload = unframe(value, place)
        if payload is None:
            damaged.append((int(number), value))
        else:
            known = None if cost < 0 else int(cost)
            draws.append(StoredDraw(payload, int(stored_at), int(position), total, known))
    seen = Seen(total, eligible, distinct, served_before, repeats, len(damaged))
    lease = Lease(wish.topic.key, fence, ends) if fence else None
    return Found(draws, seen, ReplayState.NEW, lease), Damaged(draws=tuple(damaged))
