"""Checkpoints as the Hugging Face hub has them become folders of CTranslate2, and say the same as torch does.

Tiny random ones of the architectures of CodeT5 (T5 with RoBERTa's tokenizer) and GraphCodeBERT (RoBERTa).
"""

from __future__ import annotations

import json
import os
from contextlib import aclosing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

# nothing is asked of the hub
os.environ["HF_HUB_OFFLINE"] = "1"

import transformers
from ctranslate2.converters import TransformersConverter

from orchestra_inference_node.adapters.engines import inspect_files, open_engine
from orchestra_inference_node.domain.drawing import Draw, Piece
from orchestra_inference_node.ports import LoadSettings

TEXT = "def add(a, b):\n    return a + b"


CODET5 = ("<pad>", "<s>", "</s>", "<unk>")
ROBERTA = ("<s>", "<pad>", "</s>", "<unk>")


def tokenizer(special: tuple[str, ...]) -> Any:
    """Bytes, framed as RoBERTa frames a text. `special` in the order of their numbers."""
    tokens = [*special, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    made = Tokenizer(models.BPE({token: at for at, token in enumerate(tokens)}, [], unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.post_processor = processors.RobertaProcessing(
        ("</s>", special.index("</s>")), ("<s>", special.index("<s>"))
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>"
    )


def converted(model: Any, special: tuple[str, ...], folder: Path) -> Path:
    """What README says: the checkpoint through the converter, its tokenizer beside it."""
    checkpoint, out = folder / "checkpoint", folder / "converted"
    words = tokenizer(special)
    model.save_pretrained(checkpoint)
    words.save_pretrained(checkpoint)
    config = checkpoint / "config.json"
    # recent releases leave out what the converter looks for
    config.write_text(json.dumps(json.loads(config.read_text()) | {"position_embedding_type": "absolute"}))
    TransformersConverter(str(checkpoint)).convert(str(out))
    (out / "tokenizer.json").write_bytes((checkpoint / "tokenizer.json").read_bytes())
    return out


def opened(folder: Path) -> Any:
    assert inspect_files("ctranslate2", str(folder), {}).quantization == "F32"
    return open_engine("ctranslate2", LoadSettings("m", str(folder), None, 1, False, 1, {}, folder))


async def test_codet5_writes_and_scores_what_torch_does(tmp_path: Path) -> None:
    torch.manual_seed(3)
    size = len(tokenizer(CODET5))
    model = transformers.T5ForConditionalGeneration(
        transformers.T5Config(
            vocab_size=size,
            d_model=32,
            d_kv=8,
            d_ff=64,
            num_layers=2,
            num_heads=4,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
            decoder_start_token_id=0,
            initializer_factor=3.0,
        )
    ).eval()
    engine = opened(converted(model, CODET5, tmp_path))
    ids = await engine.tokenize(TEXT)
    source = torch.tensor([ids])
    with torch.no_grad():
        expected = model.generate(source, max_new_tokens=24, do_sample=False)[0, 1:].tolist()
    (stream,) = engine.generate((Draw(ids, 0, temperature=0, max_tokens=24, token_ids=True),), 30.0)
    whole = Piece()
    async with aclosing(stream):
        async for output in stream:
            if isinstance(output, Piece):
                whole.append(output)
    assert whole.token_ids == [token for token in expected if token != 2]
    target = await engine.tokenize("return b", special=True)
    scored = await engine.score(ids, target, 0)
    with torch.no_grad():
        logits = model(input_ids=source, decoder_input_ids=torch.tensor([[0, *target[:-1]]])).logits[0]
    likely = torch.log_softmax(logits, -1)[range(len(target)), list(target)]
    assert scored.logprobs == pytest.approx(likely.tolist(), abs=0.01)
    await engine.close()


async def test_graphcodebert_embeds_what_torch_does(tmp_path: Path) -> None:
    torch.manual_seed(4)
    model = transformers.RobertaModel(
        transformers.RobertaConfig(
            vocab_size=len(tokenizer(ROBERTA)),
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=64,
            max_position_embeddings=66,
            pad_token_id=1,
            bos_token_id=0,
            eos_token_id=2,
            type_vocab_size=1,
            layer_norm_eps=1e-5,
            initializer_range=0.3,
        )
    ).eval()
    engine = opened(converted(model, ROBERTA, tmp_path))
    texts = (TEXT, "x", "while True: pass")
    for text, one in zip(texts, await engine.embed(texts), strict=True):
        ids = await engine.tokenize(text)
        with torch.no_grad():
            states = model(torch.tensor([ids])).last_hidden_state[0].numpy()
        mean = states.mean(0)
        np.testing.assert_allclose(one.values, mean / np.linalg.norm(mean), atol=1e-4)
    await engine.close()
