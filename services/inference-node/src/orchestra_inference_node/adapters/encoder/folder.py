"""A folder with an encoder: one ONNX file, tokenizer.json, and what its makers say about its use."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestra_errors import DataLoss, InvalidRequest
from orchestra_inference_node.adapters.encoder.onnx_file import OnnxFacts
from orchestra_inference_node.ports import LoadSettings, ModelFiles

POOLINGS = ("mean", "cls", "last")
# the runtime has these without a library of others
_OPERATORS = frozenset(
    {"ai.onnx", "ai.onnx.ml", "com.microsoft", "com.microsoft.experimental", "com.microsoft.nchwc"}
)
_MODULES = frozenset({"Transformer", "Pooling", "Normalize"})
_POOLING_FLAGS = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
    "pooling_mode_lasttoken": "last",
}
# positions of these begin behind the padding token
_PADDED_POSITIONS = frozenset({"roberta", "xlm-roberta", "camembert", "mpnet"})
# of the runtime itself, once it has a model
_RUNTIME_BYTES = 96 << 20


@dataclass(frozen=True, slots=True)
class EncoderFolder:
    """What is in the folder. `positions` is the most tokens that the model can take, `advised` the most that
    its makers advise; None where nobody says. `pooling` is empty where nobody says."""

    model: Path
    tokenizer: Path
    files: tuple[Path, ...]
    onnx: OnnxFacts
    positions: int | None
    advised: int | None
    pooling: str

    @classmethod
    def read(cls, folder: Path) -> EncoderFolder:
        """Raises InvalidRequest for a folder that is no encoder, DataLoss for files that are not whole,
        OSError when they cannot be read."""
        model = _only_model(folder)
        onnx = OnnxFacts.read(model)
        _refuse_foreign(onnx)
        read: list[Path] = []
        if "tokenizer.json" not in {one.name for one in folder.iterdir()}:
            raise _refused("holds no tokenizer.json")
        _read_json(folder / "tokenizer.json", read)
        config = _read_json(folder / "config.json", read)
        use = _read_json(folder / "sentence_bert_config.json", read)
        pooling = _pooling(_read_json(folder / "1_Pooling" / "config.json", read))
        _check_modules(_read_json(folder / "modules.json", read))
        external = [model.parent / name for name in sorted(onnx.external)]
        return cls(
            model=model,
            tokenizer=folder / "tokenizer.json",
            files=(model, *external, *read),
            onnx=onnx,
            positions=_positions(config) or onnx.positions,
            advised=_whole(use, "max_seq_length"),
            pooling=pooling,
        )


def inspect(path: str, options: Mapping[str, str]) -> ModelFiles:
    """Everything that decides what a text becomes. Raises what `EncoderFolder.read` does."""
    found = EncoderFolder.read(Path(path))
    return ModelFiles(found.files, found.onnx.quantization, chat=False)


def memory(settings: LoadSettings) -> int:
    """The files, and the weights as they are computed with: those of fewer bits are opened to floats."""
    found = EncoderFolder.read(Path(settings.path))
    stored = sum(path.stat().st_size for path in found.files)
    return _RUNTIME_BYTES + stored + 4 * found.onnx.weights.total()


def _only_model(folder: Path) -> Path:
    if not folder.is_dir():
        if folder.exists():
            raise _refused("is a file; an encoder is a folder")
        raise FileNotFoundError(folder)
    found = sorted(folder.glob("*.onnx")) or sorted(folder.glob("onnx/*.onnx"))
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise _refused(f"must hold exactly one .onnx file, holds {names}")
    return found[0]


def _refuse_foreign(onnx: OnnxFacts) -> None:
    foreign = sorted(onnx.domains - _OPERATORS)
    if foreign:
        raise _refused(f"its model needs operators of {', '.join(foreign)}, which no library here has")
    outside = sorted(name for name in onnx.external if Path(name).name != name)
    if outside:
        raise _refused(f"its model keeps weights outside of its folder: {', '.join(outside)}")


def _read_json(path: Path, read: list[Path]) -> Any:
    """What the file says, noted as read; None where there is no such file."""
    try:
        said = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise DataLoss(str(path), f"it is no JSON: {error}") from error
    read.append(path)
    return said


def _positions(config: Any) -> int | None:
    most = _whole(config, "max_position_embeddings")
    if most is None:
        return None
    padding = _whole(config, "pad_token_id") or 0
    return most - padding - 1 if config.get("model_type") in _PADDED_POSITIONS else most


def _pooling(config: Any) -> str:
    if not isinstance(config, dict):
        return ""
    asked = sorted(name for name, on in config.items() if name.startswith("pooling_mode_") and on is True)
    if len(asked) != 1 or asked[0] not in _POOLING_FLAGS:
        raise _refused(f"its 1_Pooling/config.json asks for {', '.join(asked) or 'no pooling'}")
    return _POOLING_FLAGS[asked[0]]


def _check_modules(modules: Any) -> None:
    if not isinstance(modules, list):
        return
    kinds = [str(one.get("type", "")).rpartition(".")[2] for one in modules if isinstance(one, dict)]
    further = [kind for kind in kinds if kind not in _MODULES]
    if further:
        raise _refused(f"its vectors pass through {', '.join(further)} afterwards, which is not in the model")


def _whole(said: Any, name: str) -> int | None:
    value = said.get(name) if isinstance(said, dict) else None
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _refused(why: str) -> InvalidRequest:
    return InvalidRequest.of("spec.path", why)
