"""Which engine and devices a model gets: per device, per what it is stored as, and in words that help."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from orchestra_errors import FailedPrecondition, InvalidRequest, NotFound
from orchestra_inference_node.adapters.engines import check_options, engine_uses
from orchestra_inference_node.adapters.formats import stored_as
from orchestra_inference_node.domain.choosing import choose_engine, describe_device
from orchestra_inference_node.domain.devices import DeviceFacts, EngineUse
from orchestra_inference_node.domain.formats import ModelFormat
from orchestra_inference_node.domain.resident import Wanted
from orchestra_inference_node.flows.placing import Placing

GGUF, EXL2, ONNX, SERVER, NONE = (
    ModelFormat.GGUF,
    ModelFormat.EXL2,
    ModelFormat.ONNX,
    ModelFormat.SERVER,
    ModelFormat.NONE,
)
ALL = {
    "llamacpp": EngineUse(frozenset({GGUF}), frozenset({"cpu", "cuda"}), splits=True),
    "exllamav2": EngineUse(frozenset({EXL2}), frozenset({"cuda"}), splits=True),
    "encoder": EngineUse(frozenset({ONNX}), frozenset({"cpu"})),
    "openai-server": EngineUse(frozenset({SERVER}), frozenset({"cpu", "cuda"})),
    "simulated": EngineUse(frozenset({NONE}), frozenset({"cpu", "cuda", "simulated"})),
}
CPU = DeviceFacts("cpu0", "cpu")
P40 = DeviceFacts("P40_0", "cuda", (6, 1))
P40_1 = DeviceFacts("P40_1", "cuda", (6, 1))
V100 = DeviceFacts("V100", "cuda", (7, 0))
RTX = DeviceFacts("RTX", "cuda", (8, 6))
UNKNOWN = DeviceFacts("card", "cuda")


def without(name: str, *packages: str) -> dict[str, EngineUse]:
    return ALL | {name: replace(ALL[name], missing=packages)}


@pytest.mark.parametrize(
    ("device", "stored", "engine"),
    [
        (CPU, GGUF, "llamacpp"),
        (P40, GGUF, "llamacpp"),
        (RTX, GGUF, "llamacpp"),
        (UNKNOWN, GGUF, "llamacpp"),
        (DeviceFacts("old", "cuda", (3, 5)), GGUF, ""),
        (RTX, EXL2, "exllamav2"),
        (P40, EXL2, ""),
        (V100, EXL2, ""),
        (UNKNOWN, EXL2, ""),
        (CPU, EXL2, ""),
        (CPU, ONNX, "encoder"),
        (P40, ONNX, ""),
        (CPU, SERVER, "openai-server"),
        (P40, NONE, "simulated"),
        (CPU, ModelFormat.CTRANSLATE2, ""),
    ],
)
def test_auto_goes_by_device_and_by_what_the_model_is_stored_as(
    device: DeviceFacts, stored: ModelFormat, engine: str
) -> None:
    choice = choose_engine(device, "auto", stored, ALL)
    assert choice.engine == engine
    assert choice.reason and not choice.degraded


def test_a_refusal_names_the_format_the_engines_that_could_and_what_to_install() -> None:
    refused = choose_engine(CPU, "auto", EXL2, ALL).reason
    assert "safetensors" in refused and "exllamav2 loads it on cuda" in refused
    missing = choose_engine(RTX, "auto", EXL2, without("exllamav2", "exllamav2", "torch")).reason
    assert "exllamav2, torch is missing" in missing and "extra exllamav2" in missing
    slow = choose_engine(P40, "auto", EXL2, ALL).reason
    assert "6.1" in slow and "one slot" in slow and "named" in slow
    unpaged = choose_engine(RTX, "auto", EXL2, ALL | {"exllamav2": replace(ALL["exllamav2"], paged=False)})
    assert not unpaged.engine and "flash-attn" in unpaged.reason


def test_a_named_engine_is_obeyed_and_what_is_amiss_is_said() -> None:
    slow = choose_engine(P40, "exllamav2", EXL2, ALL)
    assert slow.engine == "exllamav2" and slow.most_slots == 1
    assert "paged attention" in slow.degraded
    assert "1.2 tokens/s" in slow.expected_speed and "31 tokens/s" in slow.expected_speed
    assert "exllamav2#40" in slow.expected_speed
    volta = choose_engine(V100, "exllamav2", EXL2, ALL)
    assert volta.degraded and "not measured" in volta.expected_speed
    fast = choose_engine(RTX, "exllamav2", EXL2, ALL)
    assert (fast.engine, fast.degraded, fast.expected_speed, fast.most_slots) == ("exllamav2", "", "", None)


def test_a_named_engine_is_not_made_to_do_what_it_cannot() -> None:
    assert "not on a CPU" in choose_engine(CPU, "exllamav2", EXL2, ALL).reason
    wrong = choose_engine(RTX, "exllamav2", GGUF, ALL)
    assert not wrong.engine and "not a GGUF file" in wrong.reason and "llamacpp loads it" in wrong.reason
    assert "not installed" in choose_engine(CPU, "llamacpp", GGUF, without("llamacpp", "xllamacpp")).reason
    assert "this node knows llamacpp" in choose_engine(CPU, "vllm", None, ALL).reason
    assert choose_engine(P40, "simulated", GGUF, ALL).engine == "simulated", "it pretends to load anything"
    assert choose_engine(CPU, "llamacpp", None, ALL).engine == "llamacpp", "it looks for itself"


def test_a_device_says_which_engine_auto_takes_and_why() -> None:
    rtx = describe_device(RTX, "auto", ALL)
    assert rtx.engine == "exllamav2" and "8.6" in rtx.reason and "a GGUF file goes to llamacpp" in rtx.reason
    p40 = describe_device(P40, "auto", ALL)
    assert p40.engine == "llamacpp" and "6.1" in p40.reason and "one slot" in p40.reason
    cpu = describe_device(CPU, "auto", ALL)
    assert cpu.engine == "llamacpp" and "goes to encoder" in cpu.reason
    assert "exllamav2" not in cpu.reason, "nobody expects it on a CPU"
    assert describe_device(DeviceFacts("d", "simulated"), "auto", ALL).engine == "simulated"
    only_cpu = ALL | {"llamacpp": replace(ALL["llamacpp"], device_kinds=frozenset({"cpu"}))}
    bare = describe_device(P40, "auto", only_cpu)
    assert bare.engine == "", "what computes elsewhere or nothing is no engine of a card"
    assert "6.1" in bare.reason and "llamacpp loads it on cpu" in bare.reason
    named = describe_device(P40, "exllamav2", ALL)
    assert named.engine == "exllamav2" and "named" in named.reason
    nothing = describe_device(CPU, "auto", {"llamacpp": replace(ALL["llamacpp"], missing=("xllamacpp",))})
    assert nothing.engine == "" and "xllamacpp" in nothing.reason


def placing(
    *devices: DeviceFacts,
    stored: ModelFormat | None = GGUF,
    reserved: tuple[str, ...] = (),
    engine: str = "auto",
    engines: Mapping[str, EngineUse] = ALL,
) -> Placing:
    known = {device.device_id: device for device in devices}
    return Placing(lambda: known, reserved, engine, engines, lambda path: stored, lambda name, options: None)


def test_a_model_goes_to_the_first_device_that_an_engine_can_use() -> None:
    assert placing(P40, CPU)(Wanted("m", "/m", "auto")).device_ids == ("P40_0",)
    onnx = placing(P40, CPU, stored=ONNX)(Wanted("m", "/m", "auto"))
    assert (onnx.engine, onnx.device_ids) == ("encoder", ("cpu0",))
    kept = placing(V100, P40, reserved=("V100",))(Wanted("m", "/m", "auto"))
    assert kept.device_ids == ("P40_0",)
    with pytest.raises(FailedPrecondition, match=r"6\.1.*CPU"):
        placing(P40, CPU, stored=EXL2)(Wanted("m", "/m", "auto"))
    with pytest.raises(FailedPrecondition, match="reserved"):
        placing(V100, reserved=("V100",))(Wanted("m", "/m", "auto"))


def test_of_several_cards_the_emptiest_gets_the_model() -> None:
    first, second = replace(P40, free=1), replace(P40_1, free=2)
    assert placing(CPU, first, second, stored=EXL2)(Wanted("m", "/m", "exllamav2")).device_ids == ("P40_1",)
    assert placing(CPU, first, second)(Wanted("m", "/m", "auto")).device_ids == ("cpu0",), "kinds as declared"
    assert placing(second, first)(Wanted("m", "/m", "auto", device_ids=("P40_0",))).device_ids == ("P40_0",)


def test_several_cards_hold_one_model_where_the_engine_spreads_it() -> None:
    both = Wanted("m", "/m", "auto", device_ids=("P40_0", "P40_1"))
    assert placing(P40, P40_1)(both).device_ids == ("P40_0", "P40_1")
    mixed = placing(RTX, P40, stored=EXL2)(Wanted("m", "/m", "exllamav2", device_ids=("RTX", "P40_0")))
    assert mixed.most_slots == 1, "the weakest card decides"
    refusals = {
        "different kinds": (placing(P40, CPU), ("P40_0", "cpu0")),
        "twice": (placing(P40), ("P40_0", "P40_0")),
        "does not spread": (placing(P40, P40_1, stored=SERVER), ("P40_0", "P40_1")),
        "P9: this host has P40_0": (placing(P40), ("P9",)),
    }
    for why, (place, ids) in refusals.items():
        with pytest.raises(InvalidRequest, match=why):
            place(Wanted("m", "/m", "auto", device_ids=ids))
    with pytest.raises(FailedPrecondition, match="reserved"):
        placing(P40, V100, reserved=("V100",))(Wanted("m", "/m", "auto", device_ids=("P40_0", "V100")))


def test_the_engines_that_are_said_to_spread_a_model_are_in_the_table() -> None:
    assert {name for name, use in engine_uses().items() if use.splits} == {"exllamav2", "llamacpp"}


def test_a_path_that_nobody_loads_is_refused_with_what_could_be_loaded() -> None:
    with pytest.raises(InvalidRequest, match="a GGUF file by llamacpp"):
        placing(CPU, stored=None)(Wanted("m", "/m.txt", "auto"))


def test_what_is_there_is_known_by_a_look_at_it(tmp_path: Path) -> None:
    def folder(name: str, *files: str) -> str:
        for file in files:
            path = tmp_path / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps({}))
        return str(tmp_path / name)

    (tmp_path / "weights").write_bytes(b"GGUF\x03\x00")
    (tmp_path / "broken.gguf").write_bytes(b"GGML")
    (tmp_path / "notes.txt").write_text("hello")
    seen = {
        str(tmp_path / "weights"): GGUF,
        str(tmp_path / "broken.gguf"): GGUF,
        str(tmp_path / "notes.txt"): None,
        folder("exl2", "config.json", "output-00001-of-00002.safetensors", "tokenizer.json"): EXL2,
        folder("onnx", "config.json", "model.onnx", "tokenizer.json"): ONNX,
        folder("hub", "config.json", "onnx/model_quantized.onnx", "tokenizer.json"): ONNX,
        folder("ct2", "config.json", "model.bin", "shared_vocabulary.json"): ModelFormat.CTRANSLATE2,
        folder("torch", "config.json", "pytorch_model.bin"): None,
        "https://127.0.0.1:8000/v1": SERVER,
        "simulated:fast": NONE,
    }
    assert {path: stored_as(path) for path in seen} == seen
    with pytest.raises(NotFound):
        stored_as(str(tmp_path / "gone.gguf"))


def test_the_table_of_engines_is_what_decides(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    place = Placing(lambda: {"cpu0": CPU}, (), "auto", engine_uses(), stored_as, check_options)
    assert place(Wanted("m", str(tmp_path / "m.gguf"), "auto")).engine == "llamacpp"
    with pytest.raises(InvalidRequest, match="turbo"):
        place(Wanted("m", str(tmp_path / "m.gguf"), "auto", options=(("turbo", "1"),)))
    with pytest.raises(NotFound):
        place(Wanted("m", str(tmp_path / "gone"), "auto"))
