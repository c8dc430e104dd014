"""The host's devices: what is declared, what the driver shows of it, and what is said where the two differ.

The real pynvml runs over a native library of the test's own.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from orchestra.inference.v1 import node_pb2
from orchestra_inference_node.adapters.host import read_cpu
from orchestra_inference_node.adapters.nvml import Nvml
from orchestra_inference_node.config import Settings, deployed
from orchestra_inference_node.domain.devices import EngineChoice
from orchestra_inference_node.domain.inventory import (
    Card,
    CardReading,
    Cards,
    Declared,
    amiss,
    match,
    same_card,
)
from orchestra_inference_node.domain.resident import Placed, Resident, Wanted
from orchestra_inference_node.flows.changes import Changes
from orchestra_inference_node.flows.watching import DeviceWatch
from orchestra_inference_node.rpc.device_messages import device_message
from orchestra_inference_node.rpc.node_messages import NodeIdentity, NodeMessages

GB = 1024**3


P40 = {"name": "Tesla P40", "capability": (6, 1), "total": 24 * GB, "free": 23 * GB}
RTX = {"name": "NVIDIA GeForce RTX 3050", "capability": (8, 6), "total": 8 * GB, "free": 7 * GB}
V100 = {"name": "Tesla V100-PCIE-32GB", "capability": (7, 0), "total": 32 * GB, "free": 32 * GB}


async def watched(declared: Sequence[Declared], nvml: Nvml | None) -> DeviceWatch:
    watch = DeviceWatch(declared, nvml, read_cpu, Changes())
    async with asyncio.timeout(10):
        await watch.refresh()
    return watch


async def test_two_cards_are_read_as_the_driver_shows_them(driver: Any, card: Any) -> None:
    library = driver(card(**P40), card(**RTX, milliwatts=31_500))
    declared = [
        Declared("RTX", "cuda", "rtx-3050", watts=130.0),
        Declared("P40_0", "cuda", "tesla-p40", memory=20 * GB),
        Declared("cpu0", "cpu"),
    ]
    nvml = Nvml()
    watch = await watched(declared, nvml)
    assert watch.amiss == ""
    small, pascal, cpu = watch.devices
    assert (small.name, small.uuid, small.index, small.capability) == (
        "NVIDIA GeForce RTX 3050",
        "GPU-1",
        1,
        (8, 6),
    )
    assert small.reading == CardReading(8 * GB, 7 * GB, 31.5, 250.0)
    assert (pascal.index, pascal.capability, pascal.memory_total) == (0, (6, 1), 20 * GB)
    assert cpu.name and cpu.reading.memory_free
    message = device_message(small, EngineChoice("exllamav2", "fast"))
    assert (message.compute_capability, message.memory_free_bytes) == ("8.6", 7 * GB)
    assert (message.watts_measured, message.watts_declared) == (31.5, 130.0)
    library.cards[1].free = GB
    await watch.refresh()
    assert watch.devices[0].reading.memory_free == GB
    nvml.close()
    assert library.opened == 0


async def test_a_host_without_a_driver_says_so_and_knows_cards_from_the_catalogue() -> None:
    declared = [
        Declared("P40_0", "cuda", "tesla-p40", memory=24 * GB, capability=(6, 1)),
        Declared("c", "cpu"),
    ]
    watch = await watched(declared, Nvml())
    assert watch.amiss.startswith("P40_0: the driver cannot be asked")
    card = watch.devices[0]
    assert (card.capability, card.lost, card.index, card.memory_total) == ((6, 1), False, 0, 24 * GB)
    message = device_message(card, EngineChoice("llamacpp", ""))
    assert not message.HasField("memory_free_bytes") and not message.HasField("watts_measured")
    only_cpu = await watched([Declared("cpu0", "cpu")], Nvml())
    assert only_cpu.amiss == "", "nobody asked for a card"


async def test_a_lost_card_is_said_to_be_lost_and_the_others_go_on(driver: Any, card: Any) -> None:
    library = driver(card(**P40), card(**P40))
    declared = [Declared("P40_0", "cuda", "tesla-p40", 0), Declared("P40_1", "cuda", "tesla-p40", 1)]
    watch = await watched(declared, Nvml())
    assert watch.amiss == ""
    library.cards[0].lost = True
    await watch.refresh()
    assert watch.amiss == "P40_0: GPU is lost"
    gone, there = watch.devices
    assert gone.lost and not there.lost and there.reading.memory_free == 23 * GB
    message = device_message(gone, EngineChoice("", "GPU is lost"))
    assert not message.HasField("memory_total_bytes") and not message.HasField("memory_free_bytes")


async def test_a_card_without_a_meter_has_no_watts(driver: Any, card: Any) -> None:
    driver(card(**P40, milliwatts=None))
    watch = await watched([Declared("P40_0", "cuda")], Nvml())
    assert watch.devices[0].reading == CardReading(24 * GB, 23 * GB, None, 250.0)
    assert not device_message(watch.devices[0], EngineChoice("", "")).HasField("watts_measured")


async def test_a_reserved_card_is_not_measured(driver: Any, card: Any) -> None:
    library = driver(card(**P40), card(**V100))
    declared = [
        Declared("V100", "cuda", "tesla-v100-32gb", reserved=True),
        Declared("P40_0", "cuda", "tesla-p40"),
    ]
    watch = await watched(declared, Nvml())
    assert [now.index for now in watch.devices] == [1, 0]
    assert {"memory", "power", "limit"}.isdisjoint(library.cards[1].asked)
    assert "memory" in library.cards[0].asked


def test_declared_cards_that_are_not_there_or_are_others_are_named() -> None:
    shown = Cards((Card(0, "Tesla P40", "a", (6, 1)), Card(1, "Tesla P4", "b", (6, 1))))
    found = match(
        [
            Declared("A", "cuda", "tesla-p40", 0),
            Declared("B", "cuda", "tesla-p40", 1),
            Declared("C", "cuda", "tesla-p40", 2),
            Declared("D", "cuda", "rtx-3050"),
        ],
        shown,
    )
    assert amiss(found) == (
        "B: declared as tesla-p40, and the driver shows Tesla P4 there; "
        "C: the driver shows no index 2 among its 2 cards; "
        "D: the driver shows no rtx-3050 among its 2 cards"
    )
    assert [now.lost for now in found] == [False, False, True, True]
    assert not same_card("tesla-p4", "Tesla P40") and same_card("tesla-v100-32gb", "Tesla V100-SXM2-32GB")


def test_a_node_without_a_deployment_uses_the_cards_that_are_there() -> None:
    shown = Cards((Card(0, "Tesla P40", "a", (6, 1)), Card(1, failure="GPU is lost")))
    node = deployed(Settings(config="", listen="127.0.0.1:50060"), lambda: shown).node
    assert [(one.id, one.kind, one.index) for one in node.devices] == [
        ("cuda0", "cuda", 0),
        ("cpu0", "cpu", None),
    ]
    alone = deployed(Settings(config="", listen="127.0.0.1:50060")).node
    assert [one.id for one in alone.devices] == ["cpu0"]


async def test_a_driver_that_hangs_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those who ask meanwhile do not start another call to it, and what it says at last counts."""
    free = threading.Event()
    calls = []

    class Hangs:
        def cards(self) -> Cards:
            calls.append("cards")
            free.wait(60)
            return Cards((Card(0, "Tesla P40", "a", (6, 1)),))

        def reading(self, index: int) -> CardReading:
            return CardReading(24 * GB, 23 * GB)

    monkeypatch.setattr("orchestra_inference_node.flows.watching._SILENT_S", 0.05)
    changes = Changes()
    watch = DeviceWatch([Declared("P40_0", "cuda")], Hangs(), read_cpu, changes)
    try:
        async with asyncio.timeout(10):
            await asyncio.gather(watch.refresh(), watch.refresh())
        assert "has not answered" in watch.amiss and changes.version == 1
        assert calls == ["cards"]
    finally:
        free.set()
    monkeypatch.setattr("orchestra_inference_node.flows.watching._SILENT_S", 10.0)
    async with asyncio.timeout(20):
        await watch.refresh()
    assert watch.amiss == "" and watch.devices[0].reading.memory_free == 23 * GB
    assert calls == ["cards"]


