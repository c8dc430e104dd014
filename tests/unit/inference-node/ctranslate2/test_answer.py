"""Text is told in whole characters and up to a stop text, with the tokens that it belongs to."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from orchestra_inference_node.adapters.ctranslate2.answer import Answer, Drawn
from orchestra_inference_node.domain.drawing import Draw, Piece


def byte_tokenizer() -> Tokenizer:
    """A token is a byte, so that one character may need several."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: at for at, letter in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


BYTES = byte_tokenizer()


def told(text: str, *stop: str) -> tuple[list[Piece], Answer, list[int]]:
    ids = BYTES.encode(text).ids
    answer = Answer(Draw((), 0, stop=stop, token_ids=True), BYTES)
    pieces = []
    for token in ids:
        pieces.append(answer.take(Drawn(token, -1.0)))
        if answer.stopped_by:
            break
    pieces.append(answer.rest())
    return [piece for piece in pieces if piece is not None], answer, ids


@given(
    st.text(st.sampled_from("aébß→🙂 "), max_size=12),
    st.lists(st.sampled_from(["ab", "→", "é→", "b "]), max_size=3),
)
def test_nothing_is_lost_nothing_is_told_twice(text: str, stop: list[str]) -> None:
    pieces, answer, ids = told(text, *stop)
    places = [text.find(one) for one in stop if one in text]
    expected = text[: min(places)] if places else text
    assert "".join(piece.text for piece in pieces) == expected
    assert all("\ufffd" not in piece.text for piece in pieces)
    tokens = list(itertools.chain.from_iterable(piece.token_ids for piece in pieces))
    assert tokens == ids[: len(expected.encode())]
    assert bool(answer.stopped_by) == bool(places)
    for piece in pieces:
        assert piece.tokens == len(piece.token_ids) == len(piece.logprobs)


def test_text_comes_as_soon_as_it_is_certain() -> None:
    pieces, _, _ = told("ab", "never")
    assert [piece.text for piece in pieces] == ["a", "b"]
    pieces, _, _ = told("anew nev", "never")
    assert [piece.text for piece in pieces] == ["a", "new", " ", "nev"], "held while it may become a stop"


@pytest.mark.parametrize(("stop", "met"), [(("bc", "b"), "b"), (("b", "bcd"), "b"), (("c", "ab"), "ab")])
def test_the_stop_text_that_is_whole_first_counts(stop: tuple[str, ...], met: str) -> None:
    _, answer, _ = told("abcd", *stop)
    assert answer.stopped_by == met


def test_characters_that_are_not_whole_are_left_out() -> None:
    answer = Answer(Draw((), 0, token_ids=True), BYTES)
    first, *_ = BYTES.encode("é").ids
    assert answer.take(Drawn(first)) is None
    rest = answer.rest()
    assert rest is not None and (rest.text, rest.token_ids) == ("", [first])
