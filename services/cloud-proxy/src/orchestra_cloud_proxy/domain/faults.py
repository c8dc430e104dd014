"""What went wrong at a provider: its kind, whether the call may be repeated, and what it may have cost."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from orchestra_errors import UpstreamKind


class Where(Enum):
    """How far the call had come."""

    NOT_SENT = "not sent"
    """No connection was made: nothing left."""
    NO_ANSWER = "no answer"
    """It left, and the connection broke before an answer."""
    ANSWERED = "answered"
    """The provider answered with an error status, or with an error inside the stream."""
    TIMED_OUT = "timed out"
    CUT = "cut"
    """The stream ended without its end."""
    UNREADABLE = "unreadable"
    """What came is not what the provider's API promises."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One failure as the adapter saw it. `status` is the HTTP status, None inside a stream; `code` and `type`
    are the provider's own words for the error; `retry_after` in seconds. `message` holds no key."""

    where: Where
    message: str = ""
    status: int | None = None
    code: str = ""
    type: str = ""
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """`repeatable`: the same call may succeed a moment later. `free`: certainly nothing was consumed.
    `blames`: it speaks against the provider's health, for the breaker."""

    kind: UpstreamKind
    repeatable: bool
    free: bool
    blames: bool


_FILTER_WORDS = ("content_filter", "content_policy", "moderation", "safety")
_QUOTA_WORDS = ("insufficient_quota", "billing", "credit")
_LIMIT_WORDS = ("rate_limit", "too_many_requests", "tokens", "requests")


def judge(fault: Fault) -> Judgement:
    """Pure and total: every fault has exactly one judgement."""
    match fault.where:
        case Where.NOT_SENT:
            return Judgement(UpstreamKind.UNREACHABLE, repeatable=True, free=True, blames=True)
        case Where.NO_ANSWER:
            return Judgement(UpstreamKind.UNREACHABLE, repeatable=True, free=False, blames=True)
        case Where.TIMED_OUT:
            return Judgement(UpstreamKind.TIMEOUT, repeatable=True, free=False, blames=True)
        case Where.CUT:
            return Judgement(UpstreamKind.CUT, repeatable=True, free=False, blames=True)
        case Where.UNREADABLE:
            return Judgement(UpstreamKind.MALFORMED, repeatable=True, free=False, blames=True)
        case Where.ANSWERED:
            return _answered(fault)


def _answered(fault: Fault) -> Judgement:
    # an error inside a stream comes after the provider began to work
    free = fault.status is not None
    words = f"{fault.code} {fault.type}".lower()
    status = fault.status
    if status is None:
        status = 429 if any(word in words for word in _LIMIT_WORDS) else 500
    if status in (401, 403):
        return Judgement(UpstreamKind.AUTH, repeatable=False, free=free, blames=True)
    if any(word in words for word in _FILTER_WORDS):
        return Judgement(UpstreamKind.FILTERED, repeatable=False, free=free, blames=False)
    if status == 429:
        exhausted = any(word in words for word in _QUOTA_WORDS)
        return Judgement(UpstreamKind.RATE_LIMITED, repeatable=not exhausted, free=free, blames=exhausted)
    if status == 402:
        return Judgement(UpstreamKind.RATE_LIMITED, repeatable=False, free=free, blames=True)
    if status == 408:
        return Judgement(UpstreamKind.TIMEOUT, repeatable=True, free=free, blames=True)
    if status >= 500:
        return Judgement(UpstreamKind.OVERLOADED, repeatable=True, free=free, blames=True)
    if status >= 400:
        return Judgement(UpstreamKind.REFUSED, repeatable=False, free=free, blames=False)
    return Judgement(UpstreamKind.MALFORMED, repeatable=False, free=False, blames=True)
