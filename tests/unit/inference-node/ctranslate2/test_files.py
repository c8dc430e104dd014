"""A folder of CTranslate2 is understood, or refused with a reason."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from ctranslate2.specs import transformer_spec
from tiny_models import TOKENS, write_codet5, write_graphcodebert

from orchestra_errors import DataLoss, InvalidRequest
from orchestra_inference_node.adapters.ctranslate2.folder import READS, WRITES, TranslatorFolder
from orchestra_inference_node.adapters.ctranslate2.model_file import BinFacts
from orchestra_inference_node.adapters.engines import (
    check_options,
    inspect_files,
    installed_engines,
    memory_needed,
)
from orchestra_inference_node.ports import LoadSettings


def test_both_kinds_say_what_they_are(tmp_path: Path) -> None:
    writes = TranslatorFolder.read(write_codet5(tmp_path / "t5"))
    assert (writes.model.kind, writes.end, writes.model.positions) == (WRITES, "</s>", None)
    assert writes.vocabulary == tuple(TOKENS)
    reads = TranslatorFolder.read(write_graphcodebert(tmp_path / "bert"))
    assert (reads.model.kind, reads.model.positions) == (READS, 40)


@pytest.mark.parametrize("kept", [0.0, 0.001, 0.3, 0.99])
def test_a_model_that_is_cut_short_is_damaged(kept: float, tmp_path: Path) -> None:
    path = write_codet5(tmp_path / "m") / "model.bin"
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data))])
    with pytest.raises(DataLoss, match="cut short"):
        BinFacts.read(path)


@pytest.mark.parametrize("data", [b"GGUF" + bytes(200), struct.pack("<I", 6) + b"\xff" * 300])
def test_what_is_no_model_is_damaged(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(data)
    with pytest.raises(DataLoss):
        BinFacts.read(path)


@pytest.mark.parametrize("name", ["model.bin", "config.json", "tokenizer.json", "shared_vocabulary.json"])
def test_what_is_missing_is_named(name: str, tmp_path: Path) -> None:
    folder = write_codet5(tmp_path / "m")
    (folder / name).unlink()
    with pytest.raises(InvalidRequest, match=name.replace(".", r"\.")):
        inspect_files("ctranslate2", str(folder), {})


def test_another_kind_of_model_is_refused_by_its_name(tmp_path: Path) -> None:
    folder = write_codet5(tmp_path / "m")
    decoder = transformer_spec.TransformerDecoderModelSpec.from_config(0, 2)
    decoder.decoder.embeddings.weight = decoder.decoder.projection.weight = np.ones((4, 4), np.float32)
    decoder.decoder.layer_norm.gamma = decoder.decoder.layer_norm.beta = np.ones(4, np.float32)
    decoder.register_vocabulary(["a", "b", "c", "d"])
    decoder.validate()
    (tmp_path / "other").mkdir()
    decoder.save(str(tmp_path / "other"))
    (tmp_path / "other/model.bin").replace(folder / "model.bin")
    with pytest.raises(InvalidRequest, match="TransformerDecoderSpec"):
        inspect_files("ctranslate2", str(folder), {})


def test_a_tokenizer_of_another_model_is_refused(tmp_path: Path) -> None:
    """What it calls a token would be another word, or lie beyond the model's table."""
    folder = write_codet5(tmp_path / "m")
    path = folder / "tokenizer.json"
    held = json.loads(path.read_text())
    held["model"]["vocab"]["one more"] = len(TOKENS)
    path.write_text(json.dumps(held))
    with pytest.raises(InvalidRequest, match="one more"):
        inspect_files("ctranslate2", str(folder), {})
    words = json.loads((folder / "shared_vocabulary.json").read_text())
    (folder / "shared_vocabulary.json").write_text(json.dumps(words[:-1]))
    with pytest.raises(DataLoss, match=f"{len(TOKENS) - 1} tokens and the model {len(TOKENS)}"):
        inspect_files("ctranslate2", str(folder), {})


def test_where_there_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        inspect_files("ctranslate2", str(tmp_path / "nowhere"), {})
    (tmp_path / "file").write_text("x")
    with pytest.raises(InvalidRequest, match="folder"):
        inspect_files("ctranslate2", str(tmp_path / "file"), {})


def test_options_are_checked_by_name() -> None:
    assert "ctranslate2" in installed_engines()
    check_options("ctranslate2", {"threads": "1", "compute_type": "int8", "pooling": "cls"})
    with pytest.raises(InvalidRequest) as refused:
        check_options("ctranslate2", {"compute_type": "int1", "beams": "4"})
    assert len(refused.value.violations) == 2


def test_memory_is_that_of_the_weights_as_they_are_computed_with(tmp_path: Path) -> None:
    sizes = {}
    for name in ("float32", "float16", "int8"):
        folder = write_codet5(tmp_path / name, quantization=name)
        settings = LoadSettings("m", str(folder), None, 1, False, 1, {}, folder)
        sizes[name] = memory_needed("ctranslate2", settings)
        typed = LoadSettings("m", str(folder), None, 1, False, 1, {"compute_type": "int8"}, folder)
        assert memory_needed("ctranslate2", typed) is None, "nobody can say before"
    assert all(size is not None for size in sizes.values())
    assert sizes["float16"] == pytest.approx(sizes["float32"], rel=0.001)
    assert sizes["int8"] < sizes["float32"]
