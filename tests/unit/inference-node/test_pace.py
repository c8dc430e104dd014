"""Declared speed: what one sequence, several side by side, and a whole answer take."""

from __future__ import annotations

import pytest

from orchestra_inference_node.domain.pace import Pace, SideBySide
from orchestra_inference_node.domain.stopping import Released, StopTexts

PACE = Pace(tokens_per_second=10, prefill_per_second=100, first_token_s=0.5, batch_gain=0.25)


def test_each_further_sequence_adds_its_gain() -> None:
    assert [PACE.together(k) for k in (1, 2, 5)] == pytest.approx([10, 12.5, 20])
    assert Pace(10, batch_gain=1).together(4) == pytest.approx(40)
    assert Pace(10, batch_gain=0).together(4) == pytest.approx(10)


def test_an_answer_takes_its_prompt_and_a_step_for_each_further_token() -> None:
    assert PACE.first_token_after(50) == pytest.approx(1.0)
    assert PACE.answer_after(50, 1) == pytest.approx(1.0)
    assert PACE.answer_after(50, 21) == pytest.approx(3.0)
    assert PACE.answer_after(50, 21, parallel=5) == pytest.approx(1.0 + 20 / 4)
    assert Pace().answer_after(10_000, 10_000) == 0


def test_what_runs_side_by_side_gets_on_at_the_same_rate() -> None:
    work = SideBySide(10, gain=0.5)
    work.enter("a", 0.0)
    work.enter("b", 1.0)
    work.leave("b", 3.0)
    # alone for a second, beside b for two at (1 + 0.5) / 2 of the speed, alone for another
    assert work.done("a", 4.0) == pytest.approx(10 + 2 * 7.5 + 10, abs=1e-3)
    assert work.seconds_until("a", 45, 4.0) == pytest.approx(1.0, abs=1e-3)
    assert work.seconds_until("a", 20, 4.0) == 0
    work.enter("c", 4.0)
    assert work.done("c", 4.0) == pytest.approx(0, abs=1e-3)
    with pytest.raises(ValueError, match="runs already"):
        work.enter("c", 5.0)
    work.leave("nobody", 5.0)
    assert len(work) == 2


def test_a_week_of_steps_loses_nothing() -> None:
    work = SideBySide(33.3, gain=0.5)
    begin = 7 * 86_400.0
    work.enter("long", begin)
    for step in range(1, 100_001):
        work.enter(step, begin + step)
        work.leave(step, begin + step)
    assert work.done("long", begin + 100_000) == pytest.approx(33.3 * 100_000, rel=1e-9)


def test_without_a_rate_everything_is_done_at_once() -> None:
    work = SideBySide(0, gain=0.5)
    work.enter("a", 1.0)
    assert work.done("a", 1.0) > 10**9
    assert work.seconds_until("a", 10**9, 1.0) == 0


def test_what_may_become_a_stop_text_is_held_back() -> None:
    stops = StopTexts(("END", "\n\n"))
    assert stops.feed("a line\n") == Released("a line")
    assert stops.feed("E") == Released("\n")
    assert stops.feed("N") == Released("")
    assert stops.feed("Dure") == Released("", "END")


def test_what_was_held_back_is_not_lost() -> None:
    stops = StopTexts(("END",))
    assert stops.feed("so EN") == Released("so ")
    assert stops.rest() == "EN"
    assert stops.rest() == ""


def test_the_first_stop_text_counts_and_of_two_at_one_place_the_longer() -> None:
    assert StopTexts(("b", "a")).feed("xaby") == Released("x", "a")
    assert StopTexts(("ab", "abc")).feed("xabcd") == Released("x", "abc")
