"""Messages to values and back. Every wrong field of a message is gathered before it is refused."""

from __future__ import annotations

import secrets
from datetime import datetime

from orchestra.cache.v1 import cache_service_pb2 as pb
from orchestra.generation.v1 import request_pb2
from orchestra_cache.domain.counters import Counters
from orchestra_cache.domain.draws import (
    Deposit,
    Forgetting,
    Holdings,
    Policy,
    Replay,
    ReplayState,
    Serving,
    Topic,
    Wish,
)
from orchestra_cache.domain.misses import Miss
from orchestra_cache.flows.lookup import Answer
from orchestra_cache.rpc.flights import write_lease
from orchestra_cache.rpc.keying import canonical, key_of
from orchestra_cache.rpc.samples import read_samples, write_sample
from orchestra_errors import Violations
from orchestra_requests import check_generation, is_deterministic

MOST_DRAWS = 4096
_SERVING = {
    request_pb2.CACHE_MODE_UNSPECIFIED: Serving.SERVE,
    request_pb2.CACHE_MODE_USE: Serving.SERVE,
    request_pb2.CACHE_MODE_READ_ONLY: Serving.SERVE,
    request_pb2.CACHE_MODE_WRITE_ONLY: Serving.NOTHING,
    request_pb2.CACHE_MODE_REFRESH: Serving.FORGET,
    request_pb2.CACHE_MODE_BYPASS: Serving.NOTHING,
}
_LEFT_ALONE = (request_pb2.CACHE_MODE_BYPASS, request_pb2.CACHE_MODE_READ_ONLY)
_REPLAY = {
    ReplayState.NEW: pb.REPLAY_STATE_NEW,
    ReplayState.RUNNING: pb.REPLAY_STATE_RUNNING,
    ReplayState.REPLAYED: pb.REPLAY_STATE_REPLAYED,
}
_MISS = {miss: pb.MissReason.Value(f"MISS_REASON_{miss.name}") for miss in Miss}


def read_lookup(request: pb.LookupRequest) -> Wish:
    """Raises InvalidRequest."""
    v = Violations()
    v.require(1 <= request.n <= MOST_DRAWS, "n", f"must be 1 to {MOST_DRAWS:,}, is {request.n}")
    # not checked whole: nothing is ever stored for a request that is wrong, so a wrong one finds nothing
    topic, _ = _topic(request.subject, request.n, v)
    policy = _policy(request.subject.generation.cache, v)
    replay = _replay(request.subject.tenant, request.request_id, request.payload_digest, v)
    if request.want_lease:
        v.require(topic.deterministic, "want_lease", "only a greedy or seeded request is flown once for all")
    v.raise_if_any()
    return Wish(
        topic=topic,
        n=request.n,
        policy=policy,
        rollout_id=request.rollout_id,
        replay=replay,
        want_lease=request.want_lease,
        owner=request.request_id or secrets.token_hex(8),
    )


def _topic(subject: pb.Subject, n: int, v: Violations) -> tuple[Topic, pb.Subject]:
    """The set, and the canonical subject that names it."""
    v.require(bool(subject.tenant), "subject.tenant", "must be set")
    v.require(bool(subject.model), "subject.model", "must be set")
    whole = canonical(subject)
    asks = whole.generation.WhichOneof("prompt") is not None
    v.require(asks, "subject.generation.prompt", "must be set: chat, text or token_ids")
    deterministic = is_deterministic(whole.generation)
    topic = Topic(
        key=key_of(whole),
        tenant=subject.tenant,
        model=subject.model,
        has_revision=bool(subject.revision),
        deterministic=deterministic,
        whole_answer=not deterministic or max(n, subject.generation.sampling.n) <= 1,
    )
    return topic, whole


def _policy(cache: request_pb2.CachePolicy, v: Violations) -> Policy:
    at = "subject.generation.cache"
    v.require(cache.mode in _SERVING, f"{at}.mode", f"unknown value {cache.mode}")
    v.require(cache.min_distinct >= 0, f"{at}.min_distinct", f"must not be negative, is {cache.min_distinct}")
    age = cache.max_age.ToMilliseconds() if cache.HasField("max_age") else None
    v.require(age is None or age >= 0, f"{at}.max_age", "must not be negative")
    return Policy(_SERVING.get(cache.mode, Serving.NOTHING), age, cache.min_distinct, cache.distinct)


