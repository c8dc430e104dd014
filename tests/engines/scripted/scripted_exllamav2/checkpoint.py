"""Writes a model that the scripted exllamav2 loads: real config, tokenizer and safetensors, small and
meaningless."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from scripted_exllamav2.language import BEGIN, END, SPECIAL

WORDS = (
    " the sea was calm and a small boat went out with the morning tide while old friends on shore told"
    " long stories of ships and storms then night came over the harbour and every lamp burned low until"
    " dawn rose again"
)
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message.role not in ('system', 'user', 'assistant') %}{{ raise_exception('no such role') }}"
    "{% endif %}"
    "{{ '<|assistant|>' if message.role == 'assistant' else '<|user|>' }}{{ message['content'] }}"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
LAYERS, HEADS, WIDTH, INNER = 2, 2, 64, 64


def tokenizer() -> Tokenizer:
    """Byte-level BPE: every text has tokens, those of rare letters are parts of a character."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1000,
        special_tokens=[AddedToken(one, special=True, normalized=False) for one in SPECIAL],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator([WORDS], trainer)
    return made


def write(folder: Path, *, context: int = 4096, chat: bool = True, seed: int = 0, strays: int = 0) -> Path:
    """The folder of a model with `context` tokens. See `language.Language` for `seed` and `strays`."""
    folder.mkdir(parents=True, exist_ok=True)
    speech = tokenizer()
    speech.save(str(folder / "tokenizer.json"))
    # more rows than tokens, as models have them that are padded for a kernel's sake
    vocabulary = speech.get_vocab_size() + 5
    words = sorted(speech.token_to_id(f"Ġ{word}") for word in set(WORDS.split()))
    config = {
        "architectures": ["LlamaForCausalLM"],
        "bos_token_id": BEGIN,
        "eos_token_id": END,
        "hidden_size": WIDTH,
        "intermediate_size": INNER,
        "max_position_embeddings": context,
        "num_attention_heads": HEADS,
        "num_key_value_heads": HEADS,
        "num_hidden_layers": LAYERS,
        "rms_norm_eps": 1e-5,
        "vocab_size": vocabulary,
        "torch_dtype": "float16",
        "scripted": {"words": words, "seed": seed, "strays": strays},
    }
    (folder / "config.json").write_text(json.dumps(config, indent=1))
    told = {"bos_token": SPECIAL[BEGIN], "eos_token": SPECIAL[END], "add_bos_token": True}
    (folder / "tokenizer_config.json").write_text(
        json.dumps(told | ({"chat_template": TEMPLATE} if chat else {}))
    )
    save_file(_weights(vocabulary), folder / "model.safetensors")
    return folder


def _weights(vocabulary: int) -> dict[str, torch.Tensor]:
    shapes = {
        "model.embed_tokens": (vocabulary, WIDTH),
        "model.norm": (WIDTH,),
        "lm_head": (vocabulary, WIDTH),
    }
    for layer in range(LAYERS):
        key = f"model.layers.{layer}"
        shapes |= {f"{key}.self_attn.{one}_proj": (WIDTH, WIDTH) for one in "qkvo"}
        shapes |= {f"{key}.mlp.{one}_proj": (INNER, WIDTH) for one in ("gate", "up")}
        shapes |= {f"{key}.mlp.down_proj": (WIDTH, INNER)}
        shapes |= {f"{key}.{one}_layernorm": (WIDTH,) for one in ("input", "post_attention")}
    return {f"{name}.weight": torch.full(shape, 0.01).half() for name, shape in shapes.items()}
