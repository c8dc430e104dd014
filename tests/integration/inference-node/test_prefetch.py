"""A model's files go to the fast tier ahead of time, and are loaded from there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psutil
import pytest

from orchestra.inference.v1 import inference_service_pb2 as pb
from orchestra_errors import DeadlineExceeded, InvalidRequest, NotFound
from orchestra_rpc import call_unary
from orchestra_testing import model_file

MODEL = "smollm2-135m"


async def prefetch(client: Any, timeout: float | None = None, **spec: Any) -> pb.PrefetchModelResponse:
    request = pb.PrefetchModelRequest(spec=client.spec_of(**spec))
    return await call_unary(client.stub.PrefetchModel(request, timeout=timeout))


def mapped(daemon: int) -> set[str]:
    """The files that the daemon's worker holds in memory."""
    (worker,) = psutil.Process(daemon).children()
    return {one.path for one in worker.memory_maps(grouped=True)}


async def test_a_model_is_loaded_from_its_copy_under_the_same_revision(tmp_path: Path, start: Any) -> None:
    fast = tmp_path / "fast"
    process, client = await start(tmp_path, fast_tier=str(fast), ORCHESTRA_PREFETCH_MB_S="0")
    size = model_file(MODEL).stat().st_size
    done = await prefetch(client)
    assert (done.bytes_total, done.copied) == (size, True)
    again = await prefetch(client)
    assert (again.bytes_total, again.copied) == (size, False)
    await client.load()
    (copy,) = fast.rglob("*.gguf")
    assert str(copy) in mapped(process.process.pid)
    assert (await client.worker()).revision.startswith("sha256:")
    assert await client.text(client.ask())
    with pytest.raises(NotFound):
        await prefetch(client, path="/nowhere/m.gguf")
    with pytest.raises(InvalidRequest):
        await prefetch(client, path="")


async def test_a_copy_that_was_cut_is_gone_on_from(tmp_path: Path, start: Any) -> None:
    fast = tmp_path / "fast"
    _, client = await start(tmp_path, fast_tier=str(fast), ORCHESTRA_PREFETCH_MB_S="40")
    with pytest.raises(DeadlineExceeded):
        await prefetch(client, timeout=1.0)
    assert not list(fast.rglob("copied.json")), "half a copy is none"
    assert (await prefetch(client)).copied
    (copy,) = fast.rglob("*.gguf")
    assert copy.read_bytes() == model_file(MODEL).read_bytes()
