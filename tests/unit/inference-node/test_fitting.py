"""Whether a model has room on its devices: what is free, what others were promised, what a group leaves."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from orchestra_errors import FailedPrecondition, InsufficientMemory
from orchestra_inference_node.adapters.cgroup import MemoryBound, memory_bound
from orchestra_inference_node.adapters.worker_process import ChildProcess
from orchestra_inference_node.domain.fitting import Claim, Room, room_left, want_of_memory
from orchestra_inference_node.domain.inventory import Cpu, Declared
from orchestra_inference_node.domain.resident import Placed, Resident, Wanted
from orchestra_inference_node.flows.changes import Changes
from orchestra_inference_node.flows.making_room import MakingRoom
from orchestra_inference_node.flows.residency import Residency
from orchestra_inference_node.flows.watching import DeviceWatch
from orchestra_inference_node.ports import Weights
from orchestra_inference_node.worker.last_words import kept_errors, last_words

CARD = Room("P40_0", "cuda", free=20, usable=24)


@pytest.mark.parametrize(
    ("devices", "claims", "left"),
    [
        ([CARD], [], 20),
        ([CARD], [Claim(("P40_0",), 8)], 12),
        ([CARD], [Claim(("P40_0",), 8, taken=8)], 16),
        ([CARD], [Claim(("P40_1",), 8)], 20),
        ([CARD], [Claim(("P40_0", "P40_1"), 16)], 12),
        ([CARD, Room("P40_1", "cuda", free=10)], [Claim(("P40_0", "P40_1"), 8)], 16 + 6),
        ([Room("cpu0", "cpu", free=100)], [Claim(("cpu0",), 30, taken=20)], 90),
        ([Room("P40_0", "cuda", free=None, usable=24)], [Claim(("P40_0",), 20, taken=20)], 4),
        ([Room("P40_0", "cuda", free=None)], [], None),
        ([Room("P40_0", "cuda", free=5)], [Claim(("P40_0",), 8)], 0),
    ],
)
def test_what_others_were_promised_is_not_free(
    devices: list[Room], claims: list[Claim], left: int | None
) -> None:
    assert room_left(devices, claims) == left


@pytest.mark.parametrize(
    "words",
    [
        "terminate called after throwing an instance of 'std::bad_alloc'",
        "ggml_backend_cpu_buffer_type_alloc_buffer: failed to allocate buffer of size 3019898880",
        "allocating 4096.00 MiB on device 0: cudaMalloc failed: out of memory",
        "OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB",
        "MemoryError",
        "OSError: [Errno 12] Cannot allocate memory",
        "its process was ended by SIGKILL: the system was out of memory",
    ],
)
def test_want_of_memory_is_known_by_the_words_of_those_who_meet_it(words: str) -> None:
    assert want_of_memory(words)


@pytest.mark.parametrize(
    "words", ["no such tensor", "its process was ended by SIGKILL", "unknown model architecture"]
)
def test_other_ends_are_not_taken_for_it(words: str) -> None:
    assert not want_of_memory(words)


class Process:
    """A worker that says what it is told to, then waits until it is let go."""

    def __init__(self, end: str, *reports: dict[str, Any]) -> None:
        self._end = end
        self._reports = reports
        self.go_on = asyncio.Event()

    async def reports(self) -> AsyncIterator[dict[str, Any]]:
        for report in self._reports:
            yield report
        await self.go_on.wait()

    def memory_bytes(self) -> int | None:
        return 50

    def private_bytes(self) -> int | None:
        return 40

    def drain(self, seconds: float) -> None:
        self.go_on.set()

    def kill(self) -> None:
        self.go_on.set()

    async def ended(self) -> str:
        return self._end


class Whole:
    async def check(self, wanted: Wanted, engine: str, moved: Callable[[int, int], None]) -> Weights:
        return Weights("sha256:0", 100, "Q4_1")


class Host:
    """A node of one CPU with `free` bytes, whose models need what `needs` says by their name."""

    def __init__(self, free: int, end: str = "", **needs: int) -> None:
        self.started: list[str] = []
        self.processes: dict[str, Process] = {}
        self.end = end
        changes = Changes()
        watch = DeviceWatch([Declared("cpu0", "cpu")], None, lambda: Cpu("cpu", 1000, free), changes)
        self.residency = Residency(
            node_id="n",
            starter=self,
            weights=Whole(),
            place=lambda wanted: Placed("llamacpp", ("cpu0",), ""),
            changes=changes,
            load_timeout_s=30,
            room=MakingRoom(watch, lambda resident: needs[resident.wanted.model]),
        )

    async def start(self, resident: Resident) -> Process:
        model = resident.wanted.model
        self.started.append(model)
        process = self.processes[model] = Process(self.end, {"at": "loading"})
        return process

    async def load(self, model: str) -> None:
        async with asyncio.timeout(10):
            async for _ in self.residency.load(Wanted(model, f"/{model}.gguf", "auto")):
                pass

    async def until_started(self, model: str) -> None:
        async with asyncio.timeout(10):
            while model not in self.processes:
                await self.residency.changes.after(self.residency.changes.version)


async def test_nothing_is_started_for_a_model_that_does_not_fit() -> None:
    host = Host(100, large=101)
    with pytest.raises(InsufficientMemory) as refused:
        await host.load("large")
    assert refused.value.metadata == {
        "model": "large",
        "device": "cpu0",
        "needed_bytes": "101",
        "free_bytes": "100",
    }
    assert host.started == [] and host.residency.residents == []
    await host.residency.close(0)


async def test_what_a_model_that_is_loading_will_take_is_not_free_for_the_next() -> None:
    host = Host(100, first=90, second=60)
    first = asyncio.create_task(host.load("first"))
    await host.until_started("first")
    with pytest.raises(InsufficientMemory) as refused:
        await host.load("second")
    # 90 were promised, 40 of them are no longer called free by the system
    assert refused.value.metadata["free_bytes"] == "50"
    await host.residency.unload("first", 0)
    with pytest.raises(FailedPrecondition):
        await first
    second = asyncio.create_task(host.load("second"))
    await host.until_started("second")
    await host.residency.close(0)
    await asyncio.wait([second])


async def test_a_process_that_the_kernel_ended_for_want_of_memory_is_told_as_such() -> None:
    host = Host(100, "its process was ended by SIGKILL: the system was out of memory", model=90)
    loading = asyncio.create_task(host.load("model"))
    await host.until_started("model")
    host.processes["model"].kill()
    with pytest.raises(InsufficientMemory) as ended:
        await loading
    assert (ended.value.metadata["needed_bytes"], ended.value.metadata["free_bytes"]) == ("90", "100")


async def child(code: str, scratch: Path, kills: list[int | None]) -> ChildProcess:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdin=subprocess.PIPE)
    return ChildProcess(process, asyncio.StreamReader(), scratch, lambda: kills[0])


@pytest.mark.parametrize(
    ("after", "short"), [(1, True), (0, False), (None, True)], ids=["counted", "not counted", "nobody counts"]
)
async def test_a_kill_is_the_kernels_when_its_count_says_so(
    after: int | None, short: bool, tmp_path: Path
) -> None:
    kills: list[int | None] = [0]
    handle = await child("import time; time.sleep(600)", tmp_path / "scratch", kills)
    kills[0] = after
    os.kill(handle.pid, signal.SIGKILL)
    assert want_of_memory(await handle.ended()) == short


async def test_a_kill_of_ours_is_no_want_of_memory(tmp_path: Path) -> None:
    kills: list[int | None] = [None]
    handle = await child("import time; time.sleep(600)", tmp_path / "scratch", kills)
    handle.kill()
    assert await handle.ended() == "its process was ended by SIGKILL"


async def test_the_last_words_of_native_code_are_in_how_the_process_ended(tmp_path: Path) -> None:
    code = (
        "import os; from pathlib import Path\n"
        "from orchestra_inference_node.worker.last_words import kept_errors\n"
        f"with kept_errors(Path({str(tmp_path)!r})):\n"
        '    os.write(2, b"what():  std::bad_alloc\\n"); os.abort()'
    )
    handle = await child(code, tmp_path, [0])
    said = await handle.ended()
    assert said == "its process was ended by SIGABRT: what():  std::bad_alloc"


def test_errors_are_back_where_they_belong_after_a_load(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with kept_errors(tmp_path):
        os.write(2, b"loading\n")
        assert capfd.readouterr().err == ""
    assert capfd.readouterr().err == "loading\n"
    assert last_words(tmp_path) == "", "a load that went well leaves none"
    with pytest.raises(RuntimeError), kept_errors(tmp_path):
        os.write(2, b"not this\nreason\n" + b"line\n" * 8 + b"end\n")
        raise RuntimeError
    said = last_words(tmp_path)
    assert said.startswith("reason / line") and said.endswith("line / end")


def group(root: Path, path: str, **files: str) -> None:
    (root / path).mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (root / path / name.replace("__", ".")).write_text(text)


def test_the_tightest_group_above_a_process_bounds_its_memory(tmp_path: Path) -> None:
    own = tmp_path / "cgroup"
    own.write_text("0::/pod/box\n")
    group(
        tmp_path,
        "pod",
        memory__max="1000\n",
        memory__current="700\n",
        memory__stat="inactive_file 100\nactive_file 50\n",
    )
    group(tmp_path, "pod/box", memory__max="max\n", memory__current="1\n", memory__stat="anon 1\n")
    assert memory_bound(tmp_path, own) == MemoryBound(1000, 450)
    group(tmp_path, "pod/box", memory__max="500\n", memory__current="400\n", memory__stat="anon 1\n")
    assert memory_bound(tmp_path, own) == MemoryBound(500, 100)
    own.write_text("0::/\n")
    assert memory_bound(tmp_path, own) is None, "nothing bounds the top"
    assert memory_bound(tmp_path, tmp_path / "none") is None


def test_groups_of_the_first_version_are_read_too(tmp_path: Path) -> None:
    own = tmp_path / "cgroup"
    own.write_text("5:cpu:/box\n4:memory:/box\n0::/\n")
    group(
        tmp_path,
        "memory/box",
        memory__limit_in_bytes="600",
        memory__usage_in_bytes="200",
        memory__stat="cache 1\ntotal_inactive_file 50\ntotal_active_file 0\n",
    )
    group(
        tmp_path,
        "memory",
        memory__limit_in_bytes=str(2**63 - 4096),
        memory__usage_in_bytes="9",
        memory__stat="",
    )
    assert memory_bound(tmp_path, own) == MemoryBound(600, 450)
