"""A folder that CTranslate2's converters have made, with the tokenizer of the model beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestra_errors import DataLoss, InvalidRequest
from orchestra_inference_node.adapters.ctranslate2.model_file import BinFacts
from orchestra_inference_node.ports import LoadSettings, ModelFiles

WRITES, READS = "TransformerSpec", "TransformerEncoderSpec"
_VOCABULARIES = ("shared_vocabulary.json", "source_vocabulary.json", "vocabulary.json")
_REQUIRED = ("model.bin", "config.json", "tokenizer.json")
# of the runtime itself, once it has a model
_RUNTIME_BYTES = 32 << 20


@dataclass(frozen=True, slots=True)
class TranslatorFolder:
    """What is in the folder. `end` is the token that ends an answer, `vocabulary` the model's tokens."""

    path: Path
    files: tuple[Path, ...]
    model: BinFacts
    vocabulary: tuple[str, ...]
    end: str

    @classmethod
    def read(cls, folder: Path) -> TranslatorFolder:
        """Raises InvalidRequest for a folder that is none, DataLoss for files that are not whole, OSError
        when they cannot be read."""
        if not folder.is_dir():
            if folder.exists():
                raise _refused("is a file; a model of CTranslate2 is a folder")
            raise FileNotFoundError(folder)
        there = {path.name: path for path in folder.iterdir() if path.is_file()}
        lacking = [name for name in _REQUIRED if name not in there]
        if lacking:
            raise _refused(f"holds no {', '.join(lacking)}")
        model = BinFacts.read(there["model.bin"])
        if model.kind not in (WRITES, READS):
            raise _refused(f"holds a {model.kind}; the engine loads {WRITES} and {READS}")
        if "target_vocabulary.json" in there:
            raise _refused("has one vocabulary for what is read and another for what is written")
        listed = next((there[name] for name in _VOCABULARIES if name in there), None)
        if listed is None:
            raise _refused(f"holds none of {', '.join(_VOCABULARIES)}")
        config, vocabulary, tokenizer = (
            _read(path) for path in (there["config.json"], listed, there["tokenizer.json"])
        )
        _check_vocabulary(listed, vocabulary, model, tokenizer)
        files = (*(there[name] for name in _REQUIRED), listed)
        return cls(folder, files, model, tuple(vocabulary), str(config.get("eos_token", "</s>")))


def inspect(path: str, options: Mapping[str, str]) -> ModelFiles:
    """Everything that decides what the model says. Raises what `TranslatorFolder.read` does."""
    found = TranslatorFolder.read(Path(path))
    return ModelFiles(found.files, found.model.quantization, chat=False)


def memory(settings: LoadSettings) -> int | None:
    """The weights as they are stored, those of half precision as floats: a CPU computes with no others.
    None when they are to be computed with in another type."""
    if settings.options.get("compute_type", "default") != "default":
        return None
    model = TranslatorFolder.read(Path(settings.path)).model
    halves = model.weights["F16"] + model.weights["BF16"]
    return _RUNTIME_BYTES + (Path(settings.path) / "model.bin").stat().st_size + 2 * halves


def _check_vocabulary(path: Path, vocabulary: Any, model: BinFacts, tokenizer: Any) -> None:
    """The model and its tokenizer must mean the same by a number: an id that the model has no row for would
    be read from beyond its table."""
    if not (isinstance(vocabulary, list) and all(isinstance(one, str) for one in vocabulary)):
        raise DataLoss(str(path), "it is no list of tokens")
    rows = model.rows("encoder/embeddings_0/weight", "encoder/embeddings/weight")
    if rows is not None and rows != len(vocabulary):
        raise DataLoss(str(path), f"it has {len(vocabulary)} tokens and the model {rows}")
    known = _tokens_of(tokenizer)
    for token, at in known.items():
        if at >= len(vocabulary) or vocabulary[at] != token:
            theirs = vocabulary[at] if at < len(vocabulary) else "none"
            raise _refused(f"its tokenizer calls token {at} {token!r}, the model {theirs!r}")


def _tokens_of(tokenizer: Any) -> dict[str, int]:
    """Those whose numbers the file gives: a few kinds of tokenizers list them without."""
    if not isinstance(tokenizer, dict):
        return {}
    held = tokenizer.get("model", {}).get("vocab", {})
    known = dict(held) if isinstance(held, dict) else {one[0]: at for at, one in enumerate(held)}
    return known | {one["content"]: one["id"] for one in tokenizer.get("added_tokens", ())}


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except ValueError as error:
        raise DataLoss(str(path), f"it is no JSON: {error}") from error


def _refused(why: str) -> InvalidRequest:
    return InvalidRequest.of("spec.path", why)
