"""A kind raised anywhere reaches the caller as the same kind, over any number of hops, mid-stream too."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from orchestra_errors import (
    DeadlineExceeded,
    FieldViolation,
    Internal,
    InvalidRequest,
    NoCapacity,
    NotFound,
    NotYet,
    OrchestraError,
    PeerFailed,
    Violations,
)
from orchestra_rpc import call_stream, call_unary


async def test_a_kind_survives_three_hops_mid_stream(net: Any, probe_type: Any, text: Any) -> None:
    async def last(request: Any, context: Any) -> Any:
        yield text("one")
        raise NoCapacity("smollm2", retry_after=2.5)

    caller = await net.caller(await net.server(probe_type(stream=last)))
    for _ in range(2):
        below = caller

        async def middle(request: Any, context: Any, below: Any = below) -> Any:
            async with call_stream(below.stream(request)) as events:
                async for event in events:
                    yield event

        caller = await net.caller(await net.server(probe_type(stream=middle)))

    got = []
    with pytest.raises(NoCapacity) as raised:
        async with call_stream(caller.stream(text("x"))) as events:
            async for event in events:
                got.append(event.value)
    assert got == ["one"]
    assert raised.value.retry_after == 2.5
    assert raised.value.metadata == {"model": "smollm2"}
    assert "smollm2" in raised.value.message


async def test_a_downstream_error_that_nobody_catches_passes_unchanged(
    net: Any, probe_type: Any, text: Any
) -> None:
    async def last(request: Any, context: Any) -> Any:
        raise NotFound("model", "smolm2", nearest=["smollm2"])

    below = await net.caller(await net.server(probe_type(ask=last)))

    async def middle(request: Any, context: Any) -> Any:
        return await below.ask(request)  # raw: an AioRpcError flies

    caller = await net.caller(await net.server(probe_type(ask=middle)))
    with pytest.raises(NotFound) as raised:
        await call_unary(caller.ask(text("x")))
    assert raised.value.metadata["nearest"] == "smollm2"


async def test_details_on_the_wire_are_googles(net: Any, probe_type: Any, text: Any) -> None:
    """grpcurl and other languages read these without our libraries."""

    async def ask(request: Any, context: Any) -> Any:
        found = Violations("sampling.")
        found.add("max_tokens", "must be positive, got -3")
        found.add("top_p", "must be in (0, 1], got 7")
        found.raise_if_any()

    caller = await net.caller(await net.server(probe_type(ask=ask)))
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await caller.ask(text("x"))
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    packed = dict(raised.value.trailing_metadata() or ())["grpc-status-details-bin"]
    status = status_pb2.Status.FromString(packed)
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    assert status.details[0].Unpack(info)
    assert status.details[1].Unpack(bad)
    assert (info.domain, info.reason) == ("orchestra", "INVALID_REQUEST")
    assert [v.field for v in bad.field_violations] == ["sampling.max_tokens", "sampling.top_p"]


async def test_a_thousand_violations_still_reach_the_caller(net: Any, probe_type: Any, text: Any) -> None:
    """Details over gRPC's metadata limit would be lost whole."""

    async def ask(request: Any, context: Any) -> Any:
        raise InvalidRequest([FieldViolation(f"items[{i}].größe", "muß " * 200) for i in range(1000)])

    caller = await net.caller(await net.server(probe_type(ask=ask)))
    plain = grpc.aio.insecure_channel(caller.channel.target, options=[("grpc.enable_http_proxy", 0)])
    async with plain:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await plain.unary_unary("/test.v1.ProbeService/Ask")(b"")
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    with pytest.raises(InvalidRequest) as kind:
        await call_unary(caller.ask(text("x")))
    assert kind.value.violations[0].field == "items[0].größe"
    assert "more" in kind.value.violations[-1].description


async def test_our_own_mistakes_tell_nothing_but_the_trace(
    net: Any, probe_type: Any, text: Any, capsys: Any
) -> None:
    """A ValueError inside is not the caller's fault, and its text may hold anything."""

    async def ask(request: Any, context: Any) -> Any:
        raise ValueError("password=hunter2")

    caller = await net.caller(await net.server(probe_type(ask=ask)))
    with pytest.raises(Internal) as raised:
        await call_unary(caller.ask(text("x")))
    assert "hunter2" not in repr(raised.value.__dict__) + raised.value.message
    assert len(raised.value.metadata["trace_id"]) == 32


async def test_a_kind_inside_a_task_group_is_found(net: Any, probe_type: Any, text: Any) -> None:
    async def fail() -> None:
        raise NotFound("key", "k")

    async def ask(request: Any, context: Any) -> Any:
        async with asyncio.TaskGroup() as group:
            group.create_task(fail())

    caller = await net.caller(await net.server(probe_type(ask=ask)))
    with pytest.raises(NotFound):
        await call_unary(caller.ask(text("x")))


