"""A request as it came becomes an item with every name resolved, or is refused with everything that is
wrong."""

from __future__ import annotations

import hashlib
import secrets
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from orchestra.generation.v1 import request_pb2, routing_pb2
from orchestra_errors import (
    FieldViolation,
    InvalidRequest,
    NotFound,
    OrchestraError,
    RunCancelled,
    Violations,
)
from orchestra_requests import check_generation
from orchestra_telemetry import call_trace_id

from ..domain.job import OBJECTIVES, Job, PromptSize
from ..ports import Names, Snapshots, Unknown
from .caller import current_tenant
from .item import Item
from .running import Running

TEMPLATE_BYTES = 64
"""More than any chat template puts around one message."""
_TIERS = {
    routing_pb2.TIER_LOCAL: "local",
    routing_pb2.TIER_SELECTIVE: "selective",
    routing_pb2.TIER_PREMIUM: "premium",
}


@dataclass(frozen=True, slots=True)
class Bounds:
    """`max_prompt_bytes` of one prompt, `max_samples` of one request."""

    max_prompt_bytes: int
    max_samples: int


class Intake:
    """Checks the request itself, then its names, and refuses once with all of it."""

    def __init__(
        self, names: Names, snapshots: Snapshots, running: Running, bounds: Bounds, chain: Sequence[str]
    ) -> None:
        self._names = names
        self._snapshots = snapshots
        self._running = running
        self._bounds = bounds
        self._chain = tuple(name for one in chain for name in self._models(one))

    def _models(self, name: str) -> tuple[str, ...]:
        found = self._names.model(name)
        return () if isinstance(found, Unknown) else found.models

    def item(self, generation: request_pb2.GenerationRequest, *, prefix: str = "generation.") -> Item:
        """Raises InvalidRequest with every wrong field, NotFound when only a name is wrong, RunCancelled."""
        job = self.job(generation, prefix=prefix)
        tenant = current_tenant()
        self._refuse_cancelled(tenant, generation.run_id)
        n = generation.sampling.n if generation.sampling.HasField("n") else 1
        given = generation.request_id
        return Item(
            generation=generation,
            job=job,
            tenant=tenant,
            request_id=given or str(uuid.uuid4()),
            replayable=bool(given),
            call=f"-{secrets.token_hex(3)}" if given else "",
            n=n,
            trace_id=call_trace_id(),
        )

    def _refuse_cancelled(self, tenant: str, run_id: str) -> None:
        if run_id and self._running.cancelled(tenant, run_id) is not None:
            raise refused_run(run_id)

    def job(
        self,
        generation: request_pb2.GenerationRequest,
        *,
        prefix: str = "generation.",
        also: Violations | None = None,
    ) -> Job:
        """What it wants; raises as `item` does. `also`: what is wrong around the request, refused with it."""
        found = check_generation(generation, max_prompt_bytes=self._bounds.max_prompt_bytes)
        n = generation.sampling.n if generation.sampling.HasField("n") else 1
        most = self._bounds.max_samples
        if n <= 4096:
            found.require(n <= most, "sampling.n", f"must be at most {most} here, is {n}")
        unknown: list[tuple[str, str, Unknown]] = []
        resolved = _Resolved()
        self._resolve(generation, resolved, unknown)
        _refuse(found, unknown, prefix, also.found if also is not None else ())
        return _job(generation, resolved, self._chain)

    def _resolve(
        self,
        generation: request_pb2.GenerationRequest,
        into: _Resolved,
        unknown: list[tuple[str, str, Unknown]],
    ) -> None:
        routing = generation.routing
        if routing.model:
            named = self._names.model(routing.model)
            if isinstance(named, Unknown) or len(named.models) != 1:
                nearest = named.nearest if isinstance(named, Unknown) else named.models
                unknown.append(("routing.model", "model", Unknown(routing.model, nearest)))
            else:
                into.model, into.variant = named.models[0], named.variant
        for field, names, models in (
            ("routing.candidates", routing.candidates, into.candidates),
            ("routing.fallback", routing.fallback, into.fallback),
        ):
            for position, name in enumerate(names):
                found = self._names.model(name)
                if isinstance(found, Unknown):
                    unknown.append((f"{field}[{position}]", "model", found))
                else:
                    models.extend(model for model in found.models if model not in models)
        into.phase = self._snapshots.current().phase
        if generation.phase:
            phase = self._names.phase(generation.phase)
            if isinstance(phase, Unknown):
                unknown.append(("phase", "phase", phase))
            else:
                into.phase = phase


class _Resolved:
    def __init__(self) -> None:
        self.model = ""
        self.variant = ""
        self.candidates: list[str] = []
        self.fallback: list[str] = []
        self.phase = ""


