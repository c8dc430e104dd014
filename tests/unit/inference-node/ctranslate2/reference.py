"""The two architectures computed by hand from the stored weights: nothing of CTranslate2 but its file."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from math import erf, log, sqrt
from pathlib import Path
from typing import Any

import numpy as np

_KINDS = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32}
Weights = dict[str, Any]


def read_weights(path: Path) -> Weights:
    data, at = path.read_bytes(), 4

    def number(kind: str) -> int:
        nonlocal at
        (value,) = struct.unpack_from(f"<{kind}", data, at)
        at += struct.calcsize(f"<{kind}")
        return int(value)

    def text() -> str:
        nonlocal at
        size = number("H")
        at += size
        return data[at - size : at - 1].decode()

    text(), number("I")
    out: Weights = {}
    for _ in range(number("I")):
        name = text()
        shape = [number("I") for _ in range(number("B"))]
        kind, size = _KINDS[number("B")], number("I")
        out[name] = np.frombuffer(data[at : at + size], kind).reshape(shape)
        at += size
    for _ in range(number("I")):
        alias, name = text(), text()
        out[alias] = out[name]
    return out


class Reference:
    """`heads` as the model has; states are [tokens, width]."""

    def __init__(self, folder: Path, heads: int) -> None:
        self.weights = read_weights(folder / "model.bin")
        self.heads = heads

    def linear(self, name: str, x: Any) -> Any:
        y = x @ self.weights[f"{name}/weight"].T
        return y + self.weights[f"{name}/bias"] if f"{name}/bias" in self.weights else y

    def attend(self, q: Any, k: Any, v: Any, scale: float, bias: Any = 0.0) -> Any:
        def split(x: Any) -> Any:
            return x.reshape(len(x), self.heads, -1).transpose(1, 0, 2)

        scores = split(q) @ split(k).transpose(0, 2, 1) * scale + bias
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        mixed = scores / scores.sum(-1, keepdims=True) @ split(v)
        return mixed.transpose(1, 0, 2).reshape(len(q), -1)


class Roberta(Reference):
    """States behind the last layer."""

    def norm(self, name: str, x: Any) -> Any:
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
        return scaled * self.weights[f"{name}/gamma"] + self.weights[f"{name}/beta"]

    def states(self, ids: Sequence[int]) -> Any:
        w = self.weights
        x = w["encoder/embeddings_0/weight"][list(ids)] + w["encoder/embeddings_1/weight"][0]
        x = x + w["encoder/position_encodings/encodings"][: len(ids)]
        x = self.norm("encoder/layernorm_embedding", x)
        layer = 0
        while f"encoder/layer_{layer}/ffn/linear_0/weight" in w:
            name = f"encoder/layer_{layer}"
            q, k, v = np.split(self.linear(f"{name}/self_attention/linear_0", x), 3, axis=-1)
            mixed = self.attend(q, k, v, 1 / sqrt(q.shape[1] / self.heads))
            mixed = self.linear(f"{name}/self_attention/linear_1", mixed)
            x = self.norm(f"{name}/self_attention/layer_norm", x + mixed)
            inner = self.linear(f"{name}/ffn/linear_0", x)
            inner = 0.5 * inner * (1 + np.vectorize(erf)(inner / sqrt(2)))
            x = self.norm(f"{name}/ffn/layer_norm", x + self.linear(f"{name}/ffn/linear_1", inner))
            layer += 1
        return x


class T5(Reference):
    """Logprobs of what may follow."""

    def norm(self, name: str, x: Any) -> Any:
        scaled = x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6)
        return scaled * self.weights[f"{name}/gamma"]

    def distances(self, stack: str, length: int) -> Any:
        """Bias by how far apart two places are [heads, length, length]."""
        table = self.weights[f"{stack}/layer_0/self_attention/relative_attention_bias"]
        most = int(self.weights[f"{stack}/layer_0/self_attention/relative_attention_max_distance"])
        both_ways = stack == "encoder"
        buckets = len(table) // 2 if both_ways else len(table)
        out = np.zeros((length, length), int)
        for here in range(length):
            for there in range(length):
                far = there - here
                offset = buckets if both_ways and far > 0 else 0
                far = abs(far) if both_ways else max(0, -far)
                exact = buckets // 2
                if far >= exact:
                    steps = log(far / exact) / log(most / exact) * (buckets - exact)
                    far = min(exact + int(steps), buckets - 1)
                out[here, there] = offset + far
        return table[out].transpose(2, 0, 1)

    def stack(self, name: str, ids: Sequence[int], seen: Any = None) -> Any:
        w = self.weights
        table = "encoder/embeddings_0/weight" if name == "encoder" else "decoder/embeddings/weight"
        x = w[table][list(ids)]
        bias = self.distances(name, len(ids))
        if seen is not None:
            bias = bias + np.triu(np.full((len(ids), len(ids)), -1e9), 1)
        layer = 0
        while f"{name}/layer_{layer}/ffn/linear_0/weight" in w:
            at = f"{name}/layer_{layer}"
            normed = self.norm(f"{at}/self_attention/layer_norm", x)
            q, k, v = np.split(self.linear(f"{at}/self_attention/linear_0", normed), 3, axis=-1)
            x = x + self.linear(f"{at}/self_attention/linear_1", self.attend(q, k, v, 1.0, bias))
            if seen is not None:
                q = self.linear(f"{at}/attention/linear_0", self.norm(f"{at}/attention/layer_norm", x))
                k, v = np.split(self.linear(f"{at}/attention/linear_1", seen), 2, axis=-1)
                x = x + self.linear(f"{at}/attention/linear_2", self.attend(q, k, v, 1.0))
            inner = np.maximum(self.linear(f"{at}/ffn/linear_0", self.norm(f"{at}/ffn/layer_norm", x)), 0)
            x = x + self.linear(f"{at}/ffn/linear_1", inner)
            layer += 1
        return self.norm(f"{name}/layer_norm", x)

    def logprobs(self, source: Sequence[int], target: Sequence[int], begin: int = 0) -> Any:
        """[tokens of the target and one more, vocabulary]."""
        out = self.stack("decoder", [begin, *target], self.stack("encoder", source))
        logits = out * out.shape[1] ** -0.5 @ self.weights["decoder/projection/weight"].T
        shifted = logits - logits.max(-1, keepdims=True)
        return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
