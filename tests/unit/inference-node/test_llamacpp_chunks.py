"""What the engine streams is read as it is: tokens, counts, ends, errors."""

from __future__ import annotations

import math
from typing import Any

import pytest

from orchestra_errors import DataLoss, InvalidRequest, Unavailable
from orchestra_inference_node.adapters.llamacpp.chunks import ChunkReader
from orchestra_inference_node.adapters.llamacpp.request import completion_request, forks
from orchestra_inference_node.domain.drawing import Draw, End, EndReason, Piece, Prefill


def chunk(**said: Any) -> dict[str, Any]:
    return {"stop": False} | said


def token(text: str, token_id: int, predicted: int, **more: Any) -> dict[str, Any]:
    return chunk(content=text, tokens=[token_id], tokens_predicted=predicted, tokens_evaluated=3, **more)


def end(kind: str, predicted: int, word: str = "") -> dict[str, Any]:
    return chunk(
        stop=True, stop_type=kind, stopping_word=word, tokens_predicted=predicted, tokens_evaluated=3
    )


def reader(**draw: Any) -> ChunkReader:
    stops = draw.pop("stop_texts", {})
    return ChunkReader(Draw((1, 2, 3), seed=1, **draw), "m", stops)


def test_progress_tokens_and_the_end_with_the_engines_counts() -> None:
    read = reader(token_ids=True, max_tokens=5)
    progress = {"total": 3, "cache": 2, "processed": 3, "time_ms": 1}
    assert read.read(chunk(prompt_progress=progress, tokens=[0])) == [Prefill(3, 3, 2)]
    assert read.read(token("a", 7, 1)) == [Piece("a", [7], tokens=1)]
    assert not read.ended
    assert read.read(end("eos", 2)) == [End(EndReason.STOP, "", 3, 2, 2)]
    assert read.ended


@pytest.mark.parametrize(
    ("kind", "predicted", "limit", "reason"),
    [
        ("eos", 2, 5, EndReason.STOP),
        ("word", 2, 5, EndReason.STOP_SEQUENCE),
        ("limit", 5, 5, EndReason.MAX_TOKENS),
        ("limit", 4, 5, EndReason.CONTEXT_FULL),
        ("limit", 4, None, EndReason.CONTEXT_FULL),
    ],
)
def test_the_end_says_truthfully_why(kind: str, predicted: int, limit: int | None, reason: EndReason) -> None:
    (found,) = reader(max_tokens=limit).read(end(kind, predicted))
    assert isinstance(found, End)
    assert found.reason is reason


def test_logprobs_are_natural_and_one_per_token() -> None:
    entry = {"id": 7, "token": "a", "prob": 0.5, "top_probs": [{"id": 7, "token": "a", "prob": 0.5}] * 3}
    (piece,) = reader(logprobs=True, top_logprobs=2).read(token("a", 7, 1, completion_probabilities=[entry]))
    assert isinstance(piece, Piece)
    assert piece.logprobs == [pytest.approx(math.log(0.5))]
    assert piece.top[0].token_ids == (7, 7)


def test_a_probability_that_a_float_shows_as_nothing_stays_finite() -> None:
    entry = {"id": 7, "token": "a", "prob": 0.0, "top_probs": []}
    (piece,) = reader(logprobs=True).read(token("a", 7, 1, completion_probabilities=[entry]))
    assert isinstance(piece, Piece)
    assert -100 < piece.logprobs[0] < -80


def test_a_stop_token_ends_the_answer_before_its_own_text() -> None:
    read = reader(stop_token_ids=(9,), stop_texts={9: "."}, token_ids=True)
    piece, ended = read.read(token("b.", 9, 1))
    assert piece == Piece("b", [9], tokens=1)
    assert isinstance(ended, End)
    assert (ended.reason, ended.stop_matched) == (EndReason.STOP_SEQUENCE, ".")


def test_tokens_that_the_engine_kept_to_itself_are_counted_and_never_invented() -> None:
    (piece,) = reader().read(token("🦊", 228, 3))
    assert isinstance(piece, Piece)
    assert (piece.text, piece.tokens) == ("🦊", 3)
    with pytest.raises(DataLoss):
        reader(token_ids=True).read(token("🦊", 228, 3))


def test_tokens_of_a_server_that_tells_no_ids_are_counted() -> None:
    said = chunk(content="ab", tokens_predicted=2, tokens_evaluated=3)
    assert reader().read(said) == [Piece("ab", tokens=2)]


def test_errors_become_kinds() -> None:
    bad = {"error": {"code": 400, "message": "failed to parse grammar", "type": "invalid_request_error"}}
    refused = reader(grammar="(").error(bad["error"])
    assert isinstance(refused, InvalidRequest)
    assert refused.violations[0].field == "sampling.grammar"
    assert isinstance(reader().error({"code": 500, "message": "decode failed"}), Unavailable)


def test_every_sampling_field_is_set_in_the_engines_words() -> None:
    draw = Draw((1,), seed=2**31 - 1, temperature=0.5, top_k=3, max_tokens=2**40, stop=("x",))
    request = completion_request(draw, {}, 512)
    assert request["seed"] == 2**31 - 1
    assert request["n_predict"] == 511, "the context bounds it"
    assert (request["temperature"], request["top_k"], request["stop"]) == (0.5, 3, ["x"])
    assert (request["repeat_last_n"], request["n_probs"]) == (512, 0)


@pytest.mark.parametrize(
    ("seeds", "stops", "shared"),
    [((5, 6, 7), (), True), ((5, 7), (), False), ((5, 6), (9,), False), ((5,), (), False)],
)
def test_draws_fork_when_the_engine_can_count_their_seeds_and_end_each(
    seeds: tuple[int, ...], stops: tuple[int, ...], shared: bool
) -> None:
    assert forks(tuple(Draw((1,), seed=seed, stop_token_ids=stops) for seed in seeds)) is shared
