"""One request on its way to a provider: n samples of one prompt."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from orchestra.generation.v1 import request_pb2
from orchestra_cloud_proxy.domain.attempt_ids import id_of_sample
from orchestra_cloud_proxy.domain.call import Call
from orchestra_cloud_proxy.domain.offerings import Offering
from orchestra_requests import seed_of_sample


@dataclass(slots=True)
class Reservation:
    """The one reservation of all samples of a job: it is given back with the last known cost, and stays held
    when any cost is not known."""

    id: str
    running: int
    unknown: bool = False

    def id_for_end(self, *, known: bool) -> str:
        """What the entry that ends one sample names; call once for each sample."""
        self.running -= 1
        if not known:
            self.unknown = True
            return self.id
        return self.id if self.running <= 0 and not self.unknown else ""


@dataclass(frozen=True, slots=True)
class Job:
    """`call` is what goes to the provider, but for the seed of each sample. `bounded`: the caller set a
    deadline, so that the provider's own time limit does not hold."""

    generation: request_pb2.GenerationRequest
    offering: Offering
    call: Call
    request_id: str
    attempt_id: str
    tenant: str
    n: int
    first_index: int
    attempts_left: int
    reservation: Reservation
    bounded: bool
    trace_id: str = ""
    indexes: range = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "indexes", range(self.first_index, self.first_index + self.n))

    def attempt_of(self, index: int) -> str:
        return id_of_sample(self.attempt_id, index - self.first_index)

    def call_of(self, index: int) -> Call:
        """Samples of one seeded request draw with seeds of their own."""
        if self.call.seed is None:
            return self.call
        return replace(self.call, seed=seed_of_sample(self.call.seed, index, self.n))
