"""A folder with an encoder is understood, or refused with a reason."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny_onnx import chunk, encoder, model, node, number, weights, write_folder

from orchestra_errors import DataLoss, InvalidRequest
from orchestra_inference_node.adapters.encoder.folder import EncoderFolder, inspect, memory
from orchestra_inference_node.adapters.encoder.onnx_file import OnnxFacts
from orchestra_inference_node.ports import LoadSettings
from orchestra_testing import model_file


def test_the_real_model_says_what_it_is() -> None:
    folder = model_file("minilm-l6")
    facts = OnnxFacts.read(folder / "model.onnx")
    assert (facts.quantization, facts.positions) == ("INT8", 512)
    assert not facts.fits_batch and not facts.domains and not facts.external
    assert 22_000_000 < facts.weights["INT8"] < 23_000_000
    files = inspect(str(folder), {})
    assert {path.name for path in files.files} == {"model.onnx", "tokenizer.json"}
    assert (files.quantization, files.chat, files.identity) == ("INT8", False, "")
    settings = LoadSettings("m", str(folder), None, None, False, None, {}, folder)
    assert 150 << 20 < memory(settings) < 400 << 20, "its weights are opened to floats"


@pytest.mark.parametrize("kept", [0, 3, 200, 0.5, 0.999])
def test_a_file_that_is_cut_short_is_damaged(kept: float, tmp_path: Path) -> None:
    data = encoder()
    path = tmp_path / "model.onnx"
    path.write_bytes(data[: int(kept * len(data)) if isinstance(kept, float) else kept])
    with pytest.raises(DataLoss):
        OnnxFacts.read(path)


@pytest.mark.parametrize("data", [b"not a model at all", b"\xff" * 64, chunk(2, "a producer, no graph")])
def test_what_is_no_model_is_damaged(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    with pytest.raises(DataLoss):
        OnnxFacts.read(path)


def test_operators_of_others_are_refused_by_name(tmp_path: Path) -> None:
    data = model([node("Identity", ["a"], ["b"])], domains=["com.microsoft", "ai.onnx.contrib"])
    with pytest.raises(InvalidRequest, match=r"ai\.onnx\.contrib"):
        inspect(str(write_folder(tmp_path, data)), {})


def external(location: str) -> bytes:
    entry = chunk(1, "location") + chunk(2, location)
    length = chunk(1, "length") + chunk(2, "99")
    kept = number(1, 2) + number(2, 1) + chunk(8, "w") + chunk(13, entry) + chunk(13, length) + number(14, 1)
    return model([node("Identity", ["a"], ["b"])], [kept])


def test_weights_beside_the_model_belong_to_it(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, external("model.onnx_data"))
    (folder / "model.onnx_data").write_bytes(b"12345678")
    assert folder / "model.onnx_data" in inspect(str(folder), {}).files


def test_weights_elsewhere_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="outside"):
        inspect(str(write_folder(tmp_path, external("../secrets"))), {})


def test_a_folder_must_hold_one_model_and_its_tokenizer(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "m")
    (folder / "model_quantized.onnx").write_bytes(encoder())
    with pytest.raises(InvalidRequest, match=r"exactly one .*model\.onnx, model_quantized\.onnx"):
        inspect(str(folder), {})
    (folder / "model_quantized.onnx").unlink()
    (folder / "tokenizer.json").write_text("{")
    with pytest.raises(DataLoss, match="JSON"):
        inspect(str(folder), {})
    (folder / "tokenizer.json").unlink()
    with pytest.raises(InvalidRequest, match=r"no tokenizer\.json"):
        inspect(str(folder), {})
    with pytest.raises(InvalidRequest, match="folder"):
        inspect(str(folder / "model.onnx"), {})
    with pytest.raises(FileNotFoundError):
        inspect(str(tmp_path / "nowhere"), {})


def test_what_its_makers_say_counts(tmp_path: Path) -> None:
    folder = write_folder(tmp_path)
    (folder / "config.json").write_text(
        json.dumps({"model_type": "roberta", "max_position_embeddings": 514, "pad_token_id": 1})
    )
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 256}))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling/config.json").write_text(
        json.dumps({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False})
    )
    found = EncoderFolder.read(folder)
    assert (found.positions, found.advised, found.pooling) == (512, 256, "cls")
    assert {path.relative_to(folder).as_posix() for path in found.files} == {
        "model.onnx",
        "tokenizer.json",
        "config.json",
        "sentence_bert_config.json",
        "1_Pooling/config.json",
    }


def test_vectors_that_would_not_be_the_makers_are_refused(tmp_path: Path) -> None:
    folder = write_folder(tmp_path)
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling/config.json").write_text(json.dumps({"pooling_mode_max_tokens": True}))
    with pytest.raises(InvalidRequest, match="pooling_mode_max_tokens"):
        inspect(str(folder), {})
    (folder / "1_Pooling/config.json").unlink()
    kinds = [{"type": f"sentence_transformers.models.{kind}"} for kind in ("Transformer", "Dense")]
    (folder / "modules.json").write_text(json.dumps(kinds))
    with pytest.raises(InvalidRequest, match="Dense"):
        inspect(str(folder), {})


def test_mixed_weights_are_called_by_the_most_of_them(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(model([node("Identity", ["a"], ["b"])], [weights("w", [[1.0, 2.0]])]))
    assert OnnxFacts.read(path).quantization == "F32"
