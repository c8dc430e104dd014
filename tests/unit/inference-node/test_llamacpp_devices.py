"""Where llama.cpp computes: on the cards that it is told, whole, or it says that it cannot."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import xllamacpp

from orchestra_errors import FailedPrecondition
from orchestra_inference_node.adapters.engines import engine_uses, kinds_here
from orchestra_inference_node.adapters.llamacpp import engine
from orchestra_inference_node.adapters.llamacpp.entry import ENTRY as LLAMACPP
from orchestra_inference_node.domain.choosing import choose_engine
from orchestra_inference_node.domain.devices import DeviceFacts
from orchestra_inference_node.domain.formats import ModelFormat
from orchestra_inference_node.domain.inventory import Card, Cards, Declared, match, visible_cards
from orchestra_inference_node.ports import EngineDevice

GB = 1024**3


def told(*devices: EngineDevice) -> Any:
    params = xllamacpp.CommonParams()
    engine._use_devices(params, devices)
    return params


@pytest.fixture
def two_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package sees two cards, as one that is built for CUDA would."""
    (cpu,) = xllamacpp.get_device_info()
    card = cpu | {"type": xllamacpp.ggml_backend_dev_type.GGML_BACKEND_DEVICE_TYPE_GPU, "name": "CUDA0"}
    monkeypatch.setattr(xllamacpp, "get_device_info", lambda: [card, card | {"name": "CUDA1"}, cpu])


def test_a_build_for_the_cpu_says_so_rather_than_compute_there() -> None:
    with pytest.raises(FailedPrecondition, match="built for CUDA") as refused:
        told(EngineDevice("P40_0", "cuda", 0))
    assert "sees 0 of 1 cards" in refused.value.message and "P40_0" in refused.value.message


def test_on_the_cpu_no_layer_goes_to_a_card(two_cards: None) -> None:
    params = told(EngineDevice("cpu0", "cpu"))
    assert (params.n_gpu_layers, params.fit_params) == (0, False)


def test_every_layer_goes_to_the_card(two_cards: None) -> None:
    params = told(EngineDevice("P40_0", "cuda", 0))
    assert (params.n_gpu_layers, params.main_gpu, params.fit_params) == (10_000, 0, False)
    assert not any(params.tensor_split), "the engine's own choice"


def test_two_cards_share_the_layers_by_what_each_may_use(two_cards: None) -> None:
    params = told(EngineDevice("A", "cuda", 0, 24 * GB), EngineDevice("B", "cuda", 1, 8 * GB))
    assert params.split_mode == xllamacpp.llama_split_mode.LLAMA_SPLIT_MODE_LAYER
    assert params.tensor_split[:3] == [24.0, 8.0, 0.0]
    assert not any(told(EngineDevice("A", "cuda", 0), EngineDevice("B", "cuda", 1)).tensor_split)


def test_a_process_sees_the_cards_of_its_model_and_no_others() -> None:
    shown = Cards(tuple(Card(index, "Tesla P40", f"GPU-{index}", (6, 1)) for index in range(3)))
    declared = [
        Declared("V100", "cuda", index=0, reserved=True),
        Declared("B", "cuda", index=2),
        Declared("A", "cuda", index=1),
        Declared("cpu0", "cpu"),
    ]
    now = match(declared, shown)
    by_bus = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    assert visible_cards(["A"], now) == by_bus | {"CUDA_VISIBLE_DEVICES": "1"}
    assert visible_cards(["B", "A"], now) == by_bus | {"CUDA_VISIBLE_DEVICES": "2,1"}
    assert visible_cards(["cpu0"], now) == by_bus | {"CUDA_VISIBLE_DEVICES": "-1"}


def test_the_installed_package_says_what_it_computes_on() -> None:
    """The one on PyPI is for the CPU: a GGUF then never goes to a card, and auto takes the CPU."""
    cards = {"CUDA_VISIBLE_DEVICES": "0"}
    assert kinds_here(LLAMACPP, cards) == {"cpu"}
    assert engine_uses(cards)["llamacpp"].device_kinds == {"cpu"}
    assert engine_uses()["llamacpp"].device_kinds == {"cpu", "cuda"}, "it was not asked"
    card = DeviceFacts("P40_0", "cuda", (6, 1))
    refused = choose_engine(card, "auto", ModelFormat.GGUF, engine_uses(cards))
    assert not refused.engine and "llamacpp loads it on cpu" in refused.reason


def test_a_package_that_cannot_be_asked_is_taken_at_its_word() -> None:
    silent = replace(LLAMACPP, kinds="orchestra_inference_node.no_such_module")
    assert kinds_here(silent, {}) == {"cpu", "cuda"}
