"""When a dead worker starts again, how fast a worker is."""

from __future__ import annotations

import pytest

from orchestra_inference_node.domain.restarts import Restarts
from orchestra_inference_node.domain.speed import RecentSpeed


def test_restarts_wait_longer_each_time_and_forget_after_a_stable_minute() -> None:
    restarts = Restarts()
    waits = []
    for _ in range(12):
        restarts = restarts.after_death(lived_s=1.0)
        waits.append(restarts.wait_s)
    assert waits[:4] == [0.2, 0.4, 0.8, 1.6]
    assert waits[-1] == 30.0
    assert restarts.too_often
    stable = restarts.after_death(lived_s=61.0)
    assert (stable.total, stable.wait_s, stable.too_often) == (13, 0.2, False)


def test_speed_counts_the_time_in_which_something_ran() -> None:
    speed = RecentSpeed()
    assert speed.tokens_per_second(0.0) is None
    speed.started(0.0)
    speed.started(1.0)
    speed.ended(30, 3.0)
    speed.ended(10, 4.0)
    assert speed.tokens_per_second(20.0) == pytest.approx(10.0), "idle time does not count"
    assert speed.tokens_per_second(100.0) is None, "old work is forgotten"
