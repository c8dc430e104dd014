"""The real service as a process, with its own embedded Valkey."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from redis import Redis

from orchestra.cache.v1 import cache_service_pb2 as pb
from orchestra.cache.v1 import cache_service_pb2_grpc as pb_grpc
from orchestra.generation.v1 import event_pb2, request_pb2, usage_pb2


@dataclass
class CacheProcess:
    """`python -m orchestra_cache` on a free port; `said` are its log events so far."""

    state: Path
    variables: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[str] = field(init=False)
    address: str = ""
    said: list[dict[str, Any]] = field(default_factory=list)

    def start(self) -> CacheProcess:
        own = {
            "ORCHESTRA_LISTEN": "127.0.0.1:0",
            "ORCHESTRA_METRICS_PORT": "0",
            "ORCHESTRA_STATE_DIR": str(self.state),
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "orchestra_cache"],
            env=os.environ | own | self.variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.address = self.wait_for("serving")["address"]
        return self

    def wait_for(self, event: str) -> dict[str, Any]:
        """The next log event of that name; fails when the process ends without it."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            said = json.loads(line) if line.startswith("{") else {"event": line.strip()}
            self.said.append(said)
            if said["event"] == event:
                return said
        pytest.fail(f"ended without {event!r}: {self.said}")

    def stop(self) -> int:
        self.process.terminate()
        code = self.process.wait(20)
        if self.process.stdout is not None:
            self.process.stdout.close()
        return code

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(20)
        if self.process.stdout is not None:
            self.process.stdout.close()

    @property
    def redis(self) -> Redis:
        """Straight to its store."""
        return Redis(unix_socket_path=str(self.state / "valkey" / "s"))

    def valkey_pid(self) -> int:
        with self.redis as redis:
            return int(redis.info("server")["process_id"])


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CacheProcess]:
    started = CacheProcess(tmp_path_factory.mktemp("cache")).start()
    yield started
    assert started.stop() == 0


@pytest.fixture
async def stub(service: CacheProcess) -> AsyncIterator[pb_grpc.CacheServiceAsyncStub]:
    async with grpc.aio.insecure_channel(service.address) as channel:
        yield pb_grpc.CacheServiceStub(channel)


@dataclass
class Asker:
    """Messages of one tenant, about one prompt unless said otherwise."""

    tenant: str = field(default_factory=lambda: uuid.uuid4().hex)
    drawn: int = 0

    def subject(self, text: str = "def add(", **generation: Any) -> pb.Subject:
        asked = request_pb2.GenerationRequest(text=text, **generation)
        return pb.Subject(
            tenant=self.tenant, generation=asked, model="m", revision="sha256:1", provider="local"
        )

    def sample(self, text: str = "a + b", *, cost: int | None = 7, sample_id: str = "") -> pb.StoredSample:
        """A whole draw; its id says in which order it was made."""
        self.drawn += 1
        done = event_pb2.Finished(reason=event_pb2.FINISH_REASON_STOP)
        if cost is not None:
            done.cost.CopyFrom(usage_pb2.Cost(state=usage_pb2.COST_STATE_SETTLED, nanos=cost))
        events = [
            event_pb2.GenerationEvent(started=event_pb2.Started()),
            event_pb2.GenerationEvent(text_delta=event_pb2.TextDelta(text=text, token_ids=[1, 2])),
            event_pb2.GenerationEvent(finished=done),
        ]
        return pb.StoredSample(sample_id=sample_id or f"{self.tenant}-{self.drawn}", events=events)

    def store(
        self, *samples: pb.StoredSample, subject: pb.Subject | None = None, **more: Any
    ) -> pb.StoreRequest:
        return pb.StoreRequest(subject=subject or self.subject(), samples=samples, **more)

    def lookup(self, n: int = 1, *, subject: pb.Subject | None = None, **more: Any) -> pb.LookupRequest:
        return pb.LookupRequest(subject=subject or self.subject(), n=n, **more)


@pytest.fixture
def asker() -> Asker:
    return Asker()


def ids(response: pb.LookupResponse) -> list[str]:
    return [sample.sample_id for sample in response.samples]
