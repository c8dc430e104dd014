"""The choice: values in, ranked targets or a refusal out."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestra_errors import NoEligibleTarget, Unavailable, Unsupported
from orchestra_router.domain.choosing import Choice, Prices, Refusal, choose
from orchestra_router.domain.job import OBJECTIVES, Job
from orchestra_router.domain.targets import Abilities, Load, ModelFacts, Snapshot, Target, Verdict

FREE = Prices(lambda job, target: 0, lambda job, target: 0)


def local(model: str = "a", node: str = "n1", **fields: object) -> Target:
    base = Target(
        model=model,
        node_id=node,
        worker_id=f"{node}/{model}",
        instance_id=f"{node}-{model}-1",
        address="127.0.0.1:1",
        abilities=Abilities(context_tokens=2048),
        slots_total=4,
        slots_free=4,
    )
    return replace(base, **fields)  # type: ignore[arg-type]


def cloud(model: str, tier: str = "premium", **fields: object) -> Target:
    base = Target(model=model, provider="openai", tier=tier, abilities=Abilities(known=False))
    return replace(base, **fields)  # type: ignore[arg-type]


def seen(*targets: Target, **facts: ModelFacts) -> Snapshot:
    return Snapshot(targets, facts, "p", heard_at=1.0)


def ranked(job: Job, *targets: Target, load: Load | None = None, prices: Prices = FREE) -> list[str]:
    made = choose(job, seen(*targets), load or Load(), 10.0, prices)
    return [] if isinstance(made, Refusal) else [target.key for target in made.ranked]


def why(job: Job, target: Target, prices: Prices = FREE) -> str:
    made = choose(job, seen(target), Load(), 10.0, prices)
    assert isinstance(made, Refusal)
    out = made.weighed[0].out
    assert out is not None
    return out.reason


def test_a_named_model_is_served_by_its_least_loaded_replica() -> None:
    busy, idle = local(node="n1", slots_free=0, queued=3), local(node="n2")
    assert ranked(Job(model="a"), busy, idle) == [idle.key, busy.key]


def test_our_own_count_corrects_a_report_that_is_old() -> None:
    one, two = local(node="n1"), local(node="n2")
    assert ranked(Job(model="a"), one, two, load=Load(running={one.key: 4})) == [two.key, one.key]


def test_what_just_failed_is_tried_last_and_only_for_a_while() -> None:
    one, two = local(node="n1"), local(node="n2", slots_free=0)
    assert ranked(Job(model="a"), one, two, load=Load(failing={one.key: 11.0})) == [two.key, one.key]
    assert ranked(Job(model="a"), one, two, load=Load(failing={one.key: 9.0})) == [one.key, two.key]


def test_round_robin_takes_the_model_whose_turn_is_longest_ago() -> None:
    a, b, c = local("a"), local("b"), local("c")
    load = Load(last_turn={"a": 7, "b": 5})
    assert ranked(Job(candidates=("a", "b", "c")), a, b, c, load=load) == [c.key, b.key, a.key]


def test_speed_is_what_was_measured_and_the_unmeasured_come_last() -> None:
    slow, fast, new = (
        local("a", tokens_per_second=10.0),
        local("b", tokens_per_second=90.0),
        local("c"),
    )
    assert ranked(Job(objective="speed"), slow, fast, new) == [fast.key, slow.key, new.key]


def test_quality_and_specialization_follow_the_catalogue() -> None:
    a, b = local("a"), local("b")
    facts = {
        "a": ModelFacts("a", quality={"": 3, "mathematics": 5}, specialities=frozenset({"agentic"})),
        "b": ModelFacts("b", quality={"": 4}),
    }

    def first(job: Job) -> str:
        made = choose(job, seen(a, b, **facts), Load(), 0.0, FREE)
        assert isinstance(made, Choice)
        return made.ranked[0].model

    assert first(Job(objective="quality")) == "b"
    assert first(Job(objective="quality", request_type="mathematics")) == "a"
    assert first(Job(objective="specialization", request_type="agentic")) == "a"


def test_cost_takes_the_cheapest() -> None:
    cheap, dear = cloud("x", "selective"), cloud("y", "selective")
    prices = Prices(lambda job, target: {"x": 5, "y": 9}[target.model], lambda job, target: 9)
    job = Job(objective="cost", tiers=frozenset({"selective"}))
    assert ranked(job, dear, cheap, prices=prices) == [cheap.key, dear.key]


def test_undirected_requests_go_local_first_and_premium_not_at_all() -> None:
    home, together, premium = local("a"), cloud("b", "selective"), cloud("c")
    assert ranked(Job(), premium, together, home) == [home.key, together.key]
    assert premium.key in ranked(Job(validation=True), premium, together, home)


def test_a_fallback_comes_after_every_replica_of_the_named_model_and_needs_leave() -> None:
    one, two, other = local("a", "n1", slots_free=0), local("a", "n2"), local("b")
    job = Job(model="a", allow_substitution=True, fallback=("b",))
    assert ranked(job, other, one, two) == [two.key, one.key, other.key]
    assert ranked(replace(job, allow_substitution=False), other, one, two) == [two.key, one.key]


@pytest.mark.parametrize(
    ("job", "target", "reason"),
    [
        (Job(model="a"), local("b"), "SUBSTITUTION_REFUSED"),
        (Job(candidates=("a",)), local("b"), "NO_ELIGIBLE_TARGET"),
        (Job(model="c", local_only=True), cloud("c"), "PERMISSION_DENIED"),
        (Job(tiers=frozenset({"premium"})), local("a"), "NO_ELIGIBLE_TARGET"),
        (Job(model="a"), local("a", serving=False, state="loading"), "UNAVAILABLE"),
        (Job(model="a", needs=frozenset({"chat"})), local("a"), "CAPABILITY_MISSING"),
        (Job(model="a", least_prompt_tokens=2048), local("a"), "CAPABILITY_MISSING"),
        (Job(), local("a", abilities=Abilities(generate=False)), "CAPABILITY_MISSING"),
        (Job(model="a", variant="a-8bit"), local("a", served_as="a-4bit"), "NO_ELIGIBLE_TARGET"),
        (
            Job(model="e"),
            cloud("e", verdict=Verdict("eliminated", chosen=False, needs_flag=True)),
            "NO_ELIGIBLE_TARGET",
        ),
        (Job(), cloud("r", "selective", verdict=Verdict("rarely", only_complex=True)), "NO_ELIGIBLE_TARGET"),
        (Job(), cloud("s", "selective", verdict=Verdict("skip", chosen=False)), "NO_ELIGIBLE_TARGET"),
    ],
)
def test_why_a_target_is_out(job: Job, target: Target, reason: str) -> None:
    assert why(job, target) == reason


def test_an_eliminated_model_answers_only_who_names_it_and_says_so() -> None:
    target = cloud("e", verdict=Verdict("eliminated", chosen=False, needs_flag=True))
    assert ranked(Job(model="e", allow_eliminated=True), target) == [target.key]
    assert ranked(Job(candidates=("e",), allow_eliminated=True), target) == []


def test_a_cost_bound_excludes_what_may_exceed_it_and_what_nobody_can_price() -> None:
    def priced(nanos: int | None) -> Prices:
        return Prices(lambda job, target: nanos, lambda job, target: nanos)

    job = Job(model="c", max_cost_nanos=100)
    assert ranked(job, cloud("c"), prices=priced(100)) != []
    assert why(job, cloud("c"), priced(101)) == "BUDGET_EXCEEDED"
    assert why(job, cloud("c"), priced(None)) == "NO_ELIGIBLE_TARGET"


def test_refusals_tell_what_would_help() -> None:
    never = choose(Job(model="a"), Snapshot(), Load(), 0.0, FREE)
    assert isinstance(never, Refusal) and isinstance(never.error, Unavailable)
    assert never.error.retry_after is not None
    loading = choose(Job(model="a"), seen(local("a", serving=False, state="loading")), Load(), 0.0, FREE)
    assert isinstance(loading, Refusal) and isinstance(loading.error, Unavailable)
    nowhere = choose(Job(model="a"), seen(local("b")), Load(), 0.0, FREE)
    assert isinstance(nowhere, Refusal) and isinstance(nowhere.error, NoEligibleTarget)
    assert "served now: b" in str(nowhere.error)
    unable = choose(Job(model="a", needs=frozenset({"tools"})), seen(local("a")), Load(), 0.0, FREE)
    assert isinstance(unable, Refusal) and isinstance(unable.error, Unsupported)


MODELS = ["a", "b", "c"]
targets = st.lists(
    st.one_of(
        st.builds(
            local,
            st.sampled_from(MODELS),
            st.sampled_from(["n1", "n2", "n3"]),
            serving=st.booleans(),
            slots_free=st.integers(0, 4),
            queued=st.integers(0, 9),
            tokens_per_second=st.none() | st.floats(1, 100),
        ),
        st.builds(cloud, st.sampled_from(MODELS), st.sampled_from(["selective", "premium"])),
    ),
    max_size=8,
    unique_by=lambda target: target.key,
)
jobs = st.builds(
    Job,
    model=st.sampled_from(["", "a"]),
    objective=st.sampled_from(["", *OBJECTIVES]),
    local_only=st.booleans(),
    allow_substitution=st.booleans(),
    validation=st.booleans(),
    fallback=st.sampled_from([(), ("b",), ("c", "b")]),
    max_cost_nanos=st.none() | st.integers(0, 10),
)
loads = st.builds(
    Load,
    last_turn=st.dictionaries(st.sampled_from(MODELS), st.integers(1, 9)),
    failing=st.just({}),
)


@given(jobs, targets, loads)
def test_whatever_the_mesh_looks_like(job: Job, found: list[Target], load: Load) -> None:
    """Nothing leaves that must stay, no model is replaced without leave, each target is weighed once, and the
    order of the snapshot does not matter."""
    made = choose(job, seen(*found), load, 0.0, FREE)
    assert sorted(one.target.key for one in made.weighed) == sorted(target.key for target in found)
    assert [one.rank for one in made.weighed if one.out is None] == list(
        range(1, 1 + sum(one.out is None for one in made.weighed))
    )
    turned = choose(job, seen(*reversed(found)), load, 0.0, FREE)
    if isinstance(made, Refusal):
        assert isinstance(turned, Refusal)
        return
    assert isinstance(turned, Choice)
    assert [target.key for target in made.ranked] == [target.key for target in turned.ranked]
    for target in made.ranked:
        assert target.serving
        assert target.local or not job.local_only
        assert target.model == job.model or not job.model or job.allow_substitution
