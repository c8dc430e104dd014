"""exllamav2's own config, tokenizer, caches and settings on CPU torch: what the adapter counts on is so."""

from __future__ import annotations

import dataclasses
from collections import Counter
from importlib.metadata import version
from pathlib import Path

import exllamav2
import pytest
import torch
from exllamav2 import ExLlamaV2, ExLlamaV2Config, ExLlamaV2Tokenizer
from exllamav2.generator import ExLlamaV2DynamicGenerator, ExLlamaV2Sampler
from scripted_exllamav2.language import BEGIN, END


def limited(folder: Path, tokens: int) -> ExLlamaV2Config:
    """Loading forwards `max_input_len` tokens once, which the cache must hold."""
    config = ExLlamaV2Config(str(folder))
    config.max_seq_len = config.max_input_len = tokens
    return config


def test_the_package_is_what_pip_installed(model_folder: Path) -> None:
    """Only the extension, torch's cards and the layers' arithmetic are scripted; all else is the
    package's."""
    assert version("exllamav2") == "0.3.2"
    assert "site-packages" in (exllamav2.__file__ or "")
    assert "site-packages" in ExLlamaV2DynamicGenerator.iterate.__code__.co_filename


def test_config_reads_the_folder(model_folder: Path) -> None:
    """The limits that a node sets are read from here before any weight is."""
    config = ExLlamaV2Config(str(model_folder))
    assert (config.max_seq_len, config.eos_token_id, config.bos_token_id) == (4096, END, BEGIN)
    assert (config.max_batch_size, config.max_input_len, config.no_flash_attn) == (1, 2048, False)


def test_tokenizer_is_byte_level_and_knows_its_special_tokens(model_folder: Path) -> None:
    """Text comes back as it was, also what takes several tokens a letter."""
    tokenizer = ExLlamaV2Tokenizer(ExLlamaV2Config(str(model_folder)))
    text = "naïve 日本 🛶 boats"
    ids = tokenizer.encode(f"<|begin|>{text}", encode_special_tokens=True)
    assert ids[0, 0] == BEGIN
    assert tokenizer.decode(ids)[0].endswith(text)
    # a part of a letter is no text of its own
    assert any("\ufffd" in tokenizer.get_id_to_piece_list()[token] for token in ids[0].tolist())


@pytest.mark.parametrize(
    "kind", ["ExLlamaV2Cache", "ExLlamaV2Cache_Q8", "ExLlamaV2Cache_Q6", "ExLlamaV2Cache_Q4"]
)
def test_caches_are_made_for_as_many_tokens_as_they_are_told(model_folder: Path, kind: str) -> None:
    """Lazily, as `load_autosplit` wants them, and filled in while the layers load."""
    model = ExLlamaV2(limited(model_folder, 1024))
    cache = getattr(exllamav2, kind)(model, max_seq_len=1024, lazy=True)
    assert cache.key_states == [None, None]
    told: list[tuple[int, int]] = []
    model.load_autosplit(cache, callback=lambda done, total: told.append((done, total)))
    assert [states.shape[1] for states in cache.key_states] == [1024, 1024]
    assert told == [(done, 7) for done in range(8)]
    model.unload()


def test_no_default_setting_of_the_sampler_is_trusted(model_folder: Path) -> None:
    """They are far from neutral, so an adapter that leaves one out changes every answer."""
    defaults = {field.name: field.default for field in dataclasses.fields(ExLlamaV2Sampler.Settings)}
    assert defaults["temperature"] == 0.8
    assert defaults["top_k"] == 50
    assert defaults["top_p"] == 0.8
    assert defaults["token_repetition_penalty"] == 1.025


def test_more_than_a_card_holds_is_out_of_memory(model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine's own autosplit goes to the next card, and says so when there is none."""
    from scripted_exllamav2 import cards

    monkeypatch.setattr(cards, "BYTES", 50_000)
    monkeypatch.setattr(cards, "held", Counter())
    model = ExLlamaV2(limited(model_folder, 256))
    cache = exllamav2.ExLlamaV2Cache(model, max_seq_len=256, lazy=True)
    with pytest.raises(RuntimeError, match="Insufficient VRAM"):
        model.load_autosplit(cache)
    monkeypatch.setenv("SCRIPTED_CARDS", "9")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(cards, "held", Counter())
    model = ExLlamaV2(limited(model_folder, 256))
    cache = exllamav2.ExLlamaV2Cache(model, max_seq_len=256, lazy=True)
    model.load_autosplit(cache)
    assert len({module.device_idx for module in model.modules}) > 2
    model.unload()
    assert not any(cards.held.values())
    assert torch.cuda.mem_get_info(0) == (50_000, 50_000)