async def test_a_look_that_fails_is_told_and_the_next_one_counts() -> None:
    class Breaks:
        broken = True

        def cards(self) -> Cards:
            if self.broken:
                raise OSError("the library is of another version")
            return Cards((Card(0, "Tesla P40", "a", (6, 1)),))

        def reading(self, index: int) -> CardReading:
            return CardReading(24 * GB, 23 * GB)

    driver = Breaks()
    watch = DeviceWatch([Declared("P40_0", "cuda")], driver, read_cpu, Changes())
    async with asyncio.timeout(10):
        await watch.refresh()
        assert watch.amiss == "the devices cannot be read: the library is of another version"
        driver.broken = False
        await watch.refresh()
    assert watch.amiss == "" and watch.devices[0].reading.memory_free == 23 * GB


def test_a_node_that_is_not_as_declared_says_so() -> None:
    amiss_now = ["P40_0: GPU is lost"]
    messages = NodeMessages(
        NodeIdentity("n", "i", "a:1", "0", 0.0),
        list,
        list,
        lambda model: None,
        8,
        lambda one: None,
        lambda: amiss_now[0],
    )
    node = messages.node()
    assert (node.state, node.state_reason) == (node_pb2.STATE_DEGRADED, "P40_0: GPU is lost")
    amiss_now[0] = ""
    assert messages.node().state == node_pb2.STATE_SERVING
    messages.draining = True
    assert messages.node().state == node_pb2.STATE_DRAINING


def test_a_worker_on_a_card_that_is_slow_for_its_engine_says_what_is_expected_of_it() -> None:
    resident = Resident(Wanted("m", "/m", "exllamav2", slots=4), "n/m", 0.0)
    resident.placed(Placed("exllamav2", ("P40_0",), "no paged attention", "1.2 tokens/s", most_slots=1))
    assert resident.slots_wanted == 1
    resident.serves("a:2", {"slots": 1}, 1.0)
    messages = NodeMessages(
        NodeIdentity("n", "i", "a:1", "0", 0.0),
        list,
        lambda: [resident],
        lambda model: None,
        8,
        lambda one: None,
    )
    (worker,) = messages.node().workers
    assert (worker.state, worker.state_reason) == (node_pb2.STATE_DEGRADED, "no paged attention")
    assert (worker.expected_speed, list(worker.device_ids)) == ("1.2 tokens/s", ["P40_0"])
