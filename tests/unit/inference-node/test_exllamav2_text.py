"""Text of tokens: whole characters, nothing of a stop text, nothing lost."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestra_inference_node.adapters.exllamav2.text import AnswerText, StopTexts


def as_bytes(ids: Sequence[int]) -> str:
    """A vocabulary of bytes."""
    return bytes(ids).decode(errors="replace")


def said(text: str | bytes, stops: Sequence[str] = (), prompt: str = "") -> tuple[str, str]:
    answer = AnswerText(as_bytes, prompt.encode(), stops)
    out = ""
    for byte in text.encode() if isinstance(text, str) else text:
        out += answer.add(byte)
        if answer.matched:
            return out, answer.matched
    return out + answer.rest(), answer.matched


@given(st.text(max_size=40))
def test_a_text_comes_out_as_it_is(text: str) -> None:
    # replacement characters at the very end cannot be told from a character that is not whole
    assert said(text)[0] == text.rstrip("\ufffd")


@given(st.text("ab🦊é", max_size=30), st.lists(st.text("ab🦊é", min_size=1, max_size=4), max_size=3))
def test_an_answer_ends_before_the_first_stop_text(text: str, stops: list[str]) -> None:
    """As if the text were looked at after each of its characters."""
    for end in range(len(text) + 1):
        whole = [stop for stop in stops if text[:end].endswith(stop)]
        if whole:
            longest = max(whole, key=len)
            assert said(text, stops) == (text[: end - len(longest)], longest)
            return
    assert said(text, stops) == (text, "")


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"ab\xf0\x9f\xa6", "ab"),
        (b"ab\xf0\x9f\xa6\x8a", "ab🦊"),
        (b"\xffab", "\ufffdab"),
        (b"\xff\xff\xff\xff\xffab", "\ufffd\ufffd\ufffd\ufffd\ufffdab"),
        (b"a\xf0b", "a\ufffdb"),
    ],
)
def test_bytes_that_make_no_character(data: bytes, text: str) -> None:
    assert said(data)[0] == text


def test_bytes_that_never_make_a_character_are_not_held_for_ever() -> None:
    answer = AnswerText(as_bytes, b"", ())
    assert "".join(answer.add(255) for _ in range(100)).count("\ufffd") > 90


def test_what_may_begin_a_stop_text_is_held_until_it_is_none() -> None:
    stops = StopTexts(["stop", "top"])
    assert stops.feed("a sto") == "a "
    assert stops.feed("ne") == "stone"
    assert stops.feed("st") == ""
    assert stops.rest() == "st"


def test_a_space_in_front_of_a_word_shows_after_a_prompt() -> None:
    """Decoders drop it at the beginning of a text."""
    words = ["Hello", "▁world", "▁again"]

    def decode(ids: Sequence[int]) -> str:
        return "".join(words[one] for one in ids).replace("▁", " ").removeprefix(" ")

    assert AnswerText(decode, (0,), ()).add(1) == " world"
    assert AnswerText(decode, (), ()).add(1) == "world"


def test_a_prompt_that_ends_inside_a_character_is_left_alone() -> None:
    answer = AnswerText(as_bytes, "🦊".encode()[:2], ())
    assert answer.add(ord("a")) + answer.add(ord("b")) == "ab"
