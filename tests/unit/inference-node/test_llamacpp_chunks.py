"""What the engine streams is read as it is: tokens, counts, ends, errors."""

from __future__ import annotations

import math
from typing import Any

import pytest

from orchestra_errors import DataLoss, InvalidRequest, Unavailable
from orchestra_inference_node.adapters.llamacpp.chunks import ChunkReader
from orchestra_inference_node.adapters.llamacpp.request import completion_request, forks
from orchestra_inference_node.adapters.llamacpp.token_table import TokenTable
from orchestra_inference_node.adapters.llamacpp.vocabulary import Vocabulary
from orchestra_inference_node.domain.drawing import Draw, End, EndReason, Piece, Prefill


def chunk(**said: Any) -> dict[str, Any]:
    return {"stop": False} | said


def token(text: str, token_id: int, predicted: int, **more: Any) -> dict[str, Any]:
    return chunk(content=text, tokens=[token_id], tokens_predicted=predicted, tokens_evaluated=3, **more)


def end(kind: str, predicted: int, word: str = "") -> dict[str, Any]:
    return chunk(
        stop=True, stop_type=kind, stopping_word=word, tokens_predicted=predicted, tokens_evaluated=3
    )


def byte_level(*pieces: bytes) -> Vocabulary:
    """Byte-level tokens with these ids from 0 on; bytes from 0x80 to 0xa0 are written from U+0122 on."""
    letters = {byte: chr(0x122 + byte - 0x80) for byte in range(0x80, 0xA1)}
    texts = ["".join(letters.get(byte, chr(byte)) for byte in piece) for piece in pieces]
    return Vocabulary(lambda: TokenTable("gpt2", texts, [1] * len(texts)))


FOX = "🦊".encode()
# a character of three tokens, letters, and one of four bytes that can be cut in two ways
VOCABULARY = byte_level(FOX[:2], FOX[2:3], FOX[3:], b"a", b"b", FOX[:1], FOX[1:3], FOX[1:2])


def reader(**draw: Any) -> ChunkReader:
    stops = draw.pop("stop_texts", {})
    vocabulary = draw.pop("vocabulary", VOCABULARY)
    return ChunkReader(Draw((1, 2, 3), seed=1, **draw), "m", stops, vocabulary)


def test_progress_tokens_and_the_end_with_the_engines_counts() -> None:
    read = reader(token_ids=True, max_tokens=5)
    progress = {"total": 3, "cache": 2, "processed": 3, "time_ms": 1}
    assert read.read(chunk(prompt_progress=progress, tokens=[0])) == [Prefill(3, 3, 2)]
    assert read.read(token("a", 7, 1)) == [Piece("a", [7], tokens=1)]
    assert not read.ended
    assert read.read(token("", 5, 2)) == [Piece("", [5], tokens=1)]
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
    read = reader(stop_token_ids=(4,), stop_texts={4: "b"}, token_ids=True)
    piece, ended = read.read(token("ab", 4, 1))
    assert piece == Piece("a", [4], tokens=1)
    assert isinstance(ended, End)
    assert (ended.reason, ended.stop_matched) == (EndReason.STOP_SEQUENCE, "b")


def test_hidden_tokens_are_counted_where_nobody_asks_which_they_were() -> None:
    (piece,) = reader().read(token("🦊", 2, 3))
    assert isinstance(piece, Piece)
    assert (piece.text, piece.tokens, piece.token_ids) == ("🦊", 3, [])


def test_hidden_tokens_are_named_by_the_bytes_that_they_gave() -> None:
    whole = byte_level(FOX[:2], FOX[2:3], FOX[3:], b"a")
    read = reader(token_ids=True, vocabulary=whole)
    assert read.read(token("a", 3, 1)) == [Piece("a", [3], tokens=1)]
    assert read.read(token("🦊", 2, 4)) == [Piece("🦊", [0, 1, 2], tokens=3)]


def test_hidden_tokens_that_may_be_one_or_the_other_are_never_invented() -> None:
    with pytest.raises(DataLoss):
        reader(token_ids=True).read(token("🦊", 2, 3))


def test_hidden_tokens_in_a_text_that_may_become_a_stop_are_named_when_it_comes() -> None:
    whole = byte_level(FOX[:2], FOX[2:3], FOX[3:], b"a", b"b")
    read = reader(token_ids=True, vocabulary=whole, stop=("🦊ab",))
    assert read.read(token("", 2, 3)) == [Piece("", [], tokens=3)]
    assert read.read(token("", 3, 4)) == [Piece("", [], tokens=1)]
    assert read.read(token("🦊aa", 3, 5)) == [Piece("🦊aa", [0, 1, 2, 3, 3], tokens=1)]
    assert read.read(token("", 2, 8)) == [Piece("", [], tokens=3)]
    assert read.read(token("", 3, 9)) == [Piece("", [], tokens=1)]
    assert read.read(token("", 4, 10)) == [Piece("", [], tokens=1)]
    named, ended = read.read(end("word", 10, "🦊ab"))
    assert named == Piece("", [0, 1, 2, 3, 4])
    assert ended == End(EndReason.STOP_SEQUENCE, "🦊ab", 3, 0, 10)


def test_an_answer_that_max_tokens_ends_inside_a_character_names_its_tokens_and_no_more() -> None:
    whole = byte_level(FOX[:2], FOX[2:3], FOX[3:], b"a")
    read = reader(token_ids=True, vocabulary=whole, max_tokens=3)
    assert completion_request(Draw((1,), seed=1, max_tokens=3, token_ids=True), {}, 512)["n_predict"] > 3
    assert read.read(token("a", 3, 1)) == [Piece("a", [3], tokens=1)]
    piece, ended = read.read(token("🦊", 2, 4))
    assert piece == Piece("", [0, 1], tokens=2)
    assert ended == End(EndReason.MAX_TOKENS, "", 3, 0, 3)


def test_logprobs_of_hidden_tokens_are_certain_asked_for_later_or_lost() -> None:
    whole = byte_level(FOX[:2], FOX[2:3], FOX[3:])
    entry = {"id": 2, "prob": 1.0, "top_probs": [{"id": 2, "token": "🦊", "prob": 1.0}]}
    said = token("🦊", 2, 3, completion_probabilities=[entry])
    greedy = reader(logprobs=True, top_logprobs=1, temperature=0.0, vocabulary=whole)
    (piece,) = greedy.read(said)
    assert isinstance(piece, Piece)
    assert piece.logprobs == [0.0, 0.0, 0.0]
    assert [one.token_ids for one in piece.top] == [(0,), (1,), (2,)]
    (neutral,) = reader(logprobs=True, vocabulary=whole).read(said)
    assert isinstance(neutral, Piece)
    assert list(map(math.isnan, neutral.logprobs)) == [True, True, False]
    with pytest.raises(DataLoss):
        reader(logprobs=True, top_p=0.9, vocabulary=whole).read(said)


@pytest.mark.parametrize("token_ids", [True, False])
def test_a_text_that_the_engine_held_back_for_a_stop_comes_with_the_limit(token_ids: bool) -> None:
    read = reader(token_ids=token_ids, max_tokens=2, stop=("abb",))
    outputs = read.read(token("", 3, 1)) + read.read(token("", 4, 2))
    outputs += read.read(token("abb"[:0], 4, 3) if token_ids else end("limit", 2))
    assert "".join(one.text for one in outputs if isinstance(one, Piece)) == "ab"
    assert outputs[-1] == End(EndReason.MAX_TOKENS, "", 3, 0, 2)


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
