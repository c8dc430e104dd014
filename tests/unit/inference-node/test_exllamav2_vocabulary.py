"""Which ids end an answer, which begin a prompt, which are none: from the files that say so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, processors

from orchestra_errors import DataLoss, InvalidRequest
from orchestra_inference_node.adapters.exllamav2.folder import ModelFolder
from orchestra_inference_node.adapters.exllamav2.vocabulary import Vocabulary

WORDS = {"<s>": 0, "</s>": 1, "<end>": 2, "<turn>": 3, "a": 4, "b": 5}


def vocabulary(
    path: Path, config: dict[str, Any], *, begins: bool = False, generation: Any = None, named: Any = None
) -> Vocabulary:
    path.mkdir(parents=True, exist_ok=True)
    (path / "config.json").write_text(json.dumps(config))
    if generation is not None:
        (path / "generation_config.json").write_text(json.dumps(generation))
    (path / "tokenizer_config.json").write_text(json.dumps(named or {}))
    tokenizer = Tokenizer(models.WordLevel(WORDS, unk_token="a"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens([AddedToken(one, special=True) for one in list(WORDS)[:4]])
    if begins:
        tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return Vocabulary(tokenizer, ModelFolder(path), 8)


def test_every_file_that_names_an_end_counts(tmp_path: Path) -> None:
    """exllamav2 itself takes the first of a list in config.json alone."""
    named = {"eos_token": {"content": "<turn>"}}
    both = vocabulary(tmp_path, {"eos_token_id": [1, 2]}, generation={"eos_token_id": 2}, named=named)
    assert both.eos_tokens == {1, 2, 3}
    nested = {"text_config": {"eos_token_id": 1}, "eos_token_id": None}
    assert vocabulary(tmp_path / "n", nested, generation={"eos_token_id": [2, 3]}).eos_tokens == {1, 2, 3}


@pytest.mark.parametrize("config", [{}, {"eos_token_id": None}, {"eos_token_id": [99, -1, True, "1"]}])
def test_a_model_that_nothing_ends_is_damage(tmp_path: Path, config: dict[str, Any]) -> None:
    with pytest.raises(DataLoss, match="ends an answer"):
        vocabulary(tmp_path, config)


def test_a_prompt_begins_as_its_files_say(tmp_path: Path) -> None:
    ends = {"eos_token_id": 1}
    said = {"bos_token": "<s>"}
    assert vocabulary(tmp_path / "1", ends, named=said).encode("a b", special=True) == (4, 5)
    begun = vocabulary(tmp_path / "2", ends, named=said, begins=True)
    assert begun.encode("a b", special=True) == begun.encode("<s> a b", special=True) == (0, 4, 5)
    assert begun.encode("a b", special=False) == (4, 5) and begun.encode("", special=True) == (0,)
    told = vocabulary(tmp_path / "3", ends, named=said | {"add_bos_token": True})
    assert told.encode("a", special=True) == (0, 4)
    never = vocabulary(tmp_path / "4", ends, named=said | {"add_bos_token": False}, begins=True)
    assert never.encode("a", special=True) == (4,)
    assert vocabulary(tmp_path / "5", ends).encode("a", special=True) == (4,)


def test_special_tokens_have_no_text_and_a_name(tmp_path: Path) -> None:
    told = vocabulary(tmp_path, {"eos_token_id": 1})
    assert told.decode([0, 4, 2]) == "a" and told.text_of(2) == "<end>"
    assert (told.special_id("<end>"), told.special_id("a"), told.special_id("")) == (2, None, None)


def test_what_the_model_does_not_have_is_named(tmp_path: Path) -> None:
    told = vocabulary(tmp_path, {"eos_token_id": 1})
    told.check((0, 7), "x")
    for beyond in (-1, 8):
        with pytest.raises(InvalidRequest, match=f"x: {beyond} is no token"):
            told.check((0, beyond), "x")