def _replay(tenant: str, request_id: str, digest: bytes, v: Violations) -> Replay | None:
    if not request_id:
        return None
    v.require(bool(digest), "payload_digest", "must be set beside a request_id")
    return Replay(tenant, request_id, digest, secrets.token_hex(8))


def read_store(request: pb.StoreRequest) -> Deposit:
    """Raises InvalidRequest."""
    v = Violations()
    subject = request.subject
    draws = read_samples(request.samples, "samples", v)
    replay = _replay(subject.tenant, request.request_id, request.payload_digest, v)
    replay_draws = read_samples(request.replay_samples, "replay_samples", v) or draws
    if replay is not None:
        v.require(bool(request.samples or request.replay_samples), "replay_samples", "must not be empty")
    if request.replay_only:
        v.require(bool(subject.tenant), "subject.tenant", "must be set")
        v.require(replay is not None, "request_id", "must be set with replay_only")
        topic = Topic("", subject.tenant, subject.model, has_revision=False, deterministic=False)
        draws = []
    else:
        topic, whole = _topic(subject, 1, v)
        v.extend(check_generation(whole.generation), "subject.generation.")
        v.require(bool(request.samples), "samples", "must not be empty, but with replay_only")
        v.require(topic.has_revision, "subject.revision", "must be set: without it nothing is stored")
        v.require(
            topic.whole_answer,
            "subject.generation.sampling.n",
            "a seeded request of several samples ties each to its index, which a set does not keep",
        )
        v.require(request.fence >= 0, "fence", "must not be negative")
    v.raise_if_any()
    return Deposit(
        topic=topic,
        draws=[] if subject.generation.cache.mode in _LEFT_ALONE else draws,
        rollout_id=request.rollout_id,
        run_id=subject.generation.run_id,
        replay=replay,
        replay_draws=replay_draws,
        fence=request.fence,
    )


def write_lookup(wish: Wish, answer: Answer) -> pb.LookupResponse:
    found = answer.found
    response = pb.LookupResponse(
        samples=[write_sample(draw) for draw in found.draws],
        key=wish.topic.key,
        stored_total=found.seen.total,
        replay=_REPLAY[found.replay],
    )
    if answer.miss is not None:
        response.miss_reason = _MISS[answer.miss]
    if found.lease is not None:
        response.lease.CopyFrom(write_lease(found.lease))
    return response


def read_invalidate(request: pb.InvalidateRequest) -> Forgetting:
    """Raises InvalidRequest."""
    v = Violations()
    age = request.older_than.ToMilliseconds() if request.HasField("older_than") else None
    named = request.model or request.run_id or request.tenant or request.key or age is not None
    v.require(
        bool(named),
        "model",
        "must be set, or run_id, tenant, key or older_than: not everything is forgotten at once",
    )
    v.require(age is None or age >= 0, "older_than", "must not be negative")
    v.raise_if_any()
    return Forgetting(request.key, request.model, request.tenant, request.run_id, age)


def write_stats(counters: Counters, held: Holdings, since: datetime) -> pb.GetStatsResponse:
    response = pb.GetStatsResponse(
        lookups=counters.lookups,
        draws_wanted=counters.draws_wanted,
        draws_served=counters.draws_served,
        replays=counters.replays,
        draws_stored=counters.draws_stored,
        saved_nanos=counters.saved_nanos,
        served_without_cost=counters.served_without_cost,
        sets=held.sets,
        samples=held.samples,
        bytes=held.used_bytes,
        max_bytes=held.max_bytes,
        misses_by_reason={miss.value: count for miss, count in counters.misses.items()},
        store=held.store,
        damaged=counters.damaged,
        evicted=held.evicted,
    )
    response.since.FromDatetime(since)
    return response
