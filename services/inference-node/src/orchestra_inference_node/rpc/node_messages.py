"""The node and its workers as messages."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from google.protobuf.timestamp_pb2 import Timestamp

from orchestra.inference.v1 import inference_service_pb2 as pb
from orchestra.inference.v1 import node_pb2
from orchestra_errors import Violations
from orchestra_inference_node.domain.measuring import Figures
from orchestra_inference_node.domain.resident import Resident, Stage, State, Wanted
from orchestra_inference_node.rpc.measuring import measured_speed

_STATES = {
    State.STARTING: node_pb2.STATE_STARTING,
    State.SERVING: node_pb2.STATE_SERVING,
    State.DEGRADED: node_pb2.STATE_DEGRADED,
    State.DRAINING: node_pb2.STATE_DRAINING,
    State.NOT_SERVING: node_pb2.STATE_NOT_SERVING,
}
_STAGES = {
    Stage.VERIFYING: node_pb2.LOAD_STAGE_VERIFYING,
    Stage.STARTING_WORKER: node_pb2.LOAD_STAGE_STARTING_WORKER,
    Stage.LOADING_WEIGHTS: node_pb2.LOAD_STAGE_LOADING_WEIGHTS,
    Stage.WARMING_UP: node_pb2.LOAD_STAGE_WARMING_UP,
    Stage.READY: node_pb2.LOAD_STAGE_READY,
}
MAX_N = 4096


@dataclass(frozen=True, slots=True)
class NodeIdentity:
    """What does not change while the daemon runs. `started_at` is wall time in seconds."""

    node_id: str
    instance_id: str
    address: str
    version: str
    started_at: float


class NodeMessages:
    """Builds Node messages from what is there now."""

    def __init__(
        self,
        identity: NodeIdentity,
        devices: Callable[[], list[node_pb2.Device]],
        residents: Callable[[], list[Resident]],
        memory_of: Callable[[str], int | None],
        queue_limit: int,
        measured: Callable[[Resident], Figures | None],
        amiss: Callable[[], str] = lambda: "",
    ) -> None:
        """`amiss` says what is not as it should be with the node; empty: nothing."""
        self.identity = identity
        self.draining = False
        self._devices = devices
        self._residents = residents
        self._memory_of = memory_of
        self._queue_limit = queue_limit
        self._measured = measured
        self._amiss = amiss

    def node(self) -> node_pb2.Node:
        identity = self.identity
        state, reason = self._state()
        return node_pb2.Node(
            node_id=identity.node_id,
            instance_id=identity.instance_id,
            address=identity.address,
            state=_STATES[state],
            state_reason=reason,
            devices=self._devices(),
            workers=[self.worker(resident) for resident in self._residents()],
            started_at=_timestamp(identity.started_at),
            version=identity.version,
        )

    def _state(self) -> tuple[State, str]:
        if self.draining:
            return State.DRAINING, "the daemon shuts down"
        if amiss := self._amiss():
            return State.DEGRADED, amiss
        return State.SERVING, ""

    def worker(self, resident: Resident) -> node_pb2.Worker:
        facts = resident.facts
        out = node_pb2.Worker(
            worker_id=resident.worker_id,
            instance_id=resident.instance_id,
            address=resident.address,
            model=resident.wanted.model,
            revision=resident.revision,
            quantization=resident.quantization,
            engine=resident.engine,
            engine_build=facts.get("build", ""),
            state=_STATES[resident.state],
            state_reason=resident.reason,
            device_ids=resident.device_ids,
            slots_total=facts.get("slots", 0),
            slots_free=resident.slots_free,
            queued=resident.queued,
            queue_limit=self.queue_limit_of(resident.wanted),
            memory_bytes=self._memory_of(resident.wanted.model),
            tokens_per_second=resident.tokens_per_second,
            restarts=resident.restarts.total,
            expected_speed=resident.expected_speed,
            started_at=_timestamp(resident.started_at) if resident.started_at else None,
        )
        if facts:
            out.capabilities.CopyFrom(_capabilities(facts))
        if resident.state is State.STARTING:
            out.progress.CopyFrom(progress_of(resident))
        if (figures := self._measured(resident)) is not None:
            out.measured.CopyFrom(measured_speed(figures, resident))
        return out

    def queue_limit_of(self, wanted: Wanted) -> int:
        return self._queue_limit if wanted.queue_limit is None else wanted.queue_limit


def progress_of(resident: Resident) -> node_pb2.LoadProgress:
    out = node_pb2.LoadProgress(
        stage=_STAGES[resident.stage],
        bytes_done=resident.bytes_done,
        bytes_total=resident.bytes_total,
        layers_done=resident.layers_done,
        layers_total=resident.layers_total,
    )
    elapsed = time.monotonic() - resident.load_began
    out.elapsed.FromNanoseconds(int(elapsed * 1e9))
    return out


def wanted_of(spec: pb.ModelSpec) -> Wanted:
    """Raises InvalidRequest naming every wrong field."""
    found = Violations()
    found.require(bool(spec.model), "spec.model", "must be set")
    found.require(bool(spec.path), "spec.path", "must be set")
    if spec.expected_revision:
        right = re.fullmatch(r"sha256:[0-9a-f]{64}|(reported|simulated):.+", spec.expected_revision)
        found.require(
            right is not None,
            "spec.expected_revision",
            "must be sha256: and 64 hex digits, or what a node reported where there are no files",
        )
    context = spec.context_tokens if spec.HasField("context_tokens") else None
    slots = spec.slots if spec.HasField("slots") else None
    queue_limit = spec.queue_limit if spec.HasField("queue_limit") else None
    for name, lowest, value in (
        ("context_tokens", 16, context),
        ("slots", 1, slots),
        ("queue_limit", 0, queue_limit),
    ):
        if value is not None:
            found.require(value >= lowest, f"spec.{name}", f"must be at least {lowest}, is {value}")
    found.raise_if_any()
    return Wanted(
        model=spec.model,
        path=spec.path,
        engine=spec.engine or "auto",
        expected_revision=spec.expected_revision,
        device_ids=tuple(spec.device_ids),
        context_tokens=context,
        slots=slots,
        quantization=spec.quantization,
        options=tuple(sorted(spec.engine_options.items())),
        chat=spec.chat,
        queue_limit=queue_limit,
    )


def _capabilities(facts: dict[str, object]) -> node_pb2.Capabilities:
    known = {field.name for field in node_pb2.Capabilities.DESCRIPTOR.fields}
    max_n = MAX_N if facts.get("generate", True) else 0
    return node_pb2.Capabilities(max_n=max_n, **{name: facts[name] for name in known & facts.keys()})  # type: ignore[arg-type]


def _timestamp(seconds: float) -> Timestamp:
    out = Timestamp()
    out.FromNanoseconds(int(seconds * 1e9))
    return out
