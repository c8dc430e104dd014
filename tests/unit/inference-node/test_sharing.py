"""What the samples are charged adds up to the time in which the device was busy."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestra_inference_node.domain.sharing import ProcessorSharing


def test_one_alone_is_charged_all_and_two_are_charged_half() -> None:
    sharing = ProcessorSharing()
    sharing.enter("a", 10.0)
    sharing.enter("b", 12.0)
    assert sharing.leave("a", 16.0) == pytest.approx(2.0 + 2.0)
    assert sharing.leave("b", 17.0) == pytest.approx(2.0 + 1.0)


def test_a_sample_runs_once() -> None:
    sharing = ProcessorSharing()
    sharing.enter("a", 0.0)
    with pytest.raises(ValueError, match="runs already"):
        sharing.enter("a", 1.0)
    sharing.leave("a", 2.0)
    with pytest.raises(KeyError):
        sharing.leave("a", 3.0)


@given(st.lists(st.tuples(st.floats(0, 10), st.integers(0, 7)), max_size=60))
def test_charges_add_up_to_the_busy_time(steps: list[tuple[float, int]]) -> None:
    sharing = ProcessorSharing()
    now = busy = charged = 0.0
    running: set[str] = set()
    for wait, which in steps:
        now += wait
        busy += wait if running else 0.0
        name = str(which)
        if name in running:
            running.remove(name)
            share = sharing.leave(name, now)
            assert share >= 0
            charged += share
        else:
            running.add(name)
            sharing.enter(name, now)
    for name in running:
        charged += sharing.leave(name, now)
    assert charged == pytest.approx(busy)


def test_a_clock_that_steps_back_charges_nothing() -> None:
    sharing = ProcessorSharing()
    sharing.enter("a", 100.0)
    assert sharing.leave("a", 90.0) == 0.0
