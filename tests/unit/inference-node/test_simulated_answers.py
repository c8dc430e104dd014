"""What a simulated model says: repeatable, as many answers as declared, shared with its family as declared,
and with the probabilities that it tells."""

from __future__ import annotations

from collections import Counter
from math import exp, prod

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestra_errors import InvalidRequest, Unsupported
from orchestra_inference_node.adapters.simulated.answers import AnswerTree, Fork
from orchestra_inference_node.adapters.simulated.choosing import odds
from orchestra_inference_node.adapters.simulated.declared import Answers
from orchestra_inference_node.adapters.simulated.words import Characters, bytes_of, ids_of, text_of
from orchestra_inference_node.domain.drawing import ChatMessage, Draw, Embedded, End, EndReason, Piece

from .simulated_models import draw_of, engine, text, whole
from .simulated_models import text_of as text_of_outputs

PROMPT_IDS = ids_of("def add(a, b):")


def every_answer(declared: Answers) -> Counter[str]:
    """All answers to a prompt, and how often each is a path."""
    tree = AnswerTree(declared, PROMPT_IDS, "")
    found: Counter[str] = Counter()

    def walk(fork: Fork, said: tuple[int, ...]) -> None:
        for way in fork.ways:
            now = (*said, *fork.lead, *way.tokens)
            if len(now) >= declared.tokens and way.leaves in (None, 1):
                found[text_of(now)] += 1
            else:
                walk(tree.after(way), now)

    walk(tree.root(), ())
    return found


@given(st.text())
def test_ids_give_their_text_back(said: str) -> None:
    assert text_of(ids_of(said)) == said
    characters = Characters()
    parts = [characters.feed((token,)) for token in ids_of(said)]
    assert "".join(parts) == said
    assert all("\ufffd" not in part or "\ufffd" in said for part in parts)


@pytest.mark.parametrize("answers", [1, 3, 20, 200])
def test_there_are_as_many_answers_as_declared(answers: int) -> None:
    found = every_answer(Answers("one", tokens=1, distinct=answers))
    assert len(found) == answers
    assert set(found.values()) == {1}


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 1.0])
def test_models_of_one_family_share_the_declared_share_of_their_answers(share: float) -> None:
    of = [
        set(every_answer(Answers(own, tokens=1, distinct=40, family="llama", share=share)))
        for own in ("one", "two")
    ]
    assert len(of[0] & of[1]) == 40 * share
    other = set(every_answer(Answers("one", tokens=1, distinct=40, family="qwen", share=share)))
    assert len(of[0] & other) == 40 * (1 - share), "its own are its own in any family"


def test_first_tokens_tell_the_ways_apart() -> None:
    tree = AnswerTree(Answers("one", family="llama", share=0.5), PROMPT_IDS, "")
    fork = tree.root()
    for _ in range(20):
        firsts = [way.tokens[0] for way in fork.ways]
        assert firsts == [way.first for way in fork.ways]
        assert len(set(firsts)) == len(firsts)
        fork = tree.after(fork.ways[0])


async def test_an_answer_is_its_prompts_and_its_seeds() -> None:
    first, second = engine(), engine()
    assert await text(first, 1) == await text(second, 1) == await text(engine(tokens_per_second=10**6), 1)
    assert await text(first, 1, temperature=0.0) == await text(first, 2, temperature=0.0)
    texts = {await text(first, seed) for seed in range(20)}
    assert len(texts) > 15
    assert await text(first, 1, prompt="def sub(a, b):") not in texts
    assert await text(engine(path="simulated:two"), 1) not in texts


async def test_draws_find_every_answer_and_no_other() -> None:
    model = engine(answers=6, answer_tokens=1, skew=0)
    found = Counter([await text(model, seed) for seed in range(600)])
    assert set(found) == set(every_answer(Answers("one", tokens=1, distinct=6, skew=0)))
    assert min(found.values()) > 60, "without skew all are as likely"


