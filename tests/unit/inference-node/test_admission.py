"""At most as many as there are slots generate; the rest wait in a fair order, within a bound."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from orchestra_inference_node.domain.admission import Admission, Rank, Ticket


def enter(admission: Admission, rank: Rank = Rank.NORMAL, deadline: float | None = None) -> Ticket:
    ticket = admission.enter(rank, deadline)
    assert ticket is not None
    return ticket


def test_slots_first_then_the_queue_then_no() -> None:
    admission = Admission(slots=2, queue_limit=1)
    held = [enter(admission), enter(admission)]
    waiting = enter(admission)
    assert [ticket.slot for ticket in held] == [True, True]
    assert not waiting.slot
    assert admission.enter(Rank.HIGH, None) is None
    assert (admission.slots_free, admission.queued) == (0, 1)


def test_a_later_sample_of_a_request_that_is_in_is_not_refused() -> None:
    admission = Admission(slots=1, queue_limit=0)
    enter(admission)
    assert admission.enter(Rank.NORMAL, None) is None
    assert admission.enter(Rank.NORMAL, None, in_already=True) is not None


def test_the_queue_is_left_by_rank_then_deadline_then_arrival() -> None:
    admission = Admission(slots=1, queue_limit=9)
    current = enter(admission)
    low = enter(admission, Rank.LOW)
    first = enter(admission)
    urgent = enter(admission, deadline=5.0)
    relaxed = enter(admission, deadline=50.0)
    second = enter(admission)
    high = enter(admission, Rank.HIGH)
    assert admission.ahead_of(low) == 5
    order = []
    for _ in range(6):
        following = admission.leave(current)
        assert following is not None
        order.append(following)
        current = following
    assert order == [high, urgent, relaxed, first, second, low]


def test_who_gives_up_waiting_is_passed_over() -> None:
    admission = Admission(slots=1, queue_limit=9)
    current, gone, stays = enter(admission), enter(admission), enter(admission)
    assert admission.leave(gone) is None
    assert admission.queued == 1
    assert admission.leave(current) is stays
    assert admission.leave(current) is None, "leaving twice changes nothing"
    assert admission.slots_free == 0


@given(
    st.lists(st.tuples(st.sampled_from(Rank), st.booleans(), st.integers(0, 30)), max_size=80),
    st.integers(1, 4),
)
def test_slots_are_never_oversold_and_never_idle_while_someone_waits(
    steps: list[tuple[Rank, bool, int]], slots: int
) -> None:
    admission = Admission(slots, queue_limit=5)
    inside: list[Ticket] = []
    for rank, comes, which in steps:
        if comes or not inside:
            ticket = admission.enter(rank, None)
            if ticket is not None:
                inside.append(ticket)
        else:
            admission.leave(inside.pop(which % len(inside)))
        holding = sum(ticket.slot for ticket in inside)
        assert holding + admission.slots_free == slots
        assert admission.queued == len(inside) - holding <= 5
        assert not (admission.slots_free and admission.queued)
