"""The planner never overfills, never touches what is reserved or held, and leaves alone what can stay."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from orchestra_model_manager.domain.holds import Hold
from orchestra_model_manager.domain.planning import Need, plan
from orchestra_model_manager.domain.seen import Condition, Costs, SeenDevice, SeenNode, SeenWorker
from orchestra_model_manager.domain.wishes import Wish

NOW = 100.0

sizes = st.integers(1, 60)
devices = st.builds(
    SeenDevice,
    device_id=st.sampled_from(["d0", "d1", "d2"]),
    memory_bytes=st.one_of(st.none(), st.integers(1, 100)),
    reserved=st.booleans(),
)
nodes = st.lists(
    st.builds(
        SeenNode,
        node_id=st.sampled_from(["n0", "n1", "n2"]),
        instance_id=st.just("i"),
        address=st.just("h:1"),
        lease_ends=st.sampled_from([NOW - 1, NOW + 10]),
        devices=st.lists(devices, max_size=3, unique_by=lambda device: device.device_id).map(tuple),
    ),
    max_size=3,
    unique_by=lambda node: node.node_id,
)
needs = st.lists(
    st.builds(
        Need, model=st.sampled_from([f"m{i}" for i in range(8)]), memory_bytes=st.one_of(st.none(), sizes)
    ),
    max_size=8,
    unique_by=lambda need: need.model,
)
holds = st.lists(
    st.builds(
        Hold,
        node_id=st.sampled_from(["n0", "n1"]),
        device_ids=st.sampled_from([(), ("d0",)]),
        drain=st.booleans(),
        reason=st.just("lent"),
        since=st.just(0.0),
        ends_at=st.sampled_from([None, NOW - 1, NOW + 1]),
    ),
    max_size=2,
)


@given(needs, nodes, holds, st.integers(0, 6))
def test_a_plan_fits_and_keeps_off_what_is_not_to_be_used(wanted, seen, held, most):
    made = plan(wanted, [], seen, {}, held, most, NOW, NOW)
    by_node = {node.node_id: node for node in seen}
    used: dict[tuple[str, str], int] = {}
    for one in made.placed:
        node = by_node[one.node_id]
        assert node.alive(NOW)
        (device_id,) = one.device_ids
        device = next(device for device in node.devices if device.device_id == device_id)
        assert not device.reserved
        assert not any(hold.active(NOW) and hold.covers(one.node_id, one.device_ids) for hold in held)
        used[one.node_id, device_id] = used.get((one.node_id, device_id), 0) + (one.memory_bytes or 0)
        assert device.memory_bytes is not None
        assert used[one.node_id, device_id] <= device.memory_bytes
    assert len(made.placed) <= most
    assert {one.model for one in made.placed} | set(made.impossible) == {need.model for need in wanted}
    assert all(made.impossible.values()), "every refusal has a reason"


@given(needs, nodes, st.integers(0, 6))
def test_planning_again_moves_nothing(wanted, seen, most):
    first = plan(wanted, [], seen, {}, [], most, NOW, NOW)
    loaded = [
        replace(
            node,
            workers=tuple(
                SeenWorker(one.model, "w", Condition.SERVING, device_ids=one.device_ids)
                for one in first.placed
                if one.node_id == node.node_id
            ),
        )
        for node in seen
    ]
    again = plan(wanted, [], loaded, {}, [], most, NOW, NOW)
    assert {(one.model, one.node_id) for one in again.placed} == {
        (one.model, one.node_id) for one in first.placed
    }
    assert all(one.kept for one in again.placed)
    assert again.leaving == ()


def node(memory: int, **changes) -> SeenNode:
    return replace(SeenNode("n0", "i", "h:1", NOW + 10, (SeenDevice("d0", memory),)), **changes)


def test_what_is_impossible_is_explained_with_the_bytes():
    made = plan([Need("big", 50)], [], [node(30)], {}, [], 10, NOW, NOW)
    assert made.impossible == {"big": "needs 50 bytes; the freest device has 30, 20 too few"}


def test_the_deployments_own_models_take_their_room_first():
    made = plan([Need("new", 20)], [Wish("own", "n0")], [node(30)], {"own": 15}, [], 10, NOW, NOW)
    assert made.impossible == {"new": "needs 20 bytes; the freest device has 15, 5 too few"}


def test_a_model_nobody_wants_leaves():
    old = (SeenWorker("old", "w", Condition.SERVING),)
    assert plan([], [], [node(30, workers=old)], {}, [], 10, NOW, NOW).leaving == (("n0", "old"),)


def test_measured_memory_counts_in_place_of_the_declared():
    big = Costs(memory_bytes=25)
    made = plan([Need("m", 10)], [], [node(30)], {}, [], 10, NOW, NOW, {("n0", "m"): big})
    assert made.placed[0].memory_bytes == 25
    full = plan([Need("m", 10)], [], [node(20)], {}, [], 10, NOW, NOW, {("n0", "m"): big})
    assert full.impossible == {"m": "needs 25 bytes; the freest device has 20, 5 too few"}
    elsewhere = plan([Need("m", 10)], [], [node(20)], {}, [], 10, NOW, NOW, {("n9", "m"): big})
    assert elsewhere.placed[0].memory_bytes == 10, "another node's figure is that node's"


def test_a_model_of_undeclared_memory_goes_where_it_was_measured():
    measured = {("n0", "m"): Costs(memory_bytes=10)}
    made = plan([Need("m", None)], [], [node(30)], {}, [], 10, NOW, NOW, measured)
    assert [one.node_id for one in made.placed] == ["n0"]
    unknown = plan([Need("m", None)], [], [node(30)], {}, [], 10, NOW, NOW)
    assert "not known" in unknown.impossible["m"]


def test_the_deployments_own_models_take_what_they_were_measured_to_take():
    own, measured = [Wish("own", "n0")], {("n0", "own"): Costs(memory_bytes=25)}
    made = plan([Need("new", 10)], own, [node(30)], {"own": 5}, [], 10, NOW, NOW, measured)
    assert made.impossible == {"new": "needs 10 bytes; the freest device has 5, 5 too few"}


def test_of_two_equal_places_the_one_that_loads_quicker_and_the_quick_models_first():
    nodes = [node(30), node(30, node_id="n1")]
    measured = {
        ("n0", "m"): Costs(load_s=60.0),
        ("n1", "m"): Costs(load_s=4.0),
        ("n0", "q"): Costs(load_s=1.0),
        ("n1", "q"): Costs(load_s=1.0),
    }
    needs = [Need("new", 20), Need("m", 10), Need("q", 1)]
    made = plan([Need("m", 10)], [], nodes, {}, [], 10, NOW, NOW, measured)
    assert made.placed[0].node_id == "n1"
    assert made.placed[0].reason.endswith("; loads in about 4 s, as measured")
    made = plan(needs, [], nodes, {}, [], 10, NOW, NOW, measured)
    assert [wish.model for wish in made.wishes] == ["q", "m", "new"]
