"""Processes come up together, go down together, and a failed start leaves none behind."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from orchestra_stack import Deployment, Mesh, StackError
from orchestra_stack.mesh import stop_recorded
from orchestra_stack.readiness import is_serving
from orchestra_stack.record import FolderLock, Record
from orchestra_stack.verbs import refuse_remains

Toys = Callable[..., Deployment]


def left_behind(deployment: Deployment) -> list[int]:
    """Processes of this deployment that still run, children of theirs included."""
    return [
        process.pid
        for process in psutil.process_iter()
        if _folder_of(process) == str(deployment.folder) and process.status() != psutil.STATUS_ZOMBIE
    ]


def _folder_of(process: psutil.Process) -> str:
    try:
        toy = process.environ().get("TOY_HEALTH") is not None
        return str(Path(process.environ().get("TOY_FOLDER", ""))) if toy else ""
    except psutil.Error:
        return ""


@pytest.fixture
def mark(toys: Toys) -> Toys:
    """As `toys`, with the folder in each environment, so that strays can be found."""

    def make(**faults: str) -> Deployment:
        deployment = toys(**faults)
        for instance in deployment.instances:
            instance.variables["TOY_FOLDER"] = str(deployment.folder)  # type: ignore[index]
        return deployment

    return make


async def test_all_serve_and_all_end(mark: Toys) -> None:
    deployment = mark(cache="", router="", cost_ledger="")
    mesh = Mesh(deployment, tied=True)
    async with mesh:
        for instance in deployment.instances:
            assert await is_serving(instance.address, instance.service.health)
        assert mesh.ready_s is not None
        assert all(size > 1_000_000 for size in mesh.memory().values())
        assert len(Record(deployment.folder).read()) == 3
    assert left_behind(deployment) == []
    assert Record(deployment.folder).read() == []


async def test_a_service_that_ends_at_start_is_named_with_its_last_words(mark: Toys) -> None:
    deployment = mark(cache="", router="ends")
    with pytest.raises(StackError, match=r"router ended with exit code 3 .*no toys left"):
        await Mesh(deployment, tied=True).start()
    assert left_behind(deployment) == []


async def test_a_service_that_never_serves_is_named(mark: Toys) -> None:
    deployment = mark(cache="", router="sick")
    with pytest.raises(StackError, match=r"router did not serve .* NOT_SERVING"):
        await Mesh(deployment, tied=True).start(services_s=3)
    assert left_behind(deployment) == []


async def test_a_port_in_use_is_named_before_anything_starts(mark: Toys) -> None:
    deployment = mark(cache="")
    instance = deployment.instances[0]
    taken = pytest.raises(StackError, match=rf"port {instance.port} \(cache\) is taken")
    with socket.create_server(("127.0.0.1", instance.port)), taken:
        await Mesh(deployment, tied=True).start()
    assert not instance.log.exists()


async def test_children_of_a_service_go_with_it(mark: Toys) -> None:
    deployment = mark(cache="child")
    async with Mesh(deployment, tied=True) as mesh:
        assert len(psutil.Process(mesh.process("cache").pid).children()) == 1
    assert left_behind(deployment) == []


async def test_a_service_that_ignores_the_signal_is_killed(
    mark: Toys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestra_stack.mesh._DRAIN_S", 0.3)
    deployment = mark(cache="deaf")
    async with Mesh(deployment, tied=True):
        pass
    assert left_behind(deployment) == []


def test_tied_processes_end_when_the_launcher_is_killed(mark: Toys) -> None:
    deployment = mark(cache="")
    instance = deployment.instances[0]
    program = textwrap.dedent(
        f"""
        import sys
        from orchestra_stack.processes import spawn, identify
        from orchestra_stack.deployment import Instance
        from orchestra_stack.table import CACHE
        import dataclasses, pathlib, time
        row = dataclasses.replace(CACHE, module="toy_service")
        one = Instance("cache", row, {instance.address!r}, 0, pathlib.Path({str(deployment.folder)!r}),
                       {dict(instance.variables)!r})
        print(spawn(one, tied=True).pid, flush=True)
        time.sleep(600)
        """
    )
    launcher = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert launcher.stdout is not None
    child = psutil.Process(int(launcher.stdout.readline()))
    launcher.kill()
    launcher.wait()
    launcher.stdout.close()
    _, alive = psutil.wait_procs([child], 10)
    assert not [one for one in alive if one.status() != psutil.STATUS_ZOMBIE]


async def test_a_half_mesh_is_stopped_and_told(mark: Toys) -> None:
    deployment = mark(cache="", router="")
    mesh = Mesh(deployment, tied=True)
    await mesh.start()
    os.kill(mesh.process("router").pid, signal.SIGKILL)
    mesh._children["router"].wait()
    with pytest.raises(StackError, match=r"half up \(router gone\): stopped the rest"):
        await asyncio.to_thread(refuse_remains, deployment.folder)
    mesh._children["cache"].wait()
    assert left_behind(deployment) == []
    refuse_remains(deployment.folder)


async def test_another_command_finds_and_stops_what_is_on_record(mark: Toys) -> None:
    deployment = mark(cache="", router="")
    mesh = Mesh(deployment, tied=True)
    await mesh.start()
    ran, killed = await asyncio.to_thread(stop_recorded, deployment.folder)
    for child in mesh._children.values():
        child.wait()
    assert sorted(ran) == ["cache", "router"]
    assert killed == []
    assert stop_recorded(deployment.folder) == ([], [])


def test_one_command_at_a_time(tmp_path: Path) -> None:
    refused = pytest.raises(StackError, match="another command")
    with FolderLock(tmp_path, "toys"), refused, FolderLock(tmp_path, "toys"):
        pass
    with FolderLock(tmp_path, "toys"):
        pass
