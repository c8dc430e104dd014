"""Which model gives how many samples of a diverse request."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from orchestra.generation.v1 import request_pb2
from orchestra.router.v1 import router_service_pb2 as pb
from orchestra_errors import Violations
from orchestra_requests.request import MAX_ID

from ..domain.choosing import Refusal
from ..domain.shares import Share, planned, spread
from ..ports import Names, Unknown
from .intake import Intake, nearest_hint
from .item import Item
from .journey import Guide


class Planning:
    """Checks a plan, or makes one from the candidates."""

    def __init__(self, intake: Intake, names: Names, guide: Guide, most_samples: int) -> None:
        self._intake = intake
        self._names = names
        self._guide = guide
        self._most = most_samples

    def items(self, request: pb.GenerateDiverseRequest, also: Violations) -> list[Item]:
        """One item for each model's share. Raises InvalidRequest with everything wrong, `also` included,
        NotFound for a lone unknown name, and why no model may answer."""
        self._check(request, also)
        return [self._item(request.generation, share) for share in self._shares(request)]

    def _check(self, request: pb.GenerateDiverseRequest, found: Violations) -> None:
        sampling = request.generation.sampling
        for position, share in enumerate(request.plan):
            found.require(
                share.samples >= 1, f"plan[{position}].samples", f"must be at least 1, is {share.samples}"
            )
            name = self._names.model(share.model)
            if isinstance(name, Unknown) or len(name.models) != 1:
                hint = nearest_hint(name.nearest if isinstance(name, Unknown) else name.models)
                found.add(f"plan[{position}].model", f"there is no single model {share.model!r}{hint}")
        in_plan = sum(share.samples for share in request.plan)
        if request.plan and sampling.HasField("n"):
            found.require(sampling.n == in_plan, "plan", f"gives {in_plan} samples, n is {sampling.n}")
        found.require(
            in_plan <= self._most, "plan", f"gives {in_plan} samples, at most {self._most} are allowed"
        )
        whole = request.generation
        if sampling.HasField("temperature") and sampling.temperature == 0 and 1 <= sampling.n <= self._most:
            # one greedy sample of each model is no repetition; a share of several is refused with the share
            whole = _with_n(whole, 1)
        self._intake.job(whole, also=found)

    def _shares(self, request: pb.GenerateDiverseRequest) -> Sequence[Share]:
        if request.plan:
            plan: dict[str, int] = {}
            for share in request.plan:
                plan[share.model] = plan.get(share.model, 0) + share.samples
            return planned(plan)
        generation = request.generation
        n = generation.sampling.n if generation.sampling.HasField("n") else 1
        job = self._intake.job(_with_n(generation, 1))
        if job.model:
            return spread((generation.routing.model,), n)
        if job.candidates:
            return spread(job.candidates, n)
        choice = self._guide.weigh(job)
        if isinstance(choice, Refusal):
            raise choice.error
        return spread(tuple(dict.fromkeys(target.model for target in choice.ranked)), n)

    def _item(self, generation: request_pb2.GenerationRequest, share: Share) -> Item:
        own = _with_n(generation, share.samples)
        own.routing.model = share.model
        own.routing.allow_substitution = False
        own.routing.ClearField("candidates")
        own.routing.ClearField("objective")
        own.routing.ClearField("fallback")
        own.ClearField("diversity_target")
        if own.request_id:
            # each share has a replay record of its own
            own.request_id = _share_id(own.request_id, share.model)
        item = self._intake.item(own)
        item.first = share.first
        return item


def _share_id(request_id: str, model: str) -> str:
    """Differs whenever either differs, and is no longer than an id may be."""
    plain = f"{request_id}/{model}"
    return plain if len(plain) <= MAX_ID else hashlib.sha256(plain.encode()).hexdigest()


def _with_n(generation: request_pb2.GenerationRequest, n: int) -> request_pb2.GenerationRequest:
    copy = request_pb2.GenerationRequest()
    copy.CopyFrom(generation)
    copy.sampling.n = n
    return copy