@pytest.mark.parametrize("shape", ["ask", "gather"])
async def test_single_answers_of_both_shapes(net: Any, probe_type: Any, text: Any, shape: str) -> None:
    async def ask(request: Any, context: Any) -> Any:
        return text("got " + request.value)

    async def gather(requests: Any, context: Any) -> Any:
        return text("got " + "".join([r.value async for r in requests]))

    caller = await net.caller(await net.server(probe_type(ask=ask, gather=gather)))
    if shape == "ask":
        assert (await call_unary(caller.ask(text("a")))).value == "got a"
    else:
        assert (await call_unary(caller.gather(iter([text("a"), text("b")])))).value == "got ab"


@pytest.mark.parametrize("style", ["generator", "writing"])
async def test_streams_of_both_styles(net: Any, probe_type: Any, text: Any, style: str) -> None:
    async def generator(requests: Any, context: Any) -> Any:
        async for request in requests:
            yield text(request.value * 2)
        raise NotFound("more", "nothing")

    async def writing(requests: Any, context: Any) -> None:
        while (request := await context.read()) is not grpc.aio.EOF:
            await context.write(text(request.value * 2))
        raise NotFound("more", "nothing")

    chat = generator if style == "generator" else writing
    caller = await net.caller(await net.server(probe_type(chat=chat)))
    got = []
    with pytest.raises(NotFound):
        async with call_stream(caller.chat(iter([text("a"), text("b")]))) as events:
            async for event in events:
                got.append(event.value)
    assert got == ["aa", "bb"]


async def test_an_unknown_method_is_unimplemented(net: Any, probe_type: Any, text: Any) -> None:
    caller = await net.caller(await net.server(probe_type()))
    with pytest.raises(PeerFailed) as raised:
        await call_unary(caller.ask(text("x")))
    assert raised.value.status_code == "UNIMPLEMENTED"
    assert isinstance(raised.value, OrchestraError)


@pytest.mark.parametrize("shape", ["Ask", "Stream", "Chat"])
async def test_bytes_that_are_no_message_are_the_callers_mistake(
    net: Any, probe_type: Any, text: Any, shape: str
) -> None:
    async def ask(request: Any, context: Any) -> Any:
        return request

    async def stream(request: Any, context: Any) -> Any:
        yield request

    async def chat(requests: Any, context: Any) -> Any:
        async for request in requests:
            yield request

    caller = await net.caller(await net.server(probe_type(ask=ask, stream=stream, chat=chat)))
    method = f"/test.v1.ProbeService/{shape}"
    with pytest.raises(InvalidRequest) as raised:
        if shape == "Ask":
            await call_unary(caller.channel.unary_unary(method)(b"\xff\xff"))
        else:
            make = caller.channel.unary_stream if shape == "Stream" else caller.channel.stream_stream
            async with call_stream(
                make(method)(b"\xff\xff" if shape == "Stream" else iter([b"\xff"]))
            ) as events:
                await anext(events)
    assert [v.field for v in raised.value.violations] == ["request"]


async def test_an_answer_of_the_wrong_type_tells_nothing(net: Any, probe_type: Any, text: Any) -> None:
    async def ask(request: Any, context: Any) -> Any:
        return 5

    caller = await net.caller(await net.server(probe_type(ask=ask)))
    with pytest.raises(Internal):
        await call_unary(caller.ask(text("x")))


async def test_a_handler_that_hides_its_cancellation_changes_nothing(
    net: Any, probe_type: Any, text: Any
) -> None:
    """Ending without Finished would look like a whole answer."""

    async def stream(request: Any, context: Any) -> Any:
        yield text("one")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return

    caller = await net.caller(await net.server(probe_type(stream=stream)))
    with pytest.raises(DeadlineExceeded):
        async with call_stream(caller.stream(text("x"), timeout=0.3)) as events:
            async for _ in events:
                pass


async def test_a_method_that_nobody_wrote_yet_says_so(net: Any, probe_type: Any, text: Any) -> None:
    """Generated base classes raise NotImplementedError; that is no accident of ours."""

    async def ask(request: Any, context: Any) -> Any:
        raise NotImplementedError("Method not implemented!")

    caller = await net.caller(await net.server(probe_type(ask=ask)))
    with pytest.raises(NotYet) as raised:
        await call_unary(caller.ask(text("x")))
    assert raised.value.metadata == {"missing": "test.v1.ProbeService/Ask"}
