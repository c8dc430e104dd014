"""Spans tell the truth about how a call ended, and one request is one trace."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from opentelemetry.trace import StatusCode

from orchestra_errors import NoCapacity, OrchestraError
from orchestra_rpc import call_stream, call_unary
from orchestra_telemetry import Telemetry, call_trace_id, names, span


def count(telemetry: Telemetry, name: str, **labels: str) -> float:
    return telemetry.metrics.registry.get_sample_value(name, labels) or 0.0


@pytest.mark.parametrize(
    ("how", "code"),
    [
        ("ok", "OK"),
        ("failed", "RESOURCE_EXHAUSTED"),
        ("mistake", "INTERNAL"),
        ("deadline", "DEADLINE_EXCEEDED"),
    ],
)
async def test_server_and_client_spans_end_with_the_right_status(
    net: Any, probe_type: Any, text: Any, how: str, code: str
) -> None:
    async def stream(request: Any, context: Any) -> Any:
        yield text("one")
        if how == "failed":
            raise NoCapacity("m", 1)
        if how == "mistake":
            raise RuntimeError("secret")
        if how == "deadline":
            await asyncio.Event().wait()
        yield text("two")

    probe = probe_type(stream=stream)
    telemetry = probe.telemetry()
    caller = await net.caller(await net.server(probe, telemetry), telemetry)
    try:
        async with call_stream(caller.stream(text("x"), timeout=0.4 if how == "deadline" else 20)) as events:
            async for _ in events:
                pass
    except OrchestraError as exc:
        assert exc.status_code == code
    server, client = await probe.spans.only("SERVER"), await probe.spans.only("CLIENT")
    for one in (server, client):
        assert one.name == "test.v1.ProbeService/Stream"
        assert one.status.status_code is (StatusCode.UNSET if how == "ok" else StatusCode.ERROR)
        assert one.attributes.get(names.ERROR_TYPE) == (None if how == "ok" else code)
        assert "secret" not in str(one.status.description)
    assert server.parent.span_id == client.context.span_id
    assert server.attributes[names.MESSAGES] == (2 if how == "ok" else 1)
    assert server.attributes[names.TIME_TO_FIRST] > 0
    assert client.parent is None


async def test_a_cancelled_stream_is_not_a_success(net: Any, probe_type: Any, text: Any) -> None:
    async def stream(request: Any, context: Any) -> Any:
        yield text("one")
        await asyncio.Event().wait()

    probe = probe_type(stream=stream)
    telemetry = probe.telemetry()
    caller = await net.caller(await net.server(probe, telemetry), telemetry)
    async with call_stream(caller.stream(text("x"))) as events:
        await anext(events)
    for kind in ("SERVER", "CLIENT"):
        one = await probe.spans.only(kind)
        assert one.status.status_code is StatusCode.ERROR
        assert one.attributes[names.RPC_STATUS_CODE] == 1


async def test_three_hops_are_one_trace_with_one_root(net: Any, probe_type: Any, text: Any) -> None:
    ids: list[str] = []
    catcher = probe_type().spans

    async def last(request: Any, context: Any) -> Any:
        with span(names.generation_span("chat", "smollm2"), {names.GEN_AI_REQUEST_MODEL: "smollm2"}):
            ids.append(call_trace_id())
            return text("done")

    def probe(**what: Any) -> tuple[Any, Telemetry]:
        made = probe_type(spans=catcher, **what)
        return made, made.telemetry()

    bottom, telemetry = probe(ask=last)
    below = await net.caller(await net.server(bottom, telemetry), telemetry)

    async def middle(request: Any, context: Any) -> Any:
        ids.append(call_trace_id())
        return await call_unary(below.ask(request))

    top, telemetry = probe(ask=middle)
    server = await net.server(top, telemetry)
    caller = await net.caller(server, telemetry)
    await call_unary(caller.ask(text("x")))
    await server.drain()
    spans = catcher.ended
    assert len(spans) == 5  # client, server, client, server, the model call
    assert len({format(one.context.trace_id, "032x") for one in spans} | set(ids)) == 1
    known = {one.context.span_id for one in spans}
    assert [one.name for one in spans if one.parent is None or one.parent.span_id not in known] == [
        "test.v1.ProbeService/Ask"
    ]


async def test_a_hop_without_an_exporter_keeps_the_trace_whole(net: Any, probe_type: Any, text: Any) -> None:
    """Users are shown a trace id also where nothing is exported, and a silent hop must not cut the tree."""
    ids: list[str] = []
    bottom = probe_type()

    async def last(request: Any, context: Any) -> Any:
        ids.append(call_trace_id())
        return text("done")

    bottom.ask = last
    below = await net.caller(await net.server(bottom, bottom.telemetry()))  # this channel records nothing

    async def middle(request: Any, context: Any) -> Any:
        ids.append(call_trace_id())
        return await call_unary(below.ask(request))

    top = probe_type(ask=middle)
    caller = await net.caller(await net.server(top))
    await call_unary(caller.ask(text("x")))
    assert len(set(ids)) == 1
    assert len(ids[0]) == 32
    server = await bottom.spans.only("SERVER")
    assert format(server.context.trace_id, "032x") == ids[0]


async def test_figures_per_method(net: Any, probe_type: Any, text: Any) -> None:
    async def stream(request: Any, context: Any) -> Any:
        yield text("one")
        if request.value == "fail":
            raise NoCapacity("m", 1)

    probe = probe_type(stream=stream)
    telemetry = Telemetry.off("probe")
    telemetry.metrics.declare(["test.v1.ProbeService/Stream"])
    server = await net.server(probe, telemetry)
    caller = await net.caller(server, telemetry)
    for value in ("ok", "fail"):
        try:
            async with call_stream(caller.stream(text(value))) as events:
                async for _ in events:
                    pass
        except NoCapacity:
            pass
    await server.drain()
    method = "test.v1.ProbeService/Stream"
    for code in ("OK", "RESOURCE_EXHAUSTED"):
        assert count(telemetry, "orchestra_rpc_server_calls_total", method=method, code=code) == 1
        assert count(telemetry, "orchestra_rpc_client_calls_total", method=method, code=code) == 1
    assert count(telemetry, "orchestra_rpc_server_first_message_seconds_count", method=method) == 2
    assert count(telemetry, "orchestra_rpc_server_running", method=method) == 0


async def test_background_tasks_keep_the_trace_and_not_the_deadline(
    net: Any, probe_type: Any, text: Any
) -> None:
    from orchestra_rpc import Background, current_deadline

    seen: list[Any] = []
    background = Background()

    async def later() -> None:
        seen.append((call_trace_id(), current_deadline()))

    async def ask(request: Any, context: Any) -> Any:
        seen.append((call_trace_id(), current_deadline()))
        await background.spawn(later(), name="later")
        return text("done")

    caller = await net.caller(await net.server(probe_type(ask=ask)))
    await call_unary(caller.ask(text("x")))
    await background.close()
    assert seen[0][0] == seen[1][0]
    assert seen[0][1] is not None
    assert seen[1][1] is None
