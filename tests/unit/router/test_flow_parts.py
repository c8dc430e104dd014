"""Parts of flows that need no server."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from orchestra.generation.v1 import event_pb2, request_pb2, usage_pb2
from orchestra.router.v1 import router_service_pb2 as pb
from orchestra_errors import NoCapacity, OrchestraError, Unavailable
from orchestra_router.adapters.gathering import Gathered
from orchestra_router.adapters.silence import Silence
from orchestra_router.flows.admission import Admission
from orchestra_router.flows.batch import labelled
from orchestra_router.flows.intake import needs, payload_digest
from orchestra_router.flows.keeping import merged
from orchestra_router.flows.outbox import MOST_EVENTS, ROOM_PACKETS, Outbox
from orchestra_router.flows.pricing import total

Event = event_pb2.GenerationEvent


def delta(text: str, index: int = 0) -> Event:
    return Event(
        sample_index=index, text_delta=event_pb2.TextDelta(text=text, token_ids=[1], logprobs=[-0.5])
    )


async def test_what_waits_for_a_slow_receiver_merges_and_nothing_is_lost() -> None:
    box = Outbox(pb.GenerateBatchResponse, labelled)
    for position in range(1000):
        box.put("a", delta(f"{position} "))
        box.put("b", delta("x"))
    box.close()
    (packet,) = [packet async for packet in box.packets()]
    assert [one.correlation_id for one in packet.events] == ["a", "b"]
    assert packet.events[0].event.text_delta.text == "".join(f"{n} " for n in range(1000))
    assert len(packet.events[0].event.text_delta.token_ids) == 1000


async def test_a_reader_who_waits_gets_each_token_as_it_comes() -> None:
    box = Outbox(pb.GenerateBatchResponse, labelled)
    packets = box.packets()
    for word in ("a", "b"):
        reading = asyncio.ensure_future(anext(packets))
        await asyncio.sleep(0)
        box.put("x", delta(word))
        assert (await reading).events[0].event.text_delta.text == word
    await packets.aclose()


async def test_deltas_do_not_merge_over_another_event_of_their_sample() -> None:
    box = Outbox(pb.GenerateBatchResponse, labelled)
    tool = Event(tool_call_delta=event_pb2.ToolCallDelta(id="t"))
    for event in (delta("a"), tool, delta("b")):
        box.put("x", event)
    box.close()
    (packet,) = [packet async for packet in box.packets()]
    assert [one.event.WhichOneof("event") for one in packet.events] == [
        "text_delta",
        "tool_call_delta",
        "text_delta",
    ]


async def test_sources_are_held_up_while_the_receiver_is_far_behind() -> None:
    box = Outbox(pb.GenerateBatchResponse, labelled)
    for number in range(MOST_EVENTS * (ROOM_PACKETS + 2)):
        box.put(str(number), delta("x"))
    waiting = asyncio.ensure_future(box.room())
    await asyncio.sleep(0)
    assert not waiting.done()
    packets = box.packets()
    await anext(packets)
    await anext(packets)
    await asyncio.wait_for(waiting, 1)
    await packets.aclose()


async def test_an_error_reaches_the_receiver_after_what_was_packed() -> None:
    box = Outbox(pb.GenerateBatchResponse, labelled)
    box.put("x", delta("a"))
    box.close(Unavailable("it"))
    packets = box.packets()
    assert len((await anext(packets)).events) == 1
    with pytest.raises(Unavailable):
        await anext(packets)


async def test_questions_that_are_ready_together_go_together() -> None:
    rounds: list[list[int]] = []

    async def send(questions: Sequence[int]) -> Sequence[int | OrchestraError]:
        rounds.append(list(questions))
        await asyncio.sleep(0)
        return [Unavailable("three") if one == 3 else one * 10 for one in questions]

    gathered: Gathered[int, int] = Gathered(send, most=4)
    answers = await asyncio.gather(*(gathered.ask(one) for one in range(6)), return_exceptions=True)
    assert rounds == [[0, 1, 2, 3], [4, 5]]
    assert [a for a in answers if isinstance(a, int)] == [0, 10, 20, 40, 50]
    assert isinstance(answers[3], Unavailable)


async def test_one_who_stops_asking_disturbs_nobody() -> None:
    gate = asyncio.Event()

    async def send(questions: Sequence[int]) -> Sequence[int | OrchestraError]:
        await gate.wait()
        return list(questions)

    gathered: Gathered[int, int] = Gathered(send, most=4)
    asking = [asyncio.create_task(gathered.ask(one)) for one in range(3)]
    await asyncio.sleep(0)
    asking[1].cancel()
    gate.set()
    assert [await asking[0], await asking[2]] == [0, 2]


async def test_silence_ends_a_stream_and_our_own_slowness_does_not() -> None:
    ended = asyncio.Event()
    with Silence(ended.set, first_s=0.03, later_s=0.03) as silence:
        silence.hold(True)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(ended.wait(), 0.1)
        silence.hold(False)
        await asyncio.wait_for(ended.wait(), 1)
    assert silence.broken_after == 0.03


def test_admission_refuses_beyond_its_bound_and_frees_on_the_way_out() -> None:
    admission = Admission(1)
    with admission.hold(), pytest.raises(NoCapacity), admission.hold():
        pass
    with admission.hold():
        assert admission.admitted == 1
    assert admission.admitted == 0


def test_stored_events_are_joined_into_one_of_their_kind() -> None:
    started = Event(started=event_pb2.Started())
    events = merged([started, delta("a"), delta("b"), delta("c"), Event(finished=event_pb2.Finished())])
    assert [event.WhichOneof("event") for event in events] == ["started", "text_delta", "finished"]
    assert events[1].text_delta.text == "abc"
    assert list(events[1].text_delta.token_ids) == [1, 1, 1]
    assert len(events[1].text_delta.logprobs) == 3


def test_a_sum_is_as_certain_as_its_least_certain_part() -> None:
    settled = usage_pb2.Cost(state=usage_pb2.COST_STATE_SETTLED, nanos=5)
    unknown = usage_pb2.Cost(state=usage_pb2.COST_STATE_UNKNOWN)
    assert (total([settled, settled]).state, total([settled, settled]).nanos) == (
        usage_pb2.COST_STATE_SETTLED,
        10,
    )
    assert (total([settled, unknown]).state, total([settled, unknown]).nanos) == (
        usage_pb2.COST_STATE_UNKNOWN,
        5,
    )
    assert not total([]).HasField("nanos")


def test_the_digest_of_a_payload_ignores_its_id_alone() -> None:
    request = request_pb2.GenerationRequest(text="a", labels={"x": "1", "y": "2"}, request_id="one")
    other = request_pb2.GenerationRequest(text="a", labels={"y": "2", "x": "1"}, request_id="two")
    assert payload_digest(request) == payload_digest(other)
    other.text = "b"
    assert payload_digest(request) != payload_digest(other)


def test_needs_name_what_a_target_must_be_able_to_do() -> None:
    request = request_pb2.GenerationRequest()
    request.chat.messages.add().parts.add().image.uri = "file:x"
    request.sampling.logprobs = True
    request.sampling.grammar = 'root ::= "a"'
    assert needs(request) == {"chat", "images", "logprobs", "grammar"}
