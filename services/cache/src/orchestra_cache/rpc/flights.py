"""Messages of leases and of what a leader sends, to values and back."""

from __future__ import annotations

from dataclasses import dataclass

from orchestra.cache.v1 import cache_service_pb2 as pb
from orchestra_cache.domain.draws import Lease, Replay
from orchestra_errors import Violations

MOST_LEASE_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Piece:
    """Events of a leader on their way."""

    events: bytes
    count: int
    last: bool


def write_lease(lease: Lease) -> pb.Lease:
    told = pb.Lease(key=lease.key, fence=lease.fence)
    told.expires_at.FromMilliseconds(lease.expires_at_ms)
    return told


def read_acquire(request: pb.AcquireRequest) -> tuple[str, str, int | None]:
    """Key, owner and milliseconds (None: the default). Raises InvalidRequest."""
    v = Violations()
    v.require(bool(request.key), "key", "must be set")
    v.require(bool(request.owner), "owner", "must be set")
    ms = request.lease.ToMilliseconds() if request.HasField("lease") else None
    v.require(ms is None or 0 < ms <= MOST_LEASE_MS, "lease", "must be above 0 and at most an hour")
    v.raise_if_any()
    return request.key, request.owner, ms


def read_release(request: pb.ReleaseRequest) -> Replay | None:
    """The replay record to end, if any. Raises InvalidRequest."""
    v = Violations()
    v.require(bool(request.key or request.request_id), "key", "must be set, or request_id")
    if request.key:
        v.require(request.fence > 0, "fence", "must be set beside a key")
    if request.request_id:
        v.require(bool(request.tenant), "tenant", "must be set beside a request_id")
    v.raise_if_any()
    return Replay(request.tenant, request.request_id, b"") if request.request_id else None


def read_publish(request: pb.PublishRequest) -> Piece:
    """Raises InvalidRequest."""
    v = Violations()
    v.require(bool(request.key), "key", "must be set")
    v.require(request.fence > 0, "fence", "must be set")
    v.require(bool(request.events), "events", "must not be empty")
    v.raise_if_any()
    last = any(event.HasField("finished") or event.HasField("sample_failed") for event in request.events)
    return Piece(pb.FollowResponse(events=request.events).SerializeToString(), len(request.events), last)


def check_follow(request: pb.FollowRequest) -> None:
    """Raises InvalidRequest."""
    v = Violations()
    v.require(bool(request.key), "key", "must be set")
    v.require(request.offset >= 0, "offset", f"must not be negative, is {request.offset}")
    v.raise_if_any()


def write_followed(first: int, events: bytes, wanted: int) -> pb.FollowResponse:
    """The events from `wanted` on of a group whose first has the offset `first`."""
    response = pb.FollowResponse.FromString(events)
    if first < wanted:
        del response.events[: wanted - first]
    response.offset = max(first, wanted)
    return response
