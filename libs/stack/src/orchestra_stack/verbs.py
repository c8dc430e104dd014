"""What the commands do: bring a mesh up that stays, take it down, tell how it is."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from .deployment import PortPlan, write_local
from .home import home, models_folder
from .mesh import Mesh, stop_processes, stop_recorded
from .problem import StackError
from .progress import progress_for
from .record import FolderLock, Record
from .status import MeshStatus, mesh_status

LOCAL = "local"
T = TypeVar("T")


def mesh_folder(name: str) -> Path:
    return home() / name


def up(*, otlp_endpoint: str = "") -> tuple[MeshStatus, float | None]:
    """Start the mesh on the ports of the table and leave it. Returns how it is, and after how many seconds
    its services were ready: None when it was up already. Raises StackError; then nothing is left running."""
    folder = mesh_folder(LOCAL)
    with FolderLock(folder, LOCAL):
        refuse_remains(folder)
        if Record(folder).read():
            return _status_of(folder), None
        variables = {"ORCHESTRA_OTLP_ENDPOINT": otlp_endpoint} if otlp_endpoint else {}
        deployment = write_local(LOCAL, folder, models_folder(), PortPlan.fixed(), variables=variables)
        progress = progress_for(len(deployment.instances))
        mesh = Mesh(deployment, tied=False, progress=progress)
        try:
            run(mesh.start())
        finally:
            progress.close()
        return _status_of(folder), mesh.ready_s


def down() -> tuple[list[str], list[str]]:
    """Stop the mesh of `up`. Returns the names that ran and those that had to be killed."""
    folder = mesh_folder(LOCAL)
    with FolderLock(folder, LOCAL):
        return stop_recorded(folder)


def status() -> MeshStatus | None:
    """How the mesh of `up` is; None when none is up."""
    return asyncio.run(mesh_status(mesh_folder(LOCAL)))


def refuse_remains(folder: Path) -> None:
    """Nothing on record, or everything on record alive. A half mesh is stopped, and StackError says so."""
    record = Record(folder)
    running = record.read()
    alive = [one for one in running if one.process.alive()]
    if alive and len(alive) < len(running):
        gone = ", ".join(one.name for one in running if one not in alive)
        stop_processes(alive)
        record.forget()
        raise StackError(f"the mesh in {folder} was half up ({gone} gone): stopped the rest, start it again")
    if not alive:
        record.forget()


def _status_of(folder: Path) -> MeshStatus:
    found = asyncio.run(mesh_status(folder))
    if found is None:
        raise StackError(f"the mesh in {folder} is gone")
    return found


def run(work: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run` that takes SIGTERM like Ctrl-C: the work is cancelled, its `finally` blocks run, and
    KeyboardInterrupt comes out."""
    return asyncio.run(_until_told(work))


async def _until_told(work: Awaitable[T]) -> T:
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(work)
    told = False

    def tell() -> None:
        nonlocal told
        told = True
        task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, tell)
    try:
        return await task
    except asyncio.CancelledError:
        if told:
            raise KeyboardInterrupt from None
        raise
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.remove_signal_handler(number)
