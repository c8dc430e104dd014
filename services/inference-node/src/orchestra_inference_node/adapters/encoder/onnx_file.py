"""What an ONNX file says about itself, and whether it is whole. Reads no weights."""

from __future__ import annotations

import mmap
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod
from pathlib import Path

from orchestra_errors import DataLoss

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MOST_VARINT_BYTES = 10
# numbers of the fields of ModelProto, GraphProto, NodeProto, TensorProto, OperatorSetIdProto and
# StringStringEntryProto, as onnx.proto gives them
_MODEL_GRAPH, _MODEL_OPSETS = 7, 8
_GRAPH_NODES, _GRAPH_WEIGHTS = 1, 5
_NODE_OP = 4
_TENSOR_DIMS, _TENSOR_TYPE, _TENSOR_NAME, _TENSOR_EXTERNAL = 1, 2, 8, 13
_OPSET_DOMAIN = 1
_ENTRY_KEY, _ENTRY_VALUE = 1, 2
_NAMES = {1: "F32", 2: "INT8", 3: "INT8", 10: "F16", 16: "BF16", 21: "INT4", 22: "INT4"}
# operators that fit the whole batch into one integer range: a text's neighbours change its vector
_FIT_THE_BATCH = frozenset({"DynamicQuantizeLinear", "DynamicQuantizeMatMul", "DynamicQuantizeLSTM"})


@dataclass(slots=True)
class OnnxFacts:
    """`weights` counts numbers by their type; `external` are the files that hold weights besides."""

    domains: set[str] = field(default_factory=set)
    """Sets of operators besides ONNX's own."""
    operators: set[str] = field(default_factory=set)
    weights: Counter[str] = field(default_factory=Counter)
    external: set[str] = field(default_factory=set)
    positions: int | None = None
    """Rows of the table of positions, where one is named so."""

    @classmethod
    def read(cls, path: Path) -> OnnxFacts:
        """Raises DataLoss for a file that is no ONNX model or is cut short, OSError when it cannot be
        read."""
        facts = cls()
        try:
            with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                facts._read_model(_Message(data, 0, len(data)))
        except (IndexError, ValueError) as error:
            # an empty file cannot be mapped, which is a ValueError
            raise DataLoss(str(path), "it is no ONNX model, or is cut short") from error
        if not facts.operators:
            raise DataLoss(str(path), "it is an ONNX model without a graph")
        return facts

    @property
    def quantization(self) -> str:
        """The type of most of its weights; empty for one that has no usual name."""
        return max(self.weights, key=lambda name: self.weights[name], default="")

    @property
    def fits_batch(self) -> bool:
        """Whether what a text becomes depends on the texts that are computed with it."""
        return bool(self.operators & _FIT_THE_BATCH)

    def _read_model(self, model: _Message) -> None:
        for number, value in model.fields():
            if number == _MODEL_GRAPH and isinstance(value, _Message):
                self._read_graph(value)
            if number == _MODEL_OPSETS and isinstance(value, _Message):
                self.domains |= {domain for domain in value.texts(_OPSET_DOMAIN) if domain}

    def _read_graph(self, graph: _Message) -> None:
        for number, value in graph.fields():
            if number == _GRAPH_NODES and isinstance(value, _Message):
                self.operators.update(value.texts(_NODE_OP))
            if number == _GRAPH_WEIGHTS and isinstance(value, _Message):
                self._read_weights(value)

    def _read_weights(self, tensor: _Message) -> None:
        shape: list[int] = []
        kind, name = 0, ""
        for number, value in tensor.fields():
            if number == _TENSOR_DIMS:
                shape += value.packed() if isinstance(value, _Message) else [value]
            elif number == _TENSOR_TYPE and isinstance(value, int):
                kind = value
            elif number == _TENSOR_NAME and isinstance(value, _Message):
                name = value.text()
            elif number == _TENSOR_EXTERNAL and isinstance(value, _Message):
                self.external |= value.located()
        self.weights[_NAMES.get(kind, "")] += prod(shape)
        if "position_embeddings" in name and len(shape) == 2:
            self.positions = shape[0]


@dataclass(frozen=True, slots=True)
class _Message:
    """A protobuf message that lies in a file. Raises IndexError where it is cut, ValueError for what is no
    message."""

    data: mmap.mmap
    at: int
    end: int

    def fields(self) -> Iterator[tuple[int, int | _Message]]:
        """Number and value of each field; what is neither a number nor bytes is passed over."""
        at = self.at
        while at < self.end:
            key, at = self._varint(at)
            number, kind = key >> 3, key & 7
            if kind == _VARINT:
                value, at = self._varint(at)
                yield number, value
                continue
            if kind == _BYTES:
                size, at = self._varint(at)
            elif kind in (_FIXED64, _FIXED32):
                size = 8 if kind == _FIXED64 else 4
            else:
                raise ValueError("wire type")
            if at + size > self.end:
                raise IndexError("cut")
            if kind == _BYTES:
                yield number, _Message(self.data, at, at + size)
            at += size

    def texts(self, wanted: int) -> list[str]:
        return [
            value.text() for number, value in self.fields() if number == wanted and not isinstance(value, int)
        ]

    def text(self) -> str:
        return self.data[self.at : self.end].decode()

    def located(self) -> set[str]:
        """The value of an entry whose key is `location`."""
        return set(self.texts(_ENTRY_VALUE)) if "location" in self.texts(_ENTRY_KEY) else set()

    def packed(self) -> list[int]:
        numbers, at = [], self.at
        while at < self.end:
            value, at = self._varint(at)
            numbers.append(value)
        return numbers

    def _varint(self, at: int) -> tuple[int, int]:
        value = 0
        for position in range(_MOST_VARINT_BYTES):
            if at >= self.end:
                raise IndexError("cut")
            byte = self.data[at]
            at += 1
            value |= (byte & 0x7F) << 7 * position
            if byte < 0x80:
                return value, at
        raise ValueError("varint")
