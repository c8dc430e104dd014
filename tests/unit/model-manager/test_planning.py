"""The planner never overfills, never touches what is reserved or held, and leaves alone what can stay."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from orchestra_model_manager.domain.holds import Hold
from orchestra_model_manager.domain.planning import Need, plan
from orchestra_model_manager.domain.seen import Condition, SeenDevice, SeenNode, SeenWorker
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
