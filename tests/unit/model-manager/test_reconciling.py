"""One step at a time, from the present alone, and none that could hurt."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from orchestra_model_manager.domain.holds import Hold
from orchestra_model_manager.domain.reconciling import Action, Failure, back_off, next_steps
from orchestra_model_manager.domain.seen import Condition, SeenNode, SeenWorker
from orchestra_model_manager.domain.wishes import Swapped, Wish, wanted

NOW, WALL = 100.0, 5_000.0
MODELS = ["a", "b", "c"]


def node(*workers: SeenWorker, lease_ends: float = NOW + 5) -> SeenNode:
    return SeenNode("n", "i", "h:1", lease_ends, workers=workers)


def serving(model: str) -> SeenWorker:
    return SeenWorker(model, "w", Condition.SERVING)


def steps(wishes, seen, holds=(), failures=None):
    return next_steps(wishes, {seen.node_id: seen}, holds, failures or {}, NOW, WALL)


@given(st.sets(st.sampled_from(MODELS)), st.sets(st.sampled_from(MODELS)))
def test_steps_lead_to_what_is_wanted_and_then_stop(want, have):
    wishes = [Wish(model, "n") for model in sorted(want)]
    loaded = set(have)
    for _ in range(10):
        found = steps(wishes, node(*(serving(model) for model in sorted(loaded))))
        if not found:
            break
        (step,) = found
        (loaded.add if step.action is Action.LOAD else loaded.discard)(step.model)
    assert loaded == want


def test_room_is_made_before_it_is_taken():
    (step,) = steps([Wish("b", "n")], node(serving("a")))
    assert (step.action, step.model) == (Action.UNLOAD, "a")


def test_nothing_is_done_to_a_node_whose_lease_has_run_out():
    assert steps([Wish("a", "n")], node(lease_ends=NOW)) == ()


def test_a_worker_that_starts_or_drains_is_left_alone():
    for condition in (Condition.STARTING, Condition.DRAINING, Condition.NOT_SERVING):
        assert steps([Wish("a", "n")], node(SeenWorker("a", "w", condition))) == ()
        assert steps([], node(SeenWorker("a", "w", condition))) == ()


def test_a_failed_load_waits_for_its_back_off():
    wish = Wish("a", "n")
    failed = Failure(3, NOW - 1, "no memory")
    assert steps([wish], node(), failures={wish.placement_id: failed}) == ()
    late = replace(failed, at=NOW - back_off(3))
    assert len(steps([wish], node(), failures={wish.placement_id: late})) == 1
    assert [back_off(times) for times in (1, 2, 3, 50)] == [2.0, 4.0, 8.0, 120.0]


def test_a_drain_takes_away_and_a_cordon_only_refuses():
    for drain in (True, False):
        hold = Hold("n", (), drain, "edge tests", WALL - 1)
        found = steps([Wish("a", "n"), Wish("b", "n")], node(serving("a")), [hold])
        assert [(step.action, step.model) for step in found] == ([(Action.UNLOAD, "a")] if drain else [])
        over = replace(hold, ends_at=WALL)
        assert [step.model for step in steps([Wish("b", "n")], node(), [over])] == ["b"]


def test_swaps_change_the_deployments_wishes_and_can_be_undone():
    own = [Wish("a", "n", pinned=True)]
    swapped = Swapped().unload("n", "a").load("n", "b")
    assert [wish.model for wish in wanted(own, swapped, [])] == ["b"]
    back = swapped.load("n", "a").unload("n", "b")
    assert [wish.model for wish in wanted(own, back, [])] == ["a"]
    assert wanted(own, back, [])[0].pinned