def refused_run(run_id: str) -> OrchestraError:
    """For requests that come after the run was cancelled: the caller's state is wrong, nothing was cut."""
    error = RunCancelled(run_id)
    error.status_code = "FAILED_PRECONDITION"
    return error


def _refuse(
    found: Violations,
    unknown: Sequence[tuple[str, str, Unknown]],
    prefix: str,
    also: Sequence[FieldViolation],
) -> None:
    """One unknown name alone is NOT_FOUND; together with anything else it is one violation among others."""
    violations = [*(FieldViolation(prefix + one.field, one.description) for one in found.found), *also]
    lost = [FieldViolation(prefix + field, _does_not_exist(what, name)) for field, what, name in unknown]
    if len(unknown) == 1 and not violations:
        error = NotFound(unknown[0][1], unknown[0][2].name, unknown[0][2].nearest)
        error.violations = tuple(lost)
        raise error
    if violations or lost:
        raise InvalidRequest([*violations, *lost])


def nearest_hint(nearest: Sequence[str]) -> str:
    return f"; nearest: {', '.join(nearest)}" if nearest else ""


def _does_not_exist(what: str, name: Unknown) -> str:
    return f"there is no {what} {name.name!r}{nearest_hint(name.nearest)}"


def _job(generation: request_pb2.GenerationRequest, names: _Resolved, chain: Sequence[str]) -> Job:
    routing, sampling = generation.routing, generation.sampling
    substitution = routing.allow_substitution if routing.HasField("allow_substitution") else not routing.model
    size = prompt_size(generation)
    return Job(
        model=names.model,
        variant=names.variant,
        candidates=tuple(names.candidates),
        objective=OBJECTIVES[routing.objective - 1] if routing.objective else "",
        request_type=routing.request_type,
        tiers=frozenset(_TIERS[tier] for tier in routing.tiers),
        local_only=routing.local_only,
        complex=routing.complex,
        validation=routing.validation,
        max_cost_nanos=routing.max_cost_nanos if routing.HasField("max_cost_nanos") else None,
        allow_substitution=substitution,
        allow_eliminated=routing.allow_eliminated,
        fallback=_fallback(names, chain) if substitution else (),
        needs=needs(generation),
        top_logprobs=sampling.top_logprobs,
        n=sampling.n if sampling.HasField("n") else 1,
        least_prompt_tokens=size.least_tokens,
        likely_prompt_tokens=size.likely_tokens,
        most_prompt_tokens=size.most_tokens,
        max_tokens=sampling.max_tokens if sampling.HasField("max_tokens") else None,
        phase=names.phase,
    )


def _fallback(names: _Resolved, chain: Sequence[str]) -> tuple[str, ...]:
    """The request's own, else the deployment's chain; but who names candidates gets none but these."""
    if names.fallback or names.candidates:
        return tuple(names.fallback)
    return tuple(chain)


def needs(generation: request_pb2.GenerationRequest) -> frozenset[str]:
    """The capabilities without which the request cannot be answered as it stands."""
    sampling = generation.sampling
    found = {
        "chat": generation.HasField("chat"),
        "token_ids_in": generation.HasField("token_ids"),
        "logprobs": sampling.logprobs,
        "token_ids_out": sampling.return_token_ids,
        "prompt_logprobs": sampling.HasField("prompt_logprobs"),
        "json_schema": sampling.HasField("json_schema"),
        "grammar": sampling.HasField("grammar"),
        "tools": bool(generation.tools),
    }
    for message in generation.chat.messages if generation.HasField("chat") else ():
        for part in message.parts:
            kind = part.WhichOneof("content")
            found |= {"images": True} if kind == "image" else {"audio": True} if kind == "audio" else {}
    return frozenset(name for name, wanted in found.items() if wanted)


def prompt_size(generation: request_pb2.GenerationRequest) -> PromptSize:
    """Media count for nothing here: only the model that reads them knows."""
    match generation.WhichOneof("prompt"):
        case "text":
            return PromptSize(text_bytes=len(generation.text.encode()))
        case "token_ids":
            return PromptSize(tokens=len(generation.token_ids.ids))
        case "chat":
            parts = (part.text for message in generation.chat.messages for part in message.parts)
            framing = TEMPLATE_BYTES * (len(generation.chat.messages) + 1)
            framing += sum(tool.ByteSize() for tool in generation.tools)
            return PromptSize(text_bytes=sum(len(text.encode()) for text in parts), framing_bytes=framing)
    return PromptSize()


def payload_digest(generation: request_pb2.GenerationRequest) -> bytes:
    """SHA-256 of the request as it came, without its id: the same over retries."""
    plain = request_pb2.GenerationRequest()
    plain.CopyFrom(generation)
    plain.ClearField("request_id")
    return hashlib.sha256(plain.SerializeToString(deterministic=True)).digest()
