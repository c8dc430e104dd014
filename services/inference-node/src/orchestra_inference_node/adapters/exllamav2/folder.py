"""A folder of safetensors with config.json: what it says about itself, and whether it is whole.

Nothing of it is ever run: no pickled weights, no code of the model's own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestra_errors import DataLoss, InvalidRequest
from orchestra_inference_node.adapters.exllamav2 import safetensors
from orchestra_inference_node.adapters.exllamav2.entry import PAGE
from orchestra_inference_node.ports import ModelFiles

# what exllamav2 0.3.2 knows; it loads every other one as if it were a Llama, and draws nonsense
ARCHITECTURES = frozenset({
    "LlamaForCausalLM", "MistralForCausalLM", "MixtralForCausalLM", "YiForCausalLM", "OrionForCausalLM",
    "Qwen2ForCausalLM", "Qwen3ForCausalLM", "Qwen3MoeForCausalLM", "GemmaForCausalLM", "Gemma2ForCausalLM",
    "Starcoder2ForCausalLM", "GemmoeForCausalLM", "CohereForCausalLM", "Cohere2ForCausalLM",
    "DbrxForCausalLM", "Phi3ForCausalLM", "GPTBigCodeForCausalLM", "GPT2LMHeadModel", "MiniCPMForCausalLM",
    "InternLM2ForCausalLM", "IndexForCausalLM", "GraniteForCausalLM", "Glm4ForCausalLM",
    "LlavaForConditionalGeneration", "Mistral3ForConditionalGeneration", "Qwen2VLForConditionalGeneration",
    "Qwen2_5_VLForConditionalGeneration", "Gemma3ForConditionalGeneration",
})  # fmt: skip
_LENGTHS = (
    "max_sequence_length",
    "model_max_length",
    "max_position_embeddings",
    "max_seq_len",
    "n_positions",
)
# what changes an answer, besides the weights
_BESIDE = (
    "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "added_tokens.json",
    "chat_template.jinja", "chat_template.json", "preprocessor_config.json",
)  # fmt: skip
_INDEX = "model.safetensors.index.json"
_NUMBERED = re.compile(r"(.+)-(\d{1,9})-of-(\d{1,9})\.safetensors")
_MOST_SHARDS = 10_000
_MOST_JSON = 64 * 1024 * 1024


class ModelFolder:
    """Reads the folder at `path`. Raises DataLoss, InvalidRequest for what is none of this engine's,
    OSError."""

    def __init__(self, path: Path, field: str = "spec.path") -> None:
        """`field` is what named the folder."""
        self.path = path
        self._field = field
        if not path.is_dir():
            path.stat()
            raise InvalidRequest.of(field, "exllamav2 loads a folder with config.json, this is a file")
        self.config = self.read("config.json")
        self.shards = tuple(sorted(path.glob("*.safetensors")))

    def read(self, name: str) -> dict[str, Any]:
        """A JSON file. Raises FileNotFoundError when there is none, DataLoss when it is no JSON object."""
        file = self.path / name
        try:
            with file.open("rb") as opened:
                data = opened.read(_MOST_JSON + 1)
            found = json.loads(data) if len(data) <= _MOST_JSON else None
        except (ValueError, RecursionError) as error:
            raise DataLoss(str(file), "it is no JSON") from error
        if not isinstance(found, dict):
            raise DataLoss(str(file), "it is not what its name says")
        return found

    def read_if_there(self, name: str) -> dict[str, Any]:
        """As `read`; empty when there is none."""
        return self.read(name) if (self.path / name).is_file() else {}

    def setting(self, *names: str, default: Any = None) -> Any:
        """The first of the names that config.json has, of the language model where there are several."""
        inner = self.config.get("text_config")
        for names_in in (self.config, inner if isinstance(inner, dict) else {}):
            for name in names:
                if names_in.get(name) is not None:
                    return names_in[name]
        return default

    def count(self, *names: str, default: int | None = None) -> int:
        """As `setting`, a whole number above zero. Raises DataLoss."""
        found = self.setting(*names, default=default)
        if not isinstance(found, int) or isinstance(found, bool) or found < 1:
            raise DataLoss(str(self.path / "config.json"), f"{' or '.join(names)} is {found!r}")
        return found

    @property
    def trained_tokens(self) -> int:
        """How long a context the model was trained for; 2048 where it does not say, as the engine has it."""
        return self.count(*_LENGTHS, default=2048)

    @property
    def quantization(self) -> str:
        """For people; empty where config.json does not say."""
        settings = self.config.get("quantization_config")
        if settings is None:
            return str(self.setting("torch_dtype", "dtype", default="")).upper()
        method = settings.get("quant_method") if isinstance(settings, dict) else settings
        if method not in ("exl2", "gptq"):
            raise InvalidRequest.of(
                self._field, f"its weights are quantized by {method!r}, exllamav2 reads exl2 and gptq"
            )
        bits = settings.get("bits")
        if not isinstance(bits, int | float):
            raise DataLoss(str(self.path / "config.json"), f"bits of quantization_config is {bits!r}")
        return f"EXL2 {bits:g} bpw" if method == "exl2" else f"GPTQ {bits:g} bit"

    def check(self) -> None:
        """Raises DataLoss for a file that is missing or cut short, InvalidRequest for another kind of
        model."""
        named = self.config.get("architectures")
        if not isinstance(named, list) or len(named) != 1 or str(named[0]) not in ARCHITECTURES:
            raise InvalidRequest.of(self._field, f"exllamav2 does not know the architecture {named!r}")
        self.read("tokenizer.json")
        if not self.shards:
            raise InvalidRequest.of(self._field, "no *.safetensors here; other weights are not loaded")
        for name in self._missing({shard.name for shard in self.shards}):
            raise DataLoss(str(self.path), f"{name} is not here")
        for shard in self.shards:
            safetensors.check(shard)

    def _missing(self, here: set[str]) -> list[str]:
        index = self.read_if_there(_INDEX).get("weight_map", {})
        listed = set(map(str, index.values())) if isinstance(index, dict) else {f"weight_map of {_INDEX}"}
        if self.config.get("quantization_config") and not listed & here:
            # a quantizer copies the index of the weights that it read
            listed = set()
        for name in here:
            if numbered := _NUMBERED.fullmatch(name):
                stem, digits, last = numbered.groups()
                listed |= {
                    f"{stem}-{at:0{len(digits)}}-of-{last}.safetensors"
                    for at in range(1, min(int(last), _MOST_SHARDS) + 1)
                }
        return sorted(listed - here)

    @property
    def files(self) -> tuple[Path, ...]:
        beside = (self.path / name for name in _BESIDE)
        return (*(file for file in beside if file.is_file()), *self.shards)


def inspect(path: str, options: Mapping[str, str]) -> ModelFiles:
    """See `ports.Inspect`. A draft model changes the speed and no answer: it is looked at, not digested."""
    model = ModelFolder(Path(path))
    model.check()
    trained = model.trained_tokens
    if trained < PAGE:
        raise InvalidRequest.of("spec.path", f"its context of {trained} tokens is less than a page of {PAGE}")
    if draft := options.get("draft_model"):
        field = "spec.engine_options['draft_model']"
        try:
            ModelFolder(Path(draft), field).check()
        except FileNotFoundError as error:
            raise InvalidRequest.of(field, f"{error.filename} is not there") from error
    return ModelFiles(model.files, model.quantization, chat=bool(chat_template(model)))


def chat_template(model: ModelFolder) -> str:
    """The model's chat template; empty where it has none."""
    file = model.path / "chat_template.jinja"
    if file.is_file():
        try:
            return file.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise DataLoss(str(file), "it is no text") from error
    for name in ("chat_template.json", "tokenizer_config.json"):
        found = model.read_if_there(name).get("chat_template")
        if isinstance(found, list):
            named = {one.get("name"): one.get("template") for one in found if isinstance(one, dict)}
            found = named.get("default")
        if isinstance(found, str) and found:
            return found
    return ""
