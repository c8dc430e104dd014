"""A peer that is frozen, not gone: its sockets stay open, so only pings can tell."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf.wrappers_pb2 import StringValue

from orchestra_errors import Unavailable
from orchestra_rpc import call_stream, open_channel

PROGRAM = """
import asyncio
import grpc
from google.protobuf.wrappers_pb2 import StringValue
from orchestra_rpc import RpcSettings, Service, serve
from orchestra_telemetry import configure_logging

async def stream(request, context):
    yield StringValue(value="one")
    await asyncio.sleep(float(request.value))
    yield StringValue(value="two")

def add(_servicer, server):
    method = grpc.unary_stream_rpc_method_handler(
        stream,
        request_deserializer=StringValue.FromString,
        response_serializer=StringValue.SerializeToString,
    )
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("t.S", {"Stream": method}),))

configure_logging("probe")
asyncio.run(serve([Service("t.S", add, None)], settings=RpcSettings(),
                  on_bound=lambda host, port: print(port, flush=True)))
"""


@pytest.mark.long
@pytest.mark.timeout(120)
@pytest.mark.parametrize("frozen", [True, False])
async def test_a_frozen_peer_is_noticed_and_a_quiet_one_is_left_alone(tmp_path: Path, frozen: bool) -> None:
    """Pings that come too often for the server would end a quiet stream with GOAWAY: both in one."""
    program = tmp_path / "service.py"
    program.write_text(PROGRAM)
    process = subprocess.Popen([sys.executable, str(program)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        port = int(await asyncio.to_thread(process.stdout.readline))
        async with open_channel(f"127.0.0.1:{port}") as channel:
            stream = channel.unary_stream(
                "/t.S/Stream",
                request_serializer=StringValue.SerializeToString,
                response_deserializer=StringValue.FromString,
            )
            quiet = "3600" if frozen else "21"
            async with call_stream(stream(StringValue(value=quiet), timeout=90)) as events:
                assert (await anext(events)).value == "one"
                if not frozen:
                    assert (await anext(events)).value == "two"
                    return
                os.kill(process.pid, signal.SIGSTOP)
                with pytest.raises(Unavailable):
                    async with asyncio.timeout(60):
                        await anext(events)
    finally:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.communicate()
