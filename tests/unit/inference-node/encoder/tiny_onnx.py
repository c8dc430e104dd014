"""ONNX files written by hand: a protobuf is tags, lengths and bytes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from struct import pack

from tokenizers import Tokenizer, models, pre_tokenizers, processors

FLOAT, INT32, INT64 = 1, 6, 7
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "b", "c", "d"]
# a word is a row, so that what a text becomes can be told by hand
TABLE = [[float(row), float(row * row), 1.0] for row in range(len(WORDS))]


def number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def chunk(field: int, *parts: bytes | str) -> bytes:
    whole = b"".join(part.encode() if isinstance(part, str) else part for part in parts)
    return _varint(field << 3 | 2) + _varint(len(whole)) + whole


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def weights(name: str, rows: Sequence[Sequence[float]]) -> bytes:
    """A TensorProto of floats."""
    flat = [value for row in rows for value in row]
    shape = number(1, len(rows)) + number(1, len(rows[0]))
    return shape + number(2, FLOAT) + chunk(8, name) + chunk(9, pack(f"<{len(flat)}f", *flat))


def node(op: str, inputs: Sequence[str], outputs: Sequence[str], *attributes: bytes) -> bytes:
    parts = [chunk(1, name) for name in inputs] + [chunk(2, name) for name in outputs]
    return b"".join([*parts, chunk(4, op), *(chunk(5, one) for one in attributes)])


def whole(name: str, value: int) -> bytes:
    """An integer attribute."""
    return chunk(1, name) + number(3, value) + number(20, 2)


def wholes(name: str, value: int) -> bytes:
    """An attribute of one integer in a list."""
    return chunk(1, name) + number(8, value) + number(20, 7)


def value(name: str, kind: int, rank: int) -> bytes:
    """A ValueInfoProto whose dimensions are not known."""
    shape = b"".join(chunk(1, chunk(2, f"d{at}")) for at in range(rank))
    return chunk(1, name) + chunk(2, chunk(1, number(1, kind), chunk(2, shape)))


def model(
    nodes: Sequence[bytes],
    tensors: Sequence[bytes] = (),
    inputs: Sequence[bytes] = (),
    outputs: Sequence[bytes] = (),
    domains: Sequence[str] = (),
) -> bytes:
    graph = [chunk(1, one) for one in nodes] + [chunk(2, "graph")]
    graph += [chunk(5, one) for one in tensors]
    graph += [chunk(11, one) for one in inputs] + [chunk(12, one) for one in outputs]
    opsets = chunk(8, number(2, 17)) + b"".join(chunk(8, chunk(1, one), number(2, 1)) for one in domains)
    return number(1, 8) + chunk(7, *graph) + opsets


def encoder(kind: int = INT64, output: str = "last_hidden_state", more_inputs: Sequence[bytes] = ()) -> bytes:
    """Each token becomes its row of TABLE; a `sentence_embedding` is the largest of each column."""
    given = [value("input_ids", kind, 2), value("attention_mask", kind, 2), *more_inputs]
    nodes = [node("Gather", ["table", "input_ids"], ["states"])]
    if output == "sentence_embedding":
        nodes.append(node("ReduceMax", ["states"], [output], wholes("axes", 1), whole("keepdims", 0)))
        return model(nodes, [weights("table", TABLE)], given, [value(output, FLOAT, 2)])
    nodes.append(node("Identity", ["states"], [output]))
    return model(nodes, [weights("table", TABLE)], given, [value(output, FLOAT, 3)])


def write_tokenizer(path: Path) -> None:
    """Words by spaces, between [CLS] and [SEP]; cut at 3 and padded, as some files are that people ship."""
    tokenizer = Tokenizer(models.WordLevel({word: at for at, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.enable_truncation(3)
    tokenizer.enable_padding(length=16)
    tokenizer.save(str(path))


def write_folder(folder: Path, data: bytes | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(encoder() if data is None else data)
    write_tokenizer(folder / "tokenizer.json")
    return folder
