"""What a GGUF file says about itself, and whether it is whole. Reads the head only."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestra_errors import DataLoss
from orchestra_inference_node.ports import ModelFiles

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_PACKED = {kind: struct.Struct(f"<{kind}") for kind in _SCALARS.values()}
_LENGTH = struct.Struct("<Q").unpack_from
_STRING, _ARRAY = 8, 9
_MOST_DIMENSIONS = 8
# one number for each layer; longer arrays are vocabularies
_MOST_LAYERS = 1024
_FILE_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S",
    12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K",
    19: "IQ2_XXS", 20: "IQ2_XS", 21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL",
    26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S", 29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16",
}  # fmt: skip
_UNREADABLE = (
    struct.error, IndexError, KeyError, OverflowError, TypeError, UnicodeDecodeError, ZeroDivisionError,
)  # fmt: skip
# bytes and elements of one block, for tensor types of ggml
_BLOCKS = {
    0: (4, 1), 1: (2, 1), 2: (18, 32), 3: (20, 32), 6: (22, 32), 7: (24, 32), 8: (34, 32), 10: (84, 256),
    11: (110, 256), 12: (144, 256), 13: (176, 256), 14: (210, 256), 20: (18, 32), 23: (136, 256), 30: (2, 1),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class GgufFacts:
    """`context_tokens` is what the model was trained for; None or empty where the file does not say."""

    architecture: str
    context_tokens: int | None
    quantization: str
    has_chat_template: bool
    vocabulary: int = 0
    """How many tokens there are."""
    tensor_bytes: int = 0
    shape: Mapping[str, Any] = field(default_factory=dict)
    """The metadata of the architecture, by name without its prefix; an array is a tuple."""

    def number(self, name: str) -> int | None:
        """A number of the shape, of an array its largest; None where the file does not say."""
        value = self.shape.get(name)
        if isinstance(value, tuple):
            value = max(value, default=None)
        return value if isinstance(value, int) else None

    def each_layer(self, name: str, layers: int, default: int) -> tuple[int, ...]:
        """A number of the shape for each layer."""
        value = self.shape.get(name, default)
        return value if isinstance(value, tuple) else (value,) * layers

    @classmethod
    def read(cls, path: Path) -> GgufFacts:
        """Raises DataLoss for a file that is no GGUF or is cut short, OSError when it cannot be read."""
        with path.open("rb") as file:
            if file.read(4) != _MAGIC:
                raise DataLoss(str(path), "it does not begin as a GGUF file does")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                try:
                    metadata, tensors = _read_head(data)
                except _UNREADABLE as error:
                    raise DataLoss(str(path), "its head cannot be read") from error
                whole = tensors.stop <= len(data)
        if not whole:
            raise DataLoss(str(path), "it is shorter than its tensors")
        architecture = str(metadata.get("general.architecture", ""))
        length = metadata.get(f"{architecture}.context_length")
        tokens = metadata.get("tokenizer.ggml.tokens", 0)
        return cls(
            architecture=architecture,
            context_tokens=int(length) if length else None,
            quantization=_FILE_TYPES.get(metadata.get("general.file_type", -1), ""),
            has_chat_template=bool(metadata.get("tokenizer.chat_template")),
            vocabulary=tokens if isinstance(tokens, int) else len(tokens),
            tensor_bytes=len(tensors),
            shape={
                name.removeprefix(f"{architecture}."): value
                for name, value in metadata.items()
                if name.startswith(f"{architecture}.")
            },
        )


def inspect(path: str, options: Mapping[str, str]) -> ModelFiles:
    """The one file. Raises what `GgufFacts.read` does."""
    facts = GgufFacts.read(Path(path))
    return ModelFiles((Path(path),), facts.quantization, chat=facts.has_chat_template)


def _read_head(data: mmap.mmap) -> tuple[dict[str, Any], range]:
    """Metadata, of long arrays their length alone; and where the tensors lie, which may be beyond the end."""
    cursor = Cursor(data, 4)
    if cursor.number("I") not in _VERSIONS:
        raise KeyError("version")
    tensors, pairs = cursor.number("Q"), cursor.number("Q")
    metadata: dict[str, Any] = {}
    for _ in range(pairs):
        key = cursor.text()
        metadata[key] = cursor.value(cursor.number("I"))
    end = 0
    for _ in range(tensors):
        cursor.text()
        elements = 1
        dimensions = cursor.number("I")
        if dimensions > _MOST_DIMENSIONS:
            raise KeyError("dimensions")
        for _ in range(dimensions):
            elements *= cursor.number("Q")
        size, per_block = _BLOCKS.get(cursor.number("I"), (0, 1))
        end = max(end, cursor.number("Q") + elements // per_block * size)
    alignment = int(metadata.get("general.alignment", 32))
    begin = -(-cursor.at // alignment) * alignment
    return metadata, range(begin, begin + end)


class Cursor:
    """Reads a head from a position on, which moves."""

    def __init__(self, data: mmap.mmap, at: int) -> None:
        self._data = data
        self.at = at

    def number(self, kind: str) -> Any:
        packed = _PACKED[kind]
        (value,) = packed.unpack_from(self._data, self.at)
        self.at += packed.size
        return value

    def text(self) -> str:
        length: int = self.number("Q")
        begin, self.at = self.at, self.at + length
        if self.at > len(self._data):
            raise IndexError("text")
        return self._data[begin : self.at].decode()

    def array(self) -> tuple[int, int]:
        """The type of what follows, and how many there are."""
        return self.number("I"), self.number("Q")

    def value(self, kind: int) -> Any:
        if kind == _STRING:
            return self.text()
        if kind != _ARRAY:
            return self.number(_SCALARS[kind])
        inner, count = self.array()
        if inner == _STRING:
            for _ in range(count):
                self.at += 8 + _LENGTH(self._data, self.at)[0]
        elif count <= _MOST_LAYERS:
            return tuple(self.number(_SCALARS[inner]) for _ in range(count))
        else:
            self.at += struct.calcsize(_SCALARS[inner]) * count
        return count
