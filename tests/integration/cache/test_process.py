"""The service and its own Valkey live and die together, and what was stored outlives both."""

from __future__ import annotations

import asyncio
import base64
import fcntl
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc  # type: ignore[import-untyped]

from orchestra.cache.v1 import cache_service_pb2 as pb
from orchestra.cache.v1 import cache_service_pb2_grpc as pb_grpc

if TYPE_CHECKING:
    Stub = pb_grpc.CacheServiceAsyncStub

NAME = "orchestra.cache.v1.CacheService"
SERVING, NOT_SERVING = (
    health_pb2.HealthCheckResponse.SERVING,
    health_pb2.HealthCheckResponse.NOT_SERVING,
)


@pytest.fixture
def make(service: Any, tmp_path: Path) -> Any:
    """Makes cache processes; the module's own gives the class."""
    return lambda **variables: type(service)(tmp_path / "state", variables)


@asynccontextmanager
async def connected(process: Any) -> AsyncIterator[Stub]:
    async with grpc.aio.insecure_channel(process.address) as channel:
        yield pb_grpc.CacheServiceStub(channel)


def gone(pid: int, seconds: float = 10) -> bool:
    """Waits until a process that is not ours has ended."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    ready, _, _ = select.select([handle], [], [], seconds)
    os.close(handle)
    return bool(ready)


@pytest.mark.parametrize("end", ["stop", "kill"])
async def test_draws_survive_a_restart_and_no_server_is_left(make: Any, asker: Any, end: str) -> None:
    """Also after SIGKILL: the server notices, writes its snapshot, and the next service waits for it."""
    process = make().start()
    async with connected(process) as stub:
        await stub.Store(asker.store(asker.sample(), asker.sample(), request_id="q", payload_digest=b"p"))
        served = await stub.Lookup(asker.lookup(1, rollout_id="r"))
    valkey = process.valkey_pid()
    getattr(process, end)()
    again = make().start()
    assert gone(valkey)
    async with connected(again) as stub:
        found = await stub.Lookup(asker.lookup(2, rollout_id="r"))
        assert (found.stored_total, len(found.samples)) == (2, 1)
        assert found.samples[0].sample_id != served.samples[0].sample_id, "also the rollout is remembered"
        replayed = await stub.Lookup(asker.lookup(2, request_id="q", payload_digest=b"p"))
        assert replayed.replay == pb.REPLAY_STATE_REPLAYED
    valkey = again.valkey_pid()
    assert again.stop() == 0
    assert gone(valkey)


async def test_the_socket_is_nobody_elses(make: Any) -> None:
    process = make().start()
    folder = process.state / "valkey"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "s").stat().st_mode & 0o777 == 0o700
    process.stop()
    assert not (folder / "s").exists()


async def test_a_lost_store_is_told_and_started_again(make: Any, asker: Any) -> None:
    process = make().start()
    async with grpc.aio.insecure_channel(process.address) as channel:
        stub, health = pb_grpc.CacheServiceStub(channel), health_pb2_grpc.HealthStub(channel)
        watch = aiter(health.Watch(health_pb2.HealthCheckRequest(service=NAME)))
        assert (await anext(watch)).status == SERVING
        await stub.Store(asker.store(asker.sample()))
        os.kill(process.valkey_pid(), signal.SIGSTOP)
        stopped = int((process.state / "valkey.log").read_text().partition(":")[0])
        assert (await asyncio.wait_for(anext(watch), 15)).status == NOT_SERVING
        with pytest.raises(grpc.aio.AioRpcError) as away:
            await stub.Lookup(asker.lookup())
        assert away.value.code() is grpc.StatusCode.UNAVAILABLE
        os.kill(stopped, signal.SIGKILL)
        assert (await asyncio.wait_for(anext(watch), 15)).status == SERVING
        assert (await stub.Store(asker.store(asker.sample()))).stored == 1
    process.stop()


async def test_an_unreadable_snapshot_does_not_keep_the_service_down(make: Any) -> None:
    process = make()
    process.state.mkdir(parents=True)
    (process.state / "draws.rdb").write_bytes(b"REDIS0011 and then nothing that makes sense")
    process.start()
    assert any("snapshot cannot be read" in said["event"] for said in process.said)
    assert list(process.state.glob("draws.rdb.unreadable-*"))
    process.stop()


async def test_a_deep_state_folder(make: Any, asker: Any) -> None:
    """A socket's path has about a hundred bytes; folders are deeper."""
    process = make()
    process.state = process.state / ("deep" * 20) / ("deeper" * 10)
    process.start()
    async with connected(process) as stub:
        assert (await stub.Store(asker.store(asker.sample()))).stored == 1
    process.stop()
    assert (process.state / "draws.rdb").exists()


