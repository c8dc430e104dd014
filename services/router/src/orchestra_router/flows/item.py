"""One request on its way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from orchestra.generation.v1 import provenance_pb2, request_pb2
from orchestra_errors import OrchestraError
from orchestra_requests import is_deterministic

from ..domain.job import Job

_SERVING_MODES = (
    request_pb2.CACHE_MODE_UNSPECIFIED,
    request_pb2.CACHE_MODE_USE,
    request_pb2.CACHE_MODE_READ_ONLY,
)
_STORING_MODES = (
    request_pb2.CACHE_MODE_UNSPECIFIED,
    request_pb2.CACHE_MODE_USE,
    request_pb2.CACHE_MODE_WRITE_ONLY,
    request_pb2.CACHE_MODE_REFRESH,
)


@dataclass(slots=True, eq=False)
class Item:
    """n samples of one prompt, whose indexes are `first` to `first + n - 1`."""

    generation: request_pb2.GenerationRequest
    job: Job
    tenant: str
    request_id: str
    replayable: bool
    """The caller gave the request id, so that a retry may replay."""
    call: str
    """Tells the attempts of this call from those of an earlier call with the same request id."""
    n: int
    trace_id: str
    first: int = 0
    digest: bytes = b""
    outcome: provenance_pb2.CacheOutcome.ValueType = provenance_pb2.CACHE_OUTCOME_MISS
    """Of the samples that are drawn."""
    replay_guaranteed: bool | None = None
    owns_replay: bool = False
    """The cache keeps an open replay record that this call has to close or release."""
    hops: list[provenance_pb2.Hop] = field(default_factory=list)
    stopped: OrchestraError | None = None
    on_stop: Callable[[], None] | None = None

    @property
    def policy(self) -> request_pb2.CachePolicy:
        return self.generation.cache

    @property
    def serves_stored(self) -> bool:
        """Whether stored draws may answer. A seeded request of several samples ties each text to its index,
        which a set of draws does not keep."""
        return self.policy.mode in (*_SERVING_MODES, request_pb2.CACHE_MODE_REFRESH) and self._keeps_draws

    @property
    def stores(self) -> bool:
        return self.policy.mode in _STORING_MODES and self._keeps_draws

    @property
    def _keeps_draws(self) -> bool:
        return not is_deterministic(self.generation) or (self.n == 1 and self.first == 0)

    def attempt_id(self, index: int, attempt: int | str) -> str:
        """Names one attempt at one sample for ever; `index` is the sample's, over the whole request."""
        return f"{self.request_id}/{index}/{attempt}{self.call}"

    def stop(self, error: OrchestraError) -> None:
        """End it from outside with `error`; the first word counts."""
        if self.stopped is None:
            self.stopped = error
            if self.on_stop is not None:
                self.on_stop()
