"""A model's text must not steer the terminal of whoever reads it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestra_client.command.terminal import Cleaner, visible
from orchestra_client.report.marks import dollars, ticks

HOSTILE = [
    ("\x1b[31mred\x1b[0m", "red"),
    ("\x1b]0;title\x07after", "after"),
    ("\x1b]8;;http://x\x1b\\link", "link"),
    ("\x9b2Jgone", "gone"),
    ("a\rb\x08c\x7f\x00d", "abcd"),
    ("left\u202eright", "leftright"),
    ("\x1bPq#0\x1b\\text", "text"),
    ("\x1b(Btext", "text"),
    ("tab\tline\nend", "tab\tline\nend"),
    ("é 漢 🎻", "é 漢 🎻"),
]


@pytest.mark.parametrize(("text", "shown"), HOSTILE)
def test_control_sequences_go(text: str, shown: str) -> None:
    assert visible(text) == shown


@pytest.mark.parametrize(("text", "shown"), HOSTILE)
def test_wherever_the_pieces_are_cut(text: str, shown: str) -> None:
    cleaner = Cleaner()
    assert "".join(cleaner.clean(one) for one in text) == shown


@given(st.text(max_size=60))
def test_nothing_that_steers_is_left(text: str) -> None:
    assert not any(
        (ord(one) < 0x20 and one not in "\n\t") or 0x7F <= ord(one) < 0xA0 for one in visible(text)
    )


@given(st.floats(min_value=1e-9, max_value=1e12))
def test_axes_hold_their_largest_value(top: float) -> None:
    marks = ticks(top)
    assert marks[0] == 0 and marks[-1] >= top * 0.99 and 2 <= len(marks) <= 7


def test_small_sums_can_be_read() -> None:
    words = [dollars(nanos) for nanos in (0, 972, 5_600, 719_200, 25_000_000, 3_500_000_000)]
    assert words == ["$0", "0.972 µ$", "5.6 µ$", "719 µ$", "$0.0250", "$3.50"]
