"""CodeT5 and GraphCodeBERT in small: the same architectures with random weights, written without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from ctranslate2.specs import common_spec, transformer_spec
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

WORDS = [
    "def",
    "return",
    "if",
    "else",
    "for",
    "in",
    "not",
    "and",
    "or",
    "x",
    "y",
    "z",
    "f",
    "g",
    "0",
    "1",
    "2",
    "+",
    "-",
    "*",
    "/",
    "=",
    "==",
    "(",
    ")",
    ":",
    ",",
]
TOKENS = ["<pad>", "<s>", "</s>", "<unk>", *WORDS, *(f"w{at}" for at in range(20))]
PAD, BEGIN, END = 0, 1, 2
WIDTH, HEADS, INNER, LAYERS = 16, 2, 32, 2
POSITIONS = 40
Random = np.random.Generator


def _weights(random: Random, *shape: int, scale: float = 0.5) -> Any:
    return random.normal(0, scale, shape).astype(np.float32)


def _linear(spec: Any, random: Random, outputs: int, inputs: int, *, bias: bool) -> None:
    spec.weight = _weights(random, outputs, inputs)
    if bias:
        spec.bias = _weights(random, outputs, scale=0.1)


def _norm(spec: Any, random: Random, *, bias: bool) -> None:
    spec.gamma = (1 + _weights(random, WIDTH, scale=0.1)).astype(np.float32)
    if bias:
        spec.beta = _weights(random, WIDTH, scale=0.1)


def _attention(
    spec: Any, random: Random, *, cross: bool = False, bias: bool = False, norm: bool = True
) -> None:
    if cross:
        _linear(spec.linear[0], random, WIDTH, WIDTH, bias=bias)
        _linear(spec.linear[1], random, 2 * WIDTH, WIDTH, bias=bias)
    else:
        _linear(spec.linear[0], random, 3 * WIDTH, WIDTH, bias=bias)
    _linear(spec.linear[-1], random, WIDTH, WIDTH, bias=bias)
    if norm:
        _norm(spec.layer_norm, random, bias=bias)


def _feed_forward(spec: Any, random: Random, *, bias: bool) -> None:
    _linear(spec.linear_0, random, INNER, WIDTH, bias=bias)
    _linear(spec.linear_1, random, WIDTH, INNER, bias=bias)
    _norm(spec.layer_norm, random, bias=bias)


def write_tokenizer(folder: Path) -> None:
    """Words by spaces, as RoBERTa's tokenizers frame a text: <s> … </s>."""
    tokenizer = Tokenizer(models.WordLevel({word: at for at, word in enumerate(TOKENS)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.decoder = decoders.WordPiece(prefix="@@", cleanup=False)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", BEGIN), ("</s>", END)]
    )
    tokenizer.add_special_tokens(["<pad>", "<s>", "</s>"])
    tokenizer.save(str(folder / "tokenizer.json"))


def write_byte_tokenizer(folder: Path) -> list[str]:
    """A token is a byte, as the rarest texts are for CodeT5's own tokenizer. Gives the tokens."""
    tokens = ["<pad>", "<s>", "</s>", "<unk>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokenizer = Tokenizer(models.BPE({token: at for at, token in enumerate(tokens)}, [], unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", BEGIN), ("</s>", END)]
    )
    tokenizer.add_special_tokens(["<pad>", "<s>", "</s>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    return tokens


def write_codet5(
    folder: Path, *, seed: int = 42, quantization: str | None = None, endless: bool = False
) -> Path:
    """T5: relative positions, RMS norms, no biases, one table of embeddings for all.

    `endless`: its tokens are bytes, and it is kept from what is no ASCII and from ending its answer.
    """
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    spec = transformer_spec.TransformerSpec.from_config(
        (LAYERS, LAYERS),
        HEADS,
        pre_norm=True,
        activation=common_spec.Activation.RELU,
        relative_attention_bias=True,
        rms_norm=True,
    )
    tokens = write_byte_tokenizer(folder) if endless else TOKENS
    table = _weights(random, len(tokens), WIDTH, scale=1.0)
    for stack, decodes in ((spec.encoder, False), (spec.decoder, True)):
        embeddings = stack.embeddings if decodes else stack.embeddings[0]
        embeddings.weight = table
        stack.scale_embeddings = False
        _norm(stack.layer_norm, random, bias=False)
        near = _weights(random, 8, HEADS)
        for layer in stack.layer:
            _attention(layer.self_attention, random)
            layer.self_attention.queries_scale = 1.0
            layer.self_attention.relative_attention_bias = near
            layer.self_attention.relative_attention_max_distance = np.dtype("int32").type(16)
            if decodes:
                _attention(layer.attention, random, cross=True)
                layer.attention.queries_scale = 1.0
            _feed_forward(layer.ffn, random, bias=False)
    spec.decoder.projection.weight = table
    spec.decoder.scale_outputs = WIDTH**-0.5
    if endless:
        kept = [len(token) == 1 and " " < token < "\x7f" for token in tokens]
        spec.decoder.projection.bias = np.where(kept, 0, -1e4).astype(np.float32)
    spec.register_source_vocabulary(tokens)
    spec.register_target_vocabulary(tokens)
    spec.config.bos_token = spec.config.decoder_start_token = "<pad>"
    spec.config.eos_token, spec.config.unk_token = "</s>", "<unk>"
    spec.validate()
    spec.optimize(quantization=quantization)
    spec.save(str(folder))
    if not endless:
        write_tokenizer(folder)
    return folder


def write_graphcodebert(folder: Path, *, seed: int = 0) -> Path:
    """RoBERTa: learned positions, post-norm, GELU, biases, a pooling layer that nobody trained for a task."""
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    encoder = transformer_spec.TransformerEncoderSpec(
        LAYERS,
        HEADS,
        pre_norm=False,
        activation=common_spec.Activation.GELU,
        layernorm_embedding=True,
        num_source_embeddings=2,
        embeddings_merge=common_spec.EmbeddingsMerge.ADD,
    )
    spec = transformer_spec.TransformerEncoderModelSpec(encoder, pooling_layer=True)
    encoder.scale_embeddings = False
    encoder.embeddings[0].weight = _weights(random, len(TOKENS), WIDTH, scale=1.0)
    encoder.embeddings[1].weight = _weights(random, 1, WIDTH)
    encoder.position_encodings.encodings = _weights(random, POSITIONS, WIDTH)
    _norm(encoder.layernorm_embedding, random, bias=True)
    _linear(spec.pooler_dense, random, WIDTH, WIDTH, bias=True)
    for layer in encoder.layer:
        _attention(layer.self_attention, random, bias=True)
        _feed_forward(layer.ffn, random, bias=True)
    spec.register_vocabulary(TOKENS)
    spec.config.unk_token = "<unk>"
    spec.config.layer_norm_epsilon = 1e-5
    spec.validate()
    spec.save(str(folder))
    write_tokenizer(folder)
    return folder
