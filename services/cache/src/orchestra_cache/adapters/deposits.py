"""Deposits as runs of `store.lua`, and its answers as values."""

from __future__ import annotations

from typing import Any

from orchestra_cache.adapters import names
from orchestra_cache.adapters.lookups import Lifetimes
from orchestra_cache.adapters.scripts import Argument, Call, Script
from orchestra_cache.domain.draws import Deposit, Kept
from orchestra_cache.domain.framing import frame
from orchestra_errors import AlreadyExists, LeaseLost, OrchestraError

STORE = Script("store")
MOST_DRAWS = 8192
"""Of one set; the oldest go first."""


def store_call(deposit: Deposit, lifetimes: Lifetimes) -> Call:
    topic = deposit.topic
    place = names.set_of(topic.key)
    keys = [place, names.lease_of(topic.key)]
    frames: list[bytes] = []
    digest = b""
    if deposit.replay is not None:
        record = names.replay_of(deposit.replay.tenant, deposit.replay.request_id)
        keys.append(record)
        digest = deposit.replay.digest
        frames = [frame(draw.payload, record.encode()) for draw in deposit.replay_draws]
    arguments: list[Argument] = [
        topic.tenant,
        topic.model,
        lifetimes.draws,
        int(topic.deterministic),
        deposit.fence,
        names.rollout(deposit.rollout_id),
        names.run(deposit.run_id),
        MOST_DRAWS,
        len(deposit.draws),
        digest,
        lifetimes.replays,
    ]
    for draw in deposit.draws:
        arguments += (
            names.sample(draw.sample_id),
            draw.text_digest,
            0 if draw.cost_nanos is None else draw.cost_nanos + 1,
            frame(draw.payload, place.encode()),
        )
    return Call(STORE, keys, [*arguments, *frames])


def read_store(deposit: Deposit, answer: list[Any]) -> Kept | OrchestraError:
    match bytes(answer[0]):
        case b"conflict":
            assert deposit.replay is not None
            return AlreadyExists("request_id", deposit.replay.request_id, "was used with another payload")
        case b"lost":
            return LeaseLost(deposit.topic.key)
    return Kept(stored=int(answer[1]), duplicates=int(answer[2]))
