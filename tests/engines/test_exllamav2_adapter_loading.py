"""Loads of the exllamav2 adapter: devices, progress, what is refused, what is told of itself."""

from __future__ import annotations

from pathlib import Path

import pytest
from adapter_engines import CARD, draw, opened, settings
from scripted_exllamav2 import cards, checkpoint

from orchestra_errors import DataLoss, FailedPrecondition, InsufficientMemory, InvalidRequest
from orchestra_inference_node.adapters.engines import installed_engines, memory_needed, open_engine
from orchestra_inference_node.ports import EngineDevice, LoadMoved

TWO = (CARD, EngineDevice("gpu-1", "cuda", 1))


def test_it_is_there() -> None:
    assert "exllamav2" in installed_engines()


async def test_progress_is_told_in_layers_and_bytes(model_folder: Path) -> None:
    moves: list[LoadMoved] = []
    async with opened(model_folder, moved=moves.append):
        assert (moves[0].layers_done, moves[0].bytes_done) == (0, 0)
        for name in ("layers", "bytes"):
            done = [getattr(one, f"{name}_done") for one in moves]
            assert done == sorted(done) and len(set(done)) > 2
            assert {getattr(one, f"{name}_total") for one in moves} == {done[-1]}
        assert moves[-1].layers_total == checkpoint.LAYERS


async def test_a_draft_model_counts_as_well(model_folder: Path, tmp_path: Path) -> None:
    moves: list[LoadMoved] = []
    draft = checkpoint.write(tmp_path / "draft")
    async with opened(model_folder, moved=moves.append, draft_model=str(draft)):
        assert moves[-1].layers_done == moves[-1].layers_total == 2 * checkpoint.LAYERS
        layers = [one.layers_done or 0 for one in moves]
        assert layers == sorted(layers)


async def test_what_one_card_cannot_hold_goes_on_to_the_next(
    model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    monkeypatch.setattr(cards, "BYTES", 150_000)
    async with opened(model_folder, devices=TWO) as engine:
        assert (await draw(engine, "<|say|>calm<|done|>")).text == "calm"
        assert cards.held[1] > 0 and cards.held[0] + cards.held[1] > cards.BYTES
    assert not any(cards.held.values())


async def test_a_split_is_obeyed_and_names_each_device(
    model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    async with opened(model_folder, devices=TWO, gpu_split="0.001,8") as engine:
        assert (await draw(engine, "<|say|>calm<|done|>")).text == "calm"
        assert cards.held[0] == 0 < cards.held[1], "the first has no room for what a layer computes in"
    with pytest.raises(InvalidRequest, match="gpu_split"):
        open_engine("exllamav2", settings(model_folder, gpu_split="8,8"))


def test_what_was_loaded_before_it_did_not_fit_is_given_back(
    model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not any(cards.held.values())
    monkeypatch.setattr(cards, "BYTES", 100_000)
    with pytest.raises(InsufficientMemory) as refused:
        open_engine("exllamav2", settings(model_folder))
    needed = memory_needed("exllamav2", settings(model_folder))
    assert f"{needed} bytes" in refused.value.message and "100000 bytes are free" in refused.value.message
    assert not any(cards.held.values())


async def test_what_it_is_told_of_itself(model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(model_folder, slots=3, context=500) as paged:
        assert "paged attention" in paged.facts.build and "without" not in paged.facts.build
        assert (paged.facts.slots, paged.facts.context_tokens, paged.facts.missing_sampling) == (3, 500, ())
        assert not paged.facts.deterministic_seed, "on a card the order of its sums is not fixed"
    monkeypatch.setattr(cards, "CAPABILITY", (7, 5))
    async with opened(model_folder, slots=3) as old:
        assert old.facts.slots == 1 and "without paged attention" in old.facts.build
        assert (await draw(old, "<|say|>calm<|done|>")).text == "calm"
    # what the operator says is obeyed
    async with opened(model_folder, slots=3, paged="true") as told:
        assert told.facts.slots == 3
    async with opened(model_folder, slots=3, flash_attention="false") as without:
        assert without.facts.slots == 1


async def test_sizes_that_are_not_given_are_the_models(tmp_path: Path) -> None:
    small = checkpoint.write(tmp_path / "small", context=700)
    async with opened(small, slots=None, context=None) as engine:
        assert (engine.facts.slots, engine.facts.context_tokens) == (8, 700)
        full = await draw(engine, "Go on")
        assert full.end.prompt_tokens + full.end.completion_tokens == 700


async def test_devices_that_are_no_cuda_are_refused(model_folder: Path) -> None:
    for devices in ((), (EngineDevice("cpu", "cpu"),)):
        with pytest.raises(FailedPrecondition, match="CUDA"):
            open_engine("exllamav2", settings(model_folder, devices=devices))


async def test_a_draft_of_another_vocabulary_is_refused(model_folder: Path, tmp_path: Path) -> None:
    other = checkpoint.write(tmp_path / "other")
    config = other / "config.json"
    config.write_text(config.read_text().replace('"vocab_size": ', '"vocab_size": 1'))
    with pytest.raises(InvalidRequest, match="another vocabulary"):
        open_engine("exllamav2", settings(model_folder, draft_model=str(other)))


async def test_a_broken_template_is_damage_and_none_is_no_chat(tmp_path: Path) -> None:
    silent = checkpoint.write(tmp_path / "silent", chat=False)
    async with opened(silent) as engine:
        assert not engine.facts.chat
    (silent / "chat_template.jinja").write_text("{% for %}")
    with pytest.raises(DataLoss, match="template"):
        open_engine("exllamav2", settings(silent))


def test_the_memory_is_known_before(model_folder: Path) -> None:
    weights = (model_folder / "model.safetensors").stat().st_size
    numbers = checkpoint.LAYERS * checkpoint.WIDTH
    assert memory_needed("exllamav2", settings(model_folder)) == weights + (4 * 1024 + 256) * numbers * 4
