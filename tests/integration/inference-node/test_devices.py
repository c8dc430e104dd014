"""A daemon whose deployment declares cards on a host that has none: it says so, and serves with the rest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestra.inference.v1 import node_pb2
from orchestra_errors import FailedPrecondition

DEVICES = (
    "{id: P40_0, kind: cuda, model: tesla-p40, memory: 24GB, watts: 250}",
    "{id: cpu0, kind: cpu, threads: 1}",
    "{id: V100, kind: cuda, model: tesla-v100-32gb}",
)


async def test_declared_cards_without_a_driver_degrade_the_node(start: Any, tmp_path: Path) -> None:
    _, client = await start(tmp_path, devices=DEVICES, reserved=["V100"])
    node = await client.node()
    assert node.state == node_pb2.STATE_DEGRADED
    assert "P40_0" in node.state_reason and "driver" in node.state_reason
    card, cpu, reserved = node.devices
    assert (card.compute_capability, card.engine, card.name) == ("6.1", "llamacpp", "tesla-p40")
    assert "6.1" in card.engine_reason
    assert card.memory_total_bytes == 24 * 10**9 or card.memory_total_bytes == 24 * 2**30
    assert not card.HasField("memory_free_bytes") and not card.HasField("watts_measured")
    assert card.watts_declared == 250.0
    assert cpu.engine == "llamacpp" and cpu.memory_free_bytes > 0
    assert reserved.reserved and reserved.compute_capability == "7.0"
    with pytest.raises(FailedPrecondition, match="built for CUDA"):
        await client.load(device_ids=["P40_0"])
    loaded = await client.load(device_ids=["cpu0"])
    assert loaded[-1].worker.state == node_pb2.STATE_SERVING
    assert list(loaded[-1].worker.device_ids) == ["cpu0"]
