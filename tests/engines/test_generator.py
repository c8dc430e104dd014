"""The real dynamic generator over a scripted model: its scheduler, page table, stops and recovery run as on
a GPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from exllamav2 import ExLlamaV2, ExLlamaV2Cache_Q4, ExLlamaV2Config, ExLlamaV2Tokenizer
from exllamav2.generator import ExLlamaV2DynamicGenerator, ExLlamaV2DynamicJob, ExLlamaV2Sampler

Generator = ExLlamaV2DynamicGenerator


@pytest.fixture
def generator(model_folder: Path) -> Iterator[Generator]:
    """Eight slots over a pool of 4,096 tokens in sixteen pages."""
    config = ExLlamaV2Config(str(model_folder))
    model = ExLlamaV2(config)
    cache = ExLlamaV2Cache_Q4(model, max_seq_len=4096, lazy=True)
    model.load_autosplit(cache)
    tokenizer = ExLlamaV2Tokenizer(config)
    yield Generator(model, cache, tokenizer, max_batch_size=8, max_chunk_size=512)
    model.unload()


def job(generator: Generator, prompt: str, tokens: int = 40, **settings: Any) -> ExLlamaV2DynamicJob:
    ids = generator.tokenizer.encode(prompt, encode_special_tokens=True)
    greedy = ExLlamaV2Sampler.Settings(
        temperature=settings.pop("temperature", 0.0), top_k=0, top_p=1.0, token_repetition_penalty=1.0
    )
    stops = [generator.tokenizer.eos_token_id, *settings.pop("stop", [])]
    return ExLlamaV2DynamicJob(
        input_ids=ids, max_new_tokens=tokens, gen_settings=greedy, stop_conditions=stops, **settings
    )


def run(generator: Generator, jobs: list[ExLlamaV2DynamicJob]) -> list[dict[str, Any]]:
    """The last result of each job."""
    generator.enqueue(jobs)
    ends: dict[int, dict[str, Any]] = {}
    while generator.num_remaining_jobs():
        ends |= {id(one["job"]): one for one in generator.iterate() if one["eos"]}
    return [ends[id(one)] for one in jobs]


def free_pages(generator: Generator) -> int:
    return len(generator.unreferenced_pages)


def test_a_batch_gives_each_job_what_it_gives_alone(generator: Generator) -> None:
    """The next token follows from what the cache holds, so a page that two jobs mixed up would show."""
    prompts = [f"{'A boat went out. ' * n} and then" for n in range(8)]
    alone = [run(generator, [job(generator, prompt)])[0]["full_completion"] for prompt in prompts]
    generator.reset_page_table()
    together = run(generator, [job(generator, prompt) for prompt in prompts])
    assert [end["full_completion"] for end in together] == alone
    assert len(set(alone)) == 8
    assert free_pages(generator) == 16


@pytest.mark.parametrize(
    ("prompt", "stop", "reason", "text"),
    [
        ("<|say|>calm sea, 日本<|done|>", [], "stop_token", "calm sea, 日本"),
        ("<|say|>calm sea, old ships<|done|>", ["old"], "stop_string", "calm sea, "),
        ("<|say|>calm sea, old ships<|done|>", ["mast"], "stop_token", "calm sea, old ships"),
    ],
)
def test_ends(generator: Generator, prompt: str, stop: list[str], reason: str, text: str) -> None:
    """The reasons that the adapter translates."""
    end = run(generator, [job(generator, prompt, stop=stop)])[0]
    assert (end["eos_reason"], end["full_completion"]) == (reason, text)


def test_max_tokens_ends(generator: Generator) -> None:
    end = run(generator, [job(generator, "Go on", tokens=5)])[0]
    assert (end["eos_reason"], end["new_tokens"]) == ("max_new_tokens", 5)


def test_one_prompt_is_computed_once_for_all_that_share_it(generator: Generator) -> None:
    """Full pages are shared by reference, and the rest of the prompt is copied from the first that has it."""
    prompt = "The morning tide. " * 60
    ends = run(generator, [job(generator, prompt, seed=n, temperature=1.0) for n in range(8)])
    tokens = ends[0]["prompt_tokens"]
    computed = sum(tokens - end["cached_tokens"] for end in ends)
    assert len({end["full_completion"] for end in ends}) == 8
    assert 0.9 * tokens <= computed <= 1.1 * tokens


def test_a_cancelled_job_leaves_its_pages_and_nothing_else(generator: Generator) -> None:
    kept, gone = job(generator, "Stay", tokens=30), job(generator, "Leave", tokens=1000)
    generator.enqueue([kept, gone])
    for _ in range(10):
        generator.iterate()
    generator.cancel(gone)
    ends = [one for _ in range(30) for one in generator.iterate() if one["eos"]]
    assert [one["job"] for one in ends] == [kept]
    assert free_pages(generator) == 16


def test_a_new_generator_serves_after_a_forward_that_failed(
    generator: Generator, before_forward: list[Callable[[int, int], None]]
) -> None:
    """Pages of a generator that raised are lost to it; the model and its cache are not."""
    generator.enqueue(job(generator, "<|fail|>", tokens=9))
    with pytest.raises(RuntimeError, match="CUDA error"):
        while generator.num_remaining_jobs():
            generator.iterate()
    again = Generator(
        generator.model, generator.cache, generator.tokenizer, max_batch_size=8, max_chunk_size=512
    )
    end = run(again, [job(again, "<|say|>calm<|done|>")])[0]
    assert end["full_completion"] == "calm"


def test_a_draft_that_strays_changes_no_token(generator: Generator, tmp_path: Path) -> None:
    """What is drafted wrongly is rejected, and its place in the cache used again."""
    from scripted_exllamav2 import checkpoint

    config = ExLlamaV2Config(str(checkpoint.write(tmp_path / "draft", strays=3)))
    draft = ExLlamaV2(config)
    draft_cache = ExLlamaV2Cache_Q4(draft, max_seq_len=4096, lazy=True)
    draft.load_autosplit(draft_cache)
    drafted = Generator(
        *(generator.model, generator.cache, generator.tokenizer),
        max_batch_size=8,
        max_chunk_size=512,
        draft_model=draft,
        draft_cache=draft_cache,
        num_draft_tokens=4,
    )
    prompts = ["A small boat", "Old friends"]
    plain = [end["full_completion"] for end in run(generator, [job(generator, one, 64) for one in prompts])]
    ends = run(drafted, [job(drafted, one, 68) for one in prompts])
    for end, text in zip(ends, plain, strict=True):
        assert end["full_completion"].startswith(text) or text.startswith(end["full_completion"])
        assert end["accepted_draft_tokens"] > 0
        assert end["rejected_draft_tokens"] > 0
    draft.unload()


def test_logits_of_a_whole_text_are_those_that_drew_it(generator: Generator) -> None:
    """Scoring forwards a text at once; drawing forwards it token by token."""
    end = run(generator, [job(generator, "A calm night", tokens=12)])[0]
    ids = generator.tokenizer.encode("A calm night" + end["full_completion"])
    logits = generator.model.forward(ids)
    assert logits.shape == (1, ids.shape[1], generator.padded_vocab_size)
    prompt = generator.tokenizer.encode("A calm night").shape[1]
    assert torch.equal(logits[0, prompt - 1 : -1].argmax(-1), ids[0, prompt:])
