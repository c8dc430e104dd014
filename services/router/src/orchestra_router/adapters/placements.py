"""The snapshot: placements as the model-manager sends them, beside the cloud models of the configuration."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import structlog

from orchestra.inference.v1 import node_pb2
from orchestra.models.v1 import model_manager_service_pb2 as pb
from orchestra.models.v1 import model_pb2
from orchestra_errors import OrchestraError
from orchestra_rpc import call_stream

from ..domain.targets import Abilities, Measured, Power, Snapshot, Target
from .catalogue_names import CatalogueNames

if TYPE_CHECKING:
    from orchestra.models.v1.model_manager_service_pb2_grpc import ModelManagerServiceAsyncStub

log = structlog.get_logger()
FIRST_BACK_OFF_S = 0.1
LONGEST_BACK_OFF_S = 5.0
SILENCE_S = 30.0
"""The manager sends at least every 10 seconds; after three of these it is taken for gone and called anew."""
_STATES = {
    model_pb2.PLACEMENT_STATE_WANTED: "wanted",
    model_pb2.PLACEMENT_STATE_LOADING: "loading",
    model_pb2.PLACEMENT_STATE_SERVING: "serving",
    model_pb2.PLACEMENT_STATE_DRAINING: "draining",
    model_pb2.PLACEMENT_STATE_FAILED: "failed",
    model_pb2.PLACEMENT_STATE_LOST: "lost",
}
_ANSWERING = (node_pb2.STATE_SERVING, node_pb2.STATE_DEGRADED)
_CAN = (
    "chat",
    "logprobs",
    "prompt_logprobs",
    "json_schema",
    "grammar",
    "token_ids_in",
    "token_ids_out",
    "tools",
    "images",
    "audio",
    "embeddings",
    "score",
)


class PlacementWatch:
    """Follows the placements for ever; while the manager is gone the last snapshot stays."""

    def __init__(
        self,
        stub: ModelManagerServiceAsyncStub,
        names: CatalogueNames,
        on_change: Callable[[Sequence[Target]], None] = lambda targets: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stub = stub
        self._names = names
        self._on_change = on_change
        self._clock = clock
        self._seen = Snapshot(names.cloud_targets, names.models)
        self.changed = asyncio.Event()
        """Set at each snapshot; whoever waits clears it first."""

    def current(self) -> Snapshot:
        return self._seen

    async def watch(self) -> None:
        """Run for ever; reconnects with growing pauses."""
        back_off = FIRST_BACK_OFF_S
        while True:
            reason = ""
            try:
                async with call_stream(self._stub.WatchPlacements(pb.WatchPlacementsRequest())) as messages:
                    while True:
                        async with asyncio.timeout(SILENCE_S):
                            message = await anext(messages)
                        self._take(message)
                        back_off = FIRST_BACK_OFF_S
            except StopAsyncIteration:
                reason = "the stream ended"
            except TimeoutError:
                reason = f"silent for {SILENCE_S:g} s"
            except OrchestraError as error:
                reason = error.reason
            log.info("placements not heard, the last ones stay", reason=reason, again_in_s=back_off)
            await asyncio.sleep(back_off)
            back_off = min(back_off * 2, LONGEST_BACK_OFF_S)

    def _take(self, message: pb.WatchPlacementsResponse) -> None:
        local = [self._target(placement) for placement in message.placements]
        self._seen = Snapshot(
            (*local, *self._names.cloud_targets), self._names.models, message.phase, self._clock()
        )
        self._on_change(self._seen.targets)
        self.changed.set()

    def _target(self, placement: model_pb2.Placement) -> Target:
        name = self._names.canonical(placement.model)
        state = _STATES.get(placement.state, "failed")
        base = Target(
            model=name,
            served_as=placement.model,
            node_id=placement.node_id,
            worker_id=placement.placement_id,
            serving=False,
            state=state,
            state_reason=placement.state_reason,
            power=_power(placement),
        )
        if not placement.HasField("worker"):
            return base
        return _with_worker(base, placement.worker)


def _with_worker(target: Target, worker: node_pb2.Worker) -> Target:
    answering = worker.state in _ANSWERING
    able = worker.capabilities
    state, reason = target.state, target.state_reason
    if state == "serving" and not answering:
        name = node_pb2.State.Name(worker.state).removeprefix("STATE_").lower()
        state, reason = "draining" if worker.state == node_pb2.STATE_DRAINING else name, worker.state_reason
    return replace(
        target,
        worker_id=worker.worker_id or target.worker_id,
        instance_id=worker.instance_id,
        address=worker.address,
        serving=target.state == "serving" and answering,
        state=state,
        state_reason=reason,
        abilities=Abilities(
            context_tokens=able.context_tokens or None,
            max_top_logprobs=able.max_top_logprobs if able.logprobs else None,
            max_n=able.max_n or None,
            can=frozenset(name for name in _CAN if getattr(able, name)),
            deterministic_seed=able.deterministic_seed,
            generate=able.generate or not able.HasField("generate"),
            known=worker.HasField("capabilities"),
        ),
        slots_total=worker.slots_total,
        slots_free=worker.slots_free,
        queued=worker.queued,
        tokens_per_second=worker.tokens_per_second if worker.HasField("tokens_per_second") else None,
        measured=measured_of(worker.measured) if worker.HasField("measured") else None,
        revision=worker.revision,
        quantization=worker.quantization,
        engine=worker.engine,
    )


def measured_of(seen: node_pb2.MeasuredSpeed) -> Measured:
    """The figures that a choice can use."""
    prefill = seen.prefill_tokens_per_second if seen.HasField("prefill_tokens_per_second") else None
    return Measured(
        at=tuple(sorted((one.parallel, one.per_second) for one in seen.at)),
        first_token_s=seen.first_token.ToNanoseconds() / 1e9 if seen.HasField("first_token") else None,
        prefill_per_s=prefill,
    )


def _power(placement: model_pb2.Placement) -> Power:
    return Power(
        watts=placement.watts if placement.HasField("watts") else None,
        measured=placement.power_source == model_pb2.POWER_SOURCE_MEASURED,
        hardware_nanos_per_hour=(
            placement.hardware_nanos_per_hour if placement.HasField("hardware_nanos_per_hour") else None
        ),
    )
