"""The same without an event loop."""

from __future__ import annotations

import asyncio
import pickle
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

from orchestra.generation.v1 import event_pb2
from orchestra_client import Ask, Finished, SyncOrchestra
from orchestra_errors import NotFound

from .conftest import Running, started, text


def test_stream_collect_and_diverse(mesh: Running) -> None:
    with SyncOrchestra(mesh.address) as asked:
        assert "".join(asked.generate("x").text()) == "def é():"
        assert len(asked.generate("x", n=3).collect()) == 3
        with asked.diverse("x", plan={"a": 1, "b": 1}) as answer:
            assert [sample.model for sample in answer.samples()] == ["a", "b"]
        assert answer.summary is not None and len(answer.trace_id) == 32
        assert [model.name for model in asked.models()] == ["smollm2-135m", "gemma3-270m"]
        pairs = list(asked.batch([("k", Ask(prompt="p"))]))
        assert [key for key, event in pairs if isinstance(event, Finished)] == ["k"]
        with pytest.raises(NotFound):
            asked.explain("x", model="smolm")


def test_leaving_the_loop_ends_the_work(mesh: Running) -> None:
    async def endless(request: Any) -> AsyncIterator[event_pb2.GenerationEvent]:
        yield started()
        while True:
            yield text("more ")
            await asyncio.sleep(0.01)

    mesh.router.script = endless
    with SyncOrchestra(mesh.address) as asked, asked.generate("x") as answer:
        for _ in answer:
            break
    assert mesh.router.released.wait(5)


def test_threads_share_one(mesh: Running) -> None:
    found: list[str] = []
    with SyncOrchestra(mesh.address) as asked:

        def ask() -> None:
            found.append(asked.generate("x").collect()[0].text)

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
    assert found == ["def é():"] * 8


WORKER = """
import pickle, sys
from orchestra_client import SyncOrchestra
settings = pickle.load(sys.stdin.buffer)
with SyncOrchestra(settings=settings) as asked:
    print(asked.generate("x").collect()[0].text)
"""


def test_settings_travel_to_a_worker_process(mesh: Running) -> None:
    settings = SyncOrchestra(mesh.address).settings
    worker = subprocess.run(
        [sys.executable, "-X", "utf8", "-c", WORKER],
        input=pickle.dumps(settings),
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert worker.stdout.decode() == "def é():\n"
