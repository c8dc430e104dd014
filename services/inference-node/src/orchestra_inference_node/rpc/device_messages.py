"""Devices as messages."""

from __future__ import annotations

from orchestra.inference.v1 import node_pb2
from orchestra_inference_node.domain.devices import EngineChoice
from orchestra_inference_node.domain.inventory import DeviceNow

_KINDS = {
    "cpu": node_pb2.DEVICE_KIND_CPU,
    "cuda": node_pb2.DEVICE_KIND_CUDA,
    "simulated": node_pb2.DEVICE_KIND_SIMULATED,
}


def device_message(now: DeviceNow, choice: EngineChoice) -> node_pb2.Device:
    """`choice` is what `auto` takes on it. What is not known is absent; a lost device has no memory."""
    declared, reading = now.declared, now.reading
    capability = "" if now.capability is None else "{}.{}".format(*now.capability)
    return node_pb2.Device(
        device_id=declared.device_id,
        kind=_KINDS[declared.kind],
        name=now.name,
        memory_total_bytes=None if now.lost else now.memory_total,
        memory_free_bytes=reading.memory_free,
        compute_capability=capability,
        reserved=declared.reserved,
        engine=choice.engine,
        engine_reason=choice.reason,
        watts_measured=reading.watts,
        watts_declared=declared.watts,
    )