async def test_many_services_share_one_store(make: Any, asker: Any, service: Any, tmp_path: Path) -> None:
    """A store named by URL: what one replica serves to a rollout the other does not serve again."""
    config = tmp_path / "orchestra.yaml"
    config.write_text(f'cache: {{url: "unix://{service.state}/valkey/s"}}\n')
    replica = make(ORCHESTRA_CONFIG=str(config)).start()
    async with connected(replica) as one, connected(service) as other:
        await one.Store(asker.store(*(asker.sample() for _ in range(20))))
        calls = [stub.Lookup(asker.lookup(1, rollout_id="r")) for stub in (one, other) * 10]
        served = [sample.sample_id for found in await asyncio.gather(*calls) for sample in found.samples]
        assert len(served) == len(set(served)) == 20
        assert (await one.GetStats(pb.GetStatsRequest())).store.startswith("redis, valkey")
    assert replica.stop() == 0
    assert not (replica.state / "valkey").exists(), "it started no server of its own"


async def test_a_full_store_makes_room_and_goes_on(make: Any, asker: Any, tmp_path: Path) -> None:
    config = tmp_path / "orchestra.yaml"
    config.write_text("cache: {max_bytes: 4MB}\n")
    process = make(ORCHESTRA_CONFIG=str(config)).start()
    async with connected(process) as stub:
        for i in range(32):
            # random letters do not compress
            draws = [asker.sample(base64.b85encode(os.urandom(20_000)).decode()) for _ in range(8)]
            stored = await stub.Store(asker.store(*draws, subject=asker.subject(f"prompt {i}")))
            assert stored.stored == 8
        stats = await stub.GetStats(pb.GetStatsRequest())
        assert stats.max_bytes == 4_000_000
        assert stats.evicted > 0
        assert 0 < stats.sets < 32
        assert stats.samples == stats.sets * 8, "sets go whole"
    process.stop()


@pytest.mark.parametrize("taken", ["ORCHESTRA_LISTEN", "ORCHESTRA_METRICS_PORT"])
def test_a_port_in_use_is_one_line_and_leaves_no_server(make: Any, taken: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        host, port = other.getsockname()
        value = f"{host}:{port}" if taken == "ORCHESTRA_LISTEN" else str(port)
        process = make(**{"ORCHESTRA_LOG_LEVEL": "error", taken: value})
        with pytest.raises(pytest.fail.Exception):
            process.start()
    assert process.process.wait(10) == 1
    process.process.stdout.close()
    # gRPC's core has its own word before ours
    assert process.said[-1]["event"].startswith("cache: ")
    assert str(port) in process.said[-1]["event"]
    with open(process.state / "lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # its own server would hold it


def test_what_cannot_be_used_is_one_line(tmp_path: Path) -> None:
    config = tmp_path / "orchestra.yaml"
    config.write_text('cache: {url: "redis+cluster://10.0.0.1:6379"}\n')
    own = {"ORCHESTRA_CONFIG": str(config), "ORCHESTRA_STATE_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "orchestra_cache"]
    done = subprocess.run(command, env=os.environ | own, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("cache: cache.url names a Redis Cluster")
    assert len(done.stderr.strip().splitlines()) == 1
