"""Health by name, reflection, ports, and the drain."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from orchestra_errors import Draining, PeerFailed
from orchestra_rpc import PortInUse, RpcSettings, Shutdown, call_stream, call_unary

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


async def test_health_answers_by_name_and_follows_its_checks(net: Any, probe_type: Any) -> None:
    well = {"store": True}

    async def store() -> bool:
        if not well["store"]:
            raise ConnectionError("gone")
        return True

    server = await net.server(probe_type(), checks=[store])
    stub = health_pb2_grpc.HealthStub((await net.caller(server)).channel)

    async def status(name: str) -> int:
        return (await call_unary(stub.Check(health_pb2.HealthCheckRequest(service=name)))).status

    assert await status("test.v1.ProbeService") == SERVING
    assert await status("") == SERVING
    with pytest.raises(PeerFailed) as raised:
        await status("test.v1.Nothing")
    assert raised.value.status_code == "NOT_FOUND"

    request = health_pb2.HealthCheckRequest(service="test.v1.ProbeService")
    async with call_stream(stub.Watch(request)) as changes:
        assert (await anext(changes)).status == SERVING
        well["store"] = False
        assert (await anext(changes)).status == NOT_SERVING
        listed = await call_unary(stub.List(health_pb2.HealthListRequest()))
        assert {name: one.status for name, one in listed.statuses.items()} == {
            "": NOT_SERVING,
            "test.v1.ProbeService": NOT_SERVING,
        }
        well["store"] = True
        assert (await anext(changes)).status == SERVING


async def test_reflection_lists_every_service(net: Any, probe_type: Any) -> None:
    stub = reflection_pb2_grpc.ServerReflectionStub(
        (await net.caller(await net.server(probe_type()))).channel
    )
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    async with call_stream(stub.ServerReflectionInfo(iter([request]))) as answers:
        names = {service.name for service in (await anext(answers)).list_services_response.service}
    assert {"test.v1.ProbeService", "grpc.health.v1.Health"} <= names


async def test_a_port_in_use_is_one_clear_line(net: Any, probe_type: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(PortInUse) as raised:
            await net.server(probe_type(), listen=address)
    assert str(raised.value) == f"cannot listen on {address}: Address already in use"
    with pytest.raises(PortInUse, match="not host:port"):
        await net.server(probe_type(), listen="127.0.0.1:many")


async def test_two_servers_never_share_a_port(net: Any, probe_type: Any) -> None:
    """With SO_REUSEPORT a forgotten process would answer every second call."""
    first = await net.server(probe_type())
    with pytest.raises(PortInUse, match="in use"):
        await net.server(probe_type(), listen=first.address)


async def test_the_drain_finishes_running_streams_and_refuses_new_calls(
    net: Any, probe_type: Any, text: Any
) -> None:
    go_on = asyncio.Event()

    async def stream(request: Any, context: Any) -> Any:
        yield text("one")
        await go_on.wait()
        yield text("two")

    async def ask(request: Any, context: Any) -> Any:
        return text("answer")

    server = await net.server(probe_type(stream=stream, ask=ask))
    caller = await net.caller(server)
    health = health_pb2_grpc.HealthStub(caller.channel)
    async with call_stream(caller.stream(text("x"))) as events:
        assert (await anext(events)).value == "one"
        async with call_stream(health.Watch(health_pb2.HealthCheckRequest())) as changes:
            assert (await anext(changes)).status == SERVING
            drain = asyncio.create_task(server.drain())
            assert (await anext(changes)).status == NOT_SERVING
        with pytest.raises(Draining) as raised:
            await call_unary(caller.ask(text("x")))
        assert raised.value.retry_after
        assert not drain.done()
        go_on.set()
        assert [event.value async for event in events] == ["two"]
    await drain


async def test_the_drain_ends_what_does_not_finish_and_watches_first(
    net: Any, probe_type: Any, text: Any
) -> None:
    async def endless(request: Any, context: Any) -> Any:
        yield text("one")
        await asyncio.Event().wait()

    async def chat(requests: Any, context: Any) -> Any:
        async for _ in requests:
            yield text("watching")
        await asyncio.Event().wait()

    watch = "/test.v1.ProbeService/Chat"
    server = await net.server(probe_type(stream=endless, chat=chat), drain_s=0.3, open_ended=[watch])
    caller = await net.caller(server)
    ended: list[str] = []

    async def read(call: Any, name: str, began: asyncio.Event) -> None:
        with pytest.raises(Draining):
            async with call_stream(call) as events:
                async for _ in events:
                    began.set()
        ended.append(name)

    began = [asyncio.Event(), asyncio.Event()]
    tasks = [
        asyncio.create_task(read(caller.stream(text("x")), "stream", began[0])),
        asyncio.create_task(read(caller.chat(iter([text("x")])), "watch", began[1])),
    ]
    for event in began:
        await event.wait()
    await server.drain()
    await asyncio.gather(*tasks)
    assert ended == ["watch", "stream"]


async def test_things_close_in_order_and_one_failure_holds_up_nothing() -> None:
    closed: list[str] = []
    shutdown = Shutdown(limit_s=0.1)

    def closer(name: str) -> Any:
        async def close() -> None:
            closed.append(name)
            if name == "broken":
                raise OSError("no")
            if name == "stuck":
                await asyncio.Event().wait()

        return close

    shutdown.add("pool", closer("pool"), after=["flusher", "broken", "stuck"])
    for name in ("flusher", "broken", "stuck"):
        shutdown.add(name, closer(name))
    shutdown.add("telemetry", closer("telemetry"), after=["pool"])
    await shutdown.close()
    assert sorted(closed[:3]) == ["broken", "flusher", "stuck"]
    assert closed[3:] == ["pool", "telemetry"]
    with pytest.raises(ValueError, match="by the name of nothing"):
        shutdown.add("x", closer("x"), after=["nothing"])
        await shutdown.close()


PROGRAM = """
import asyncio, sys
from orchestra_rpc import PortInUse, RpcSettings, Shutdown, serve
from orchestra_telemetry import configure_logging

async def main():
    configure_logging("probe")
    shutdown = Shutdown()
    async def close(): print("closed", flush=True)
    shutdown.add("thing", close)
    await serve([], settings=RpcSettings(listen=sys.argv[1]), shutdown=shutdown,
                on_bound=lambda host, port: print(port, flush=True))
    print("left", flush=True)

try:
    asyncio.run(main())
except PortInUse as exc:
    sys.exit(str(exc))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_process_serves_until_told_to_stop(tmp_path: Path, number: signal.Signals) -> None:
    program = tmp_path / "service.py"
    program.write_text(PROGRAM)
    how = [sys.executable, str(program)]
    process = subprocess.Popen(
        [*how, "127.0.0.1:0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        address = f"127.0.0.1:{port}"
        second = subprocess.run([*how, address], capture_output=True, text=True, timeout=30)
        assert second.returncode == 1
        assert second.stderr.splitlines()[-1] == f"cannot listen on {address}: Address already in use"
        os.kill(process.pid, number)
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
        process.communicate()
    assert out.splitlines() == ["closed", "left"]
    assert process.returncode == 0
    assert '"event": "serving"' in err
    assert f"127.0.0.1:{port}" in err


def test_settings_are_frozen_and_checked() -> None:
    with pytest.raises(ValueError, match="drain_s"):
        RpcSettings(drain_s=-1)
    with pytest.raises(ValueError, match="frozen"):
        RpcSettings().listen = "x"
