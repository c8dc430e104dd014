"""Kinds that say: not now, or not here. Waiting or another target may help."""

from __future__ import annotations

from enum import StrEnum

from orchestra_errors._error import OrchestraError


class NoCapacity(OrchestraError):
    """Every slot and queue place of the model is taken."""

    code = "RESOURCE_EXHAUSTED"
    reason_name = "NO_CAPACITY"
    metadata_keys = frozenset({"model"})
    may_move_on = True

    def __init__(self, model: str, retry_after: float) -> None:
        self._set(
            f"no capacity for {model}, try again in {retry_after:g} s", retry_after=retry_after, model=model
        )


class InsufficientMemory(OrchestraError):
    """A model needs more memory than its device has free. Sizes in bytes; None: not known."""

    code = "RESOURCE_EXHAUSTED"
    reason_name = "INSUFFICIENT_MEMORY"
    metadata_keys = frozenset({"model", "device", "needed_bytes", "free_bytes"})

    def __init__(self, model: str, device: str, needed: int | None, free: int | None) -> None:
        need = "more than it has" if needed is None else f"{needed} bytes"
        left = "" if free is None else f", of which {free} bytes are free"
        self._set(
            f"model {model} needs {need} of memory on {device}{left}",
            model=model,
            device=device,
            needed_bytes="" if needed is None else str(needed),
            free_bytes="" if free is None else str(free),
        )


class Unavailable(OrchestraError):
    """`what` cannot be reached or does not serve."""

    code = "UNAVAILABLE"
    reason_name = "UNAVAILABLE"
    metadata_keys = frozenset({"what"})
    may_move_on = True

    def __init__(self, what: str, retry_after: float | None = None) -> None:
        self._set(f"{what} is not available", retry_after=retry_after, what=what)


class Draining(OrchestraError):
    """The service is shutting down and takes no new calls, or had to end this one."""

    code = "UNAVAILABLE"
    reason_name = "DRAINING"
    metadata_keys = frozenset({"what"})
    may_move_on = True

    def __init__(self, what: str, retry_after: float | None = None) -> None:
        self._set(f"{what} is draining", retry_after=retry_after, what=what)


class StreamSilent(OrchestraError):
    """A stream was open and yielded nothing, not even a heartbeat, for too long."""

    code = "UNAVAILABLE"
    reason_name = "STREAM_SILENT"
    metadata_keys = frozenset({"what", "seconds"})
    may_move_on = True

    def __init__(self, what: str, seconds: float) -> None:
        self._set(f"{what} yielded nothing for {seconds:g} s", what=what, seconds=f"{seconds:g}")


class WorkerLost(OrchestraError):
    """The process that held the model ended. UNAVAILABLE: another worker may do it before the first text
    event."""

    code = "UNAVAILABLE"
    reason_name = "WORKER_LOST"
    metadata_keys = frozenset({"model", "because"})
    may_move_on = True

    def __init__(self, model: str, because: str, retry_after: float | None = None) -> None:
        self._set(
            f"the worker of {model} was lost: {because}",
            retry_after=retry_after,
            model=model,
            because=because,
        )


class WrongInstance(OrchestraError):
    """The call reached another process than the one that was chosen.

    FAILED_PRECONDITION and not UNAVAILABLE, because a channel repeats UNAVAILABLE and would only reach the
    same wrong process again. The router refreshes its snapshot and chooses anew.
    """

    code = "FAILED_PRECONDITION"
    reason_name = "WRONG_INSTANCE"
    metadata_keys = frozenset({"expected", "actual"})
    may_move_on = True

    def __init__(self, expected: str, actual: str) -> None:
        self._set(f"instance {expected} was meant, this is {actual}", expected=expected, actual=actual)


class DeadlineExceeded(OrchestraError):
    """The caller's time ran out; the work was stopped."""

    code = "DEADLINE_EXCEEDED"
    reason_name = "DEADLINE_EXCEEDED"
    metadata_keys = frozenset({"what", "seconds"})

    def __init__(self, what: str, seconds: float | None = None) -> None:
        after = f" after {seconds:.3g} s" if seconds is not None else ""
        shown = f"{seconds:.3g}" if seconds is not None else ""
        self._set(f"{what}: deadline exceeded{after}", what=what, seconds=shown)


