"""What a model is stored as, by a look at its path. Opens no file but the first bytes of one."""

from __future__ import annotations

from pathlib import Path

from orchestra_errors import NotFound
from orchestra_inference_node.domain.formats import ModelFormat

_GGUF = b"GGUF"


def stored_as(path: str) -> ModelFormat | None:
    """None where it is nothing that an engine loads. Raises NotFound. It blocks."""
    if path.startswith(("http://", "https://")):
        return ModelFormat.SERVER
    if path.startswith("simulated:"):
        return ModelFormat.NONE
    place = Path(path)
    if not place.exists():
        raise NotFound("model file", path)
    try:
        return _folder(place) if place.is_dir() else _file(place)
    except OSError:
        return None


def _file(path: Path) -> ModelFormat | None:
    # a broken GGUF is the engine's to refuse, with what is wrong with it
    if path.suffix == ".gguf":
        return ModelFormat.GGUF
    if path.suffix == ".onnx":
        return ModelFormat.ONNX
    with path.open("rb") as file:
        return ModelFormat.GGUF if file.read(len(_GGUF)) == _GGUF else None


def _folder(path: Path) -> ModelFormat | None:
    names = {entry.name for entry in path.iterdir()}
    if "model.bin" in names and any("vocabulary" in name for name in names):
        return ModelFormat.CTRANSLATE2
    if "tokenizer.json" in names and (any(path.glob("*.onnx")) or any(path.glob("onnx/*.onnx"))):
        return ModelFormat.ONNX
    if "config.json" in names and any(name.endswith(".safetensors") for name in names):
        return ModelFormat.EXL2
    return None
