"""Messages become values, or every fault of them is named at once."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration

from orchestra.cache.v1 import cache_service_pb2 as pb
from orchestra.generation.v1 import event_pb2, request_pb2, usage_pb2
from orchestra.generation.v1.sampling_pb2 import Sampling
from orchestra_cache.domain.draws import Serving
from orchestra_cache.rpc import convert, flights
from orchestra_errors import InvalidRequest

Event = event_pb2.GenerationEvent


def subject(**generation: Any) -> pb.Subject:
    asked = request_pb2.GenerationRequest(**({"text": "x"} | generation))
    return pb.Subject(tenant="t", generation=asked, model="m", revision="1")


def sample(*deltas: Event, **cost: Any) -> pb.StoredSample:
    done = event_pb2.Finished(reason=event_pb2.FINISH_REASON_STOP, cost=usage_pb2.Cost(**cost))
    return pb.StoredSample(
        sample_id="s", events=[Event(started=event_pb2.Started()), *deltas, Event(finished=done)]
    )


def faults(read: Any, message: Any) -> set[str]:
    with pytest.raises(InvalidRequest) as refused:
        read(message)
    return {violation.field for violation in refused.value.violations}


def test_every_fault_of_a_lookup_is_named() -> None:
    wrong = pb.LookupRequest(request_id="r")
    wrong.subject.generation.cache.mode = 99  # type: ignore[assignment]
    wrong.subject.generation.cache.max_age.FromSeconds(-1)
    assert faults(convert.read_lookup, wrong) == {
        "n",
        "subject.tenant",
        "subject.model",
        "subject.generation.prompt",
        "subject.generation.cache.mode",
        "subject.generation.cache.max_age",
        "payload_digest",
    }


def test_every_fault_of_a_store_is_named() -> None:
    wrong = pb.StoreRequest(subject=subject(text="", sampling=Sampling(top_p=7)), samples=[pb.StoredSample()])
    wrong.subject.revision = ""
    assert faults(convert.read_store, wrong) == {
        "samples[0].sample_id",
        "samples[0].events",
        "subject.generation.text",
        "subject.generation.sampling.top_p",
        "subject.revision",
    }


def test_events_must_be_one_whole_sample() -> None:
    second = sample()
    second.events[-1].sample_index = 1
    twice = sample(Event(finished=event_pb2.Finished()))
    empty = sample(Event())
    store = pb.StoreRequest(subject=subject(), samples=[second, twice, empty])
    assert faults(convert.read_store, store) == {
        "samples[0].events",
        "samples[1].events",
        "samples[2].events[1]",
    }


def test_nothing_to_release_forget_acquire_publish_or_follow() -> None:
    assert faults(flights.read_release, pb.ReleaseRequest()) == {"key"}
    assert faults(flights.read_release, pb.ReleaseRequest(key="k", request_id="r")) == {"fence", "tenant"}
    assert faults(convert.read_invalidate, pb.InvalidateRequest()) == {"model"}
    assert faults(flights.read_acquire, pb.AcquireRequest(lease=Duration())) == {"key", "owner", "lease"}
    assert faults(flights.read_publish, pb.PublishRequest()) == {"key", "fence", "events"}
    assert faults(flights.check_follow, pb.FollowRequest(offset=-1)) == {"key", "offset"}


@pytest.mark.parametrize("mode", request_pb2.CacheMode.values())
def test_every_mode_is_known(mode: Any) -> None:
    asked = pb.LookupRequest(subject=subject(cache=request_pb2.CachePolicy(mode=mode)), n=1)
    assert isinstance(convert.read_lookup(asked).policy.serving, Serving)


def test_the_text_tells_draws_apart_whatever_its_pieces() -> None:
    """Distinctness looks at the answer: not at how it was cut into deltas, nor at what was thought before."""

    def text(word: str) -> Event:
        return Event(text_delta=event_pb2.TextDelta(text=word))

    thought = Event(reasoning_delta=event_pb2.ReasoningDelta(text="hm"))
    call = Event(tool_call_delta=event_pb2.ToolCallDelta(name="run", arguments_json="{}"))
    samples = [sample(text("ab")), sample(thought, text("a"), text("b")), sample(text("ab"), call)]
    deposit = convert.read_store(pb.StoreRequest(subject=subject(), samples=samples))
    one, same, other = (draw.text_digest for draw in deposit.draws)
    assert one == same != other


def test_what_a_draw_costs_again() -> None:
    costs = [{"nanos": 5}, {"nanos": 0, "saved_nanos": 7}, {}]
    samples = [sample(**cost) for cost in costs]
    deposit = convert.read_store(pb.StoreRequest(subject=subject(), samples=samples))
    assert [draw.cost_nanos for draw in deposit.draws] == [5, 7, None]


def test_heartbeats_are_not_kept() -> None:
    beating = sample(Event(heartbeat=event_pb2.Heartbeat()))
    (draw,) = convert.read_store(pb.StoreRequest(subject=subject(), samples=[beating])).draws
    assert len(pb.StoredSample.FromString(draw.payload).events) == 2
