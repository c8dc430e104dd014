"""A model folder is whole, is what the engine reads, and runs nothing: found out from its files alone."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path
from typing import Any

import pytest

from orchestra_errors import DataLoss, InvalidRequest
from orchestra_inference_node.adapters.engines import check_options, inspect_files, memory_needed
from orchestra_inference_node.adapters.exllamav2.folder import ModelFolder
from orchestra_inference_node.adapters.exllamav2.plan import Plan
from orchestra_inference_node.ports import LoadSettings, ModelFiles

CONFIG: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 256,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "num_hidden_layers": 3,
    "max_position_embeddings": 4096,
    "torch_dtype": "float16",
}


def safetensors(path: Path, size: int = 1000, *, cut: int = 0) -> Path:
    head = json.dumps({"w": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    path.write_bytes((struct.pack("<Q", len(head)) + head + bytes(size))[: len(head) + 8 + size - cut])
    return path


def folder(path: Path, *, shards: tuple[str, ...] = ("model.safetensors",), **config: Any) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    (path / "config.json").write_text(json.dumps(CONFIG | config))
    (path / "tokenizer.json").write_text("{}")
    for name in shards:
        safetensors(path / name)
    return path


def look(path: Path, **options: str) -> ModelFiles:
    return inspect_files("exllamav2", str(path), options)


def plan(path: Path, *, slots: int | None = None, context: int | None = None, **options: str) -> LoadSettings:
    check_options("exllamav2", options)
    return LoadSettings("m", str(path), context, slots, True, None, options, path)


def test_what_is_digested_is_what_changes_an_answer(tmp_path: Path) -> None:
    model = folder(
        tmp_path / "m", shards=("output-00001-of-00002.safetensors", "output-00002-of-00002.safetensors")
    )
    for name in (
        "generation_config.json",
        "tokenizer_config.json",
        "README.md",
        "pytorch_model.bin",
        "modeling.py",
    ):
        (model / name).write_text("{}")
    (model / "chat_template.jinja").write_text("{{ messages }}")
    files = look(model)
    assert [file.name for file in files.files] == [
        "config.json",
        "generation_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "chat_template.jinja",
        "output-00001-of-00002.safetensors",
        "output-00002-of-00002.safetensors",
    ]
    assert files.chat and files.identity == ""


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({}, "FLOAT16"),
        ({"quantization_config": {"quant_method": "exl2", "bits": 4.25, "head_bits": 6}}, "EXL2 4.25 bpw"),
        ({"quantization_config": {"quant_method": "gptq", "bits": 4, "group_size": 128}}, "GPTQ 4 bit"),
    ],
)
def test_the_quantization_is_what_config_json_says(
    tmp_path: Path, config: dict[str, Any], named: str
) -> None:
    assert look(folder(tmp_path, **config)).quantization == named


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"architectures": ["T5ForConditionalGeneration"]}, "does not know the architecture"),
        ({"architectures": []}, "does not know the architecture"),
        ({"architectures": "LlamaForCausalLM"}, "does not know the architecture"),
        ({"architectures": [["LlamaForCausalLM"]]}, "does not know the architecture"),
        ({"quantization_config": {"quant_method": "awq", "bits": 4}}, "'awq'"),
        ({"quantization_config": 7}, "quantized by 7"),
        ({"max_position_embeddings": 128}, "less than a page"),
    ],
)
def test_other_models_are_refused_by_name(tmp_path: Path, config: dict[str, Any], why: str) -> None:
    with pytest.raises(InvalidRequest, match=why) as refused:
        look(folder(tmp_path, **config))
    assert refused.value.violations[0].field == "spec.path"


def test_pickled_weights_are_never_taken(tmp_path: Path) -> None:
    model = folder(tmp_path, shards=())
    (model / "pytorch_model.bin").write_bytes(b"\x80\x04cos\nsystem\n.")
    with pytest.raises(InvalidRequest, match=r"no \*\.safetensors"):
        look(model)


def test_a_file_is_no_folder_and_nothing_is_nothing(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    with pytest.raises(InvalidRequest, match="a folder"):
        look(tmp_path / "m.gguf")
    with pytest.raises(FileNotFoundError):
        look(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError):
        look(tmp_path)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
@pytest.mark.parametrize("text", ["", "[1]", "{", "\xff\xfe", "[" * 100_000, '"x"'])
def test_json_that_is_none_is_damage(tmp_path: Path, name: str, text: str) -> None:
    model = folder(tmp_path)
    (model / name).write_text(text, encoding="latin-1")
    with pytest.raises(DataLoss):
        look(model)


@pytest.mark.parametrize("field", ["max_position_embeddings"])
@pytest.mark.parametrize("value", [-1, "many", True, 1.5, [4096]])
def test_sizes_that_are_none_are_damage(tmp_path: Path, field: str, value: object) -> None:
    with pytest.raises(DataLoss, match=field):
        ModelFolder(folder(tmp_path, **{field: value})).trained_tokens  # noqa: B018


def test_weights_that_are_cut_or_too_long_are_damage(tmp_path: Path) -> None:
    model = folder(tmp_path)
    for cut in (1, 999, 1000, 1040):
        safetensors(model / "model.safetensors", cut=cut)
        with pytest.raises(DataLoss):
            look(model)
    with safetensors(model / "model.safetensors").open("ab") as file:
        file.write(b"x")
    with pytest.raises(DataLoss, match="size"):
        look(model)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x08",
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 4) + b"[[]]",
        struct.pack("<Q", 11) + b'{"w": null}',
        struct.pack("<Q", 28) + b'{"w":{"data_offsets":["a"]}}',
        struct.pack("<Q", 2) + b"\xff\xff",
        b"\x80\x04" + bytes(64),
    ],
)
def test_what_only_calls_itself_safetensors_is_damage(tmp_path: Path, data: bytes) -> None:
    model = folder(tmp_path)
    (model / "model.safetensors").write_bytes(data)
    with pytest.raises(DataLoss):
        look(model)


def test_every_shard_is_there(tmp_path: Path) -> None:
    numbered = folder(
        tmp_path / "a", shards=("output-00001-of-00003.safetensors", "output-00003-of-00003.safetensors")
    )
    with pytest.raises(DataLoss, match="output-00002-of-00003"):
        look(numbered)
    listed = folder(tmp_path / "b", shards=("one.safetensors",))
    index = {"weight_map": {"w": "one.safetensors", "v": "two.safetensors"}}
    (listed / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(DataLoss, match=r"two\.safetensors"):
        look(listed)
    safetensors(listed / "two.safetensors")
    assert len(look(listed).files) == 4


def test_the_index_of_the_weights_that_were_quantized_says_nothing(tmp_path: Path) -> None:
    model = folder(
        tmp_path, shards=("output.safetensors",), quantization_config={"quant_method": "exl2", "bits": 4}
    )
    index = {"weight_map": {"w": "model-00001-of-00009.safetensors"}}
    (model / "model.safetensors.index.json").write_text(json.dumps(index))
    assert look(model).files


@pytest.mark.parametrize(
    ("template", "chat"),
    [
        ("{{ messages }}", True),
        ([{"name": "default", "template": "{{ messages }}"}, {"name": "tools", "template": "x"}], True),
        ([{"name": "tools", "template": "x"}], False),
        ("", False),
        (7, False),
        (None, False),
    ],
)
def test_a_chat_template_is_found(tmp_path: Path, template: object, chat: bool) -> None:
    model = folder(tmp_path)
    (model / "tokenizer_config.json").write_text(json.dumps({"chat_template": template}))
    assert look(model).chat is chat


def test_a_draft_model_is_looked_at_and_not_digested(tmp_path: Path) -> None:
    model = folder(tmp_path / "m")
    files = look(model, draft_model=str(folder(tmp_path / "d")))
    assert all(file.parent == model for file in files.files)
    for draft in (tmp_path / "nowhere", model / "config.json"):
        with pytest.raises(InvalidRequest, match="draft_model"):
            look(model, draft_model=str(draft))
    safetensors(tmp_path / "d" / "model.safetensors", cut=5)
    with pytest.raises(DataLoss):
        look(model, draft_model=str(tmp_path / "d"))


def test_every_wrong_option_is_named() -> None:
    with pytest.raises(InvalidRequest) as refused:
        check_options(
            "exllamav2",
            {
                "cache": "FP8",
                "cache_tokens": "1000",
                "gpu_split": "8,x",
                "reserve_gb": "-1",
                "draft_tokens": "8",
                "paged": "yes",
                "max_chunk_size": "0",
                "trust_remote_code": "true",
            },
        )
    assert len(refused.value.violations) == 8
    check_options(
        "exllamav2", {"cache": "Q4", "cache_tokens": "1024", "gpu_split": "20,23.5", "reserve_gb": "0.5"}
    )


def test_the_memory_is_weights_and_cache(tmp_path: Path) -> None:
    model = folder(tmp_path / "m")
    weights = os.path.getsize(model / "model.safetensors")
    # 3 layers × 2 heads × 32 numbers
    numbers = 192
    for cache, both in {"FP16": 4.0, "Q8": 2.125, "Q6": 1.625, "Q4": 1.125}.items():
        settings = plan(model, slots=4, context=1000, cache=cache)
        assert memory_needed("exllamav2", settings) == weights + int((4 * 1024 + 256) * numbers * both)
    assert (
        memory_needed("exllamav2", plan(model, slots=4, context=1000, paged="false"))
        == weights + 1024 * numbers * 4
    )
    draft = folder(tmp_path / "d", num_hidden_layers=1)
    both_models = memory_needed("exllamav2", plan(model, slots=1, context=512, draft_model=str(draft)))
    # what is drafted beyond the context takes a page more
    assert both_models == 2 * weights + (768 + 256) * (numbers + numbers // 3) * 4
    assert memory_needed("exllamav2", plan(folder(tmp_path / "x", hidden_size="wide"))) is None


def test_a_plan_holds_what_the_generator_asserts(tmp_path: Path) -> None:
    """Its assertions, over many sizes: pages, chunks, buffers and drafts fit each other."""
    model = folder(tmp_path / "m", max_position_embeddings=3000)
    draft = folder(tmp_path / "d", max_position_embeddings=2048)
    for slots in (1, 3, 8, 64):
        for context in (1, 64, 255, 256, 300, 2999, 8000, None):
            for options in (
                {},
                {"max_chunk_size": "256"},
                {"cache_tokens": "512"},
                {"draft_model": str(draft)},
            ):
                for paged in (True, False):
                    made = Plan.of(
                        plan(model, slots=slots, context=context, **options), ModelFolder(model), paged=paged
                    )
                    assert made.cache_tokens % 256 == 0 and made.chunk_tokens % 256 == 0
                    assert made.chunk_tokens <= made.sequence_tokens
                    assert made.slots * 8 <= made.chunk_tokens
                    assert made.slots == (slots if paged else 1)
                    whole = made.context_tokens + made.draft_tokens
                    assert made.context_tokens > 0 and whole <= made.cache_tokens
                    assert whole <= made.sequence_tokens
                    assert whole <= (2048 if made.draft else 3000)
                    assert made.draft_tokens == (4 if made.draft else 0)