class Cancelled(OrchestraError):
    """A callee was told to stop by someone other than our own caller."""

    code = "CANCELLED"
    reason_name = "CANCELLED"
    metadata_keys = frozenset({"what"})

    def __init__(self, what: str) -> None:
        self._set(f"{what} was cancelled", what=what)


class RunCancelled(OrchestraError):
    """The run that the request belongs to was cancelled; no request of it is served any more."""

    code = "CANCELLED"
    reason_name = "RUN_CANCELLED"
    metadata_keys = frozenset({"run"})

    def __init__(self, run: str) -> None:
        self._set(f"run {run!r} was cancelled", run=run)


class UpstreamKind(StrEnum):
    """What went wrong at a provider."""

    AUTH = "auth"
    """Our key was refused: an operator has to act."""
    RATE_LIMITED = "rate_limited"
    """The provider's limit is reached; Retry-After is passed on."""
    OVERLOADED = "overloaded"
    """The provider answers 5xx or says that it is overloaded."""
    UNREACHABLE = "unreachable"
    """No connection, or it broke before the first byte."""
    TIMEOUT = "timeout"
    """Nothing came within the time that was left."""
    REFUSED = "refused"
    """The provider calls the request wrong (4xx)."""
    FILTERED = "filtered"
    """The provider's content filter refused the request."""
    CUT = "cut"
    """The stream ended without a finish reason: the answer is not whole."""
    MALFORMED = "malformed"
    """The answer could not be read."""


_UPSTREAM_CODES = {
    UpstreamKind.AUTH: "FAILED_PRECONDITION",
    UpstreamKind.RATE_LIMITED: "RESOURCE_EXHAUSTED",
    UpstreamKind.REFUSED: "INVALID_ARGUMENT",
    UpstreamKind.FILTERED: "FAILED_PRECONDITION",
}


class UpstreamFailed(OrchestraError):
    """A provider failed. The status code follows the kind: only what may pass by itself is UNAVAILABLE."""

    code = "UNAVAILABLE"
    reason_name = "UPSTREAM_FAILED"
    metadata_keys = frozenset({"provider", "model", "kind", "because"})
    may_move_on = True

    def __init__(
        self,
        provider: str,
        kind: UpstreamKind | str,
        because: str = "",
        *,
        model: str = "",
        retry_after: float | None = None,
    ) -> None:
        kind = UpstreamKind(kind)
        name = f"{provider} ({model})" if model else provider
        self._set(
            f"{name}: {kind}{': ' + because if because else ''}",
            retry_after=retry_after,
            status_code=_UPSTREAM_CODES.get(kind, "UNAVAILABLE"),
            provider=provider,
            model=model,
            kind=str(kind),
            because=because,
        )

    @property
    def kind(self) -> UpstreamKind | None:
        """None when a newer peer speaks of a kind that this build does not know."""
        known = self.metadata.get("kind", "")
        return UpstreamKind(known) if known in UpstreamKind.__members__.values() else None


class PeerFailed(OrchestraError):
    """A peer answered with a status that carries none of our details; the status code is the peer's."""

    code = "UNKNOWN"
    reason_name = "PEER_FAILED"
    metadata_keys = frozenset({"code", "because"})

    def __init__(self, status_code: str, because: str) -> None:
        self._set(f"a peer answered {status_code}: {because}", status_code=status_code, because=because)
        self.metadata["code"] = status_code


class DataLoss(OrchestraError):
    """What was stored cannot be read back whole."""

    code = "DATA_LOSS"
    reason_name = "DATA_LOSS"
    metadata_keys = frozenset({"what", "because"})

    def __init__(self, what: str, because: str) -> None:
        self._set(f"{what} is damaged: {because}", what=what, because=because)


class Internal(OrchestraError):
    """A mistake of ours. The message names no internals; the log of the trace does."""

    code = "INTERNAL"
    reason_name = "INTERNAL"
    metadata_keys = frozenset({"trace_id"})

    def __init__(self, trace_id: str = "") -> None:
        where = f"; the log of trace {trace_id} says more" if trace_id else ""
        self._set(f"internal error{where}", trace_id=trace_id)