async def test_text_is_lines_of_code_that_tokenize_to_the_ids_given() -> None:
    model = engine(answer_tokens=60)
    (stream,) = model.generate((await draw_of(model, token_ids=True),), 60.0)
    outputs = await whole(stream)
    ids = [token for output in outputs if isinstance(output, Piece) for token in output.token_ids]
    said = text_of_outputs(outputs)
    assert ids_of("def add(a, b):" + said) == (*PROMPT_IDS, *ids)
    assert all(line.startswith("    ") for line in said.splitlines()[1:])
    end = outputs[-1]
    assert isinstance(end, End) and end.reason is EndReason.STOP
    assert end.completion_tokens == len(ids) >= 60


async def test_logprobs_are_those_with_which_the_answer_was_drawn() -> None:
    """Of two answers the likelier one is drawn as often as its logprobs say."""
    model = engine(answers=3, answer_tokens=1, skew=1.0)
    seen: dict[str, float] = {}
    found: Counter[str] = Counter()
    for seed in range(900):
        (stream,) = model.generate((await draw_of(model, seed=seed, logprobs=True),), 60.0)
        outputs = await whole(stream)
        said = text_of_outputs(outputs)
        found[said] += 1
        logprobs = [one for output in outputs if isinstance(output, Piece) for one in output.logprobs]
        seen[said] = prod(map(exp, logprobs))
    assert sum(seen.values()) == pytest.approx(1)
    for said, probability in seen.items():
        assert found[said] / 900 == pytest.approx(probability, abs=0.07)


def test_settings_work_on_the_odds_in_their_order() -> None:
    def of(weights: list[float], times: dict[int, int] | None = None, **changes: float) -> list[float]:
        draw = Draw((1,), 1, **changes)  # type: ignore[arg-type]
        found = odds(draw, list(range(10, 10 + len(weights))), weights, Counter(times or {}))
        assert sum(one.probability for one in found) == pytest.approx(1)
        return [one.probability for one in found]

    assert of([1, 3]) == pytest.approx([0.75, 0.25])
    assert of([1, 3], temperature=0.0) == [1.0]
    assert of([1, 3], temperature=0.5) == pytest.approx([0.9, 0.1])
    assert of([1, 2, 3], top_k=2) == pytest.approx([0.6, 0.4])
    assert of([1, 2, 7], top_p=0.7) == [1.0]
    assert of([1, 2, 7], top_p=0.71) == pytest.approx([7 / 9, 2 / 9])
    assert of([1, 2, 7], min_p=0.2) == pytest.approx([7 / 9, 2 / 9])
    assert of([1, 3], {11: 1}, presence_penalty=2.0)[0] == pytest.approx(1 / (1 + 3 * exp(-2)))
    assert of([1, 3], {11: 3}, frequency_penalty=1.0)[0] == pytest.approx(1 / (1 + 3 * exp(-3)))


async def test_a_token_that_is_none_is_refused() -> None:
    model = engine()
    for draw, field in (
        (Draw((10**6,), 1), "token_ids.ids"),
        (Draw(PROMPT_IDS, 1, stop_token_ids=(10**6,)), "sampling.stop_token_ids"),
    ):
        (stream,) = model.generate((draw,), 60.0)
        with pytest.raises(InvalidRequest) as refused:
            await whole(stream)
        assert [one.field for one in refused.value.violations] == [field]


async def test_a_chat_has_a_mark_for_each_turn_and_for_the_answer() -> None:
    ids = await engine().tokenize((ChatMessage("system", "add"), ChatMessage("user", "add", name="x")))
    assert [token for token in ids if not bytes_of(token)] == [1, 2, 3]
    assert text_of(ids) == "add\nx: add\n"


async def test_vectors_are_of_the_words() -> None:
    model = engine(embedding_size=64)
    one, same, other = await model.embed(("sort the list", "the list, sort", "blue sea"))
    assert all(isinstance(each, Embedded) and len(each.values) == 64 for each in (one, same, other))

    def cosine(a: Embedded, b: Embedded) -> float:
        return sum(x * y for x, y in zip(a.values, b.values, strict=True))

    assert cosine(one, one) == pytest.approx(1)
    assert cosine(one, same) > 0.8 > 0.4 > cosine(one, other)
    with pytest.raises(InvalidRequest) as refused:
        await model.embed(("fine", "word " * 5000))
    assert [each.field for each in refused.value.violations] == ["texts[1]"]
    with pytest.raises(Unsupported):
        await model.score((1,), (2,), 0)
