"""A whole mesh on this machine: up together, down together, nothing left behind."""

from __future__ import annotations

import asyncio
import subprocess
import time
from pathlib import Path

from .deployment import Deployment
from .ports import holder, is_free
from .problem import StackError
from .processes import ProcessId, identify, spawn, stop
from .progress import Progress, Silent
from .readiness import wait_for_models, wait_for_services
from .record import Record, Running
from .table import stop_waves

SERVICES_S = 30.0
MODELS_S = 180.0
# what a server elsewhere or a declaration is named by
_NO_FILES = ("http://", "https://", "simulated:")
_DRAIN_S = 12.0


class Mesh:
    """The processes of one deployment. Use it from the main thread.

    `tied`: they end when this process dies, however it dies. Otherwise they stay until `stop_recorded`.
    """

    def __init__(self, deployment: Deployment, *, tied: bool, progress: Progress | None = None) -> None:
        self.deployment = deployment
        self.ready_s: float | None = None
        self._tied = tied
        self._progress = progress or Silent()
        self._record = Record(deployment.folder)
        self._running: list[Running] = []
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    async def start(self, *, services_s: float = SERVICES_S, models_s: float = MODELS_S) -> None:
        """Until every service and wanted model serves. Raises StackError; then nothing of it is left."""
        check_models(self.deployment)
        check_ports(self.deployment)
        began = time.monotonic()
        try:
            for instance in self.deployment.instances:
                child = spawn(instance, tied=self._tied)
                self._children[instance.name] = child
                self._running.append(
                    Running(
                        instance.name,
                        instance.service.name,
                        instance.address,
                        instance.metrics_port,
                        str(instance.log),
                        identify(child),
                    )
                )
                self._record.write(self._running)
            await wait_for_services(self.deployment.instances, self.exit_code, services_s, self._progress)
            self.ready_s = time.monotonic() - began
            await wait_for_models(self.deployment, self.exit_code, models_s, self._progress)
        except BaseException:
            # also when interrupted: a half-started mesh must not stay
            self.stop_now()
            raise

    def exit_code(self, name: str) -> int | None:
        """Of an instance's process; None while it runs."""
        return self._children[name].poll()

    def process(self, name: str) -> ProcessId:
        """Of an instance; KeyError when it was never started."""
        for one in self._running:
            if one.name == name:
                return one.process
        raise KeyError(name)

    def memory(self) -> dict[str, int]:
        """Resident bytes of each process with all below it."""
        return {one.name: one.process.memory() or 0 for one in self._running}

    async def stop(self) -> None:
        """Drain and end every process."""
        await asyncio.to_thread(self.stop_now)

    def stop_now(self) -> None:
        """As `stop`, for code that cannot await."""
        stop_processes(self._running)
        for child in self._children.values():
            child.wait()
        self._record.forget()
        self._running = []

    async def __aenter__(self) -> Mesh:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()


def stop_processes(running: list[Running]) -> list[str]:
    """End processes wave by wave, callers before those whom they call. Returns whom it had to kill."""
    killed = []
    for wave in stop_waves({one.service for one in running}):
        group = [one for one in running if one.service in wave]
        dead = stop([one.process for one in group], _DRAIN_S)
        killed += [one.name for one in group if one.process.pid in dead]
    return killed


def stop_recorded(folder: Path) -> tuple[list[str], list[str]]:
    """Stop what is on record there. Returns the names that ran and those that had to be killed."""
    record = Record(folder)
    running = [one for one in record.read() if one.process.alive()]
    killed = stop_processes(running)
    record.forget()
    return [one.name for one in running], killed


def check_models(deployment: Deployment) -> None:
    """Every wanted model that is stored in files has them. Raises StackError naming the first that has
    none."""
    for name, _ in deployment.wanted:
        path = deployment.config.model(name).path
        if not path.startswith(_NO_FILES) and not Path(path).exists():
            raise StackError(
                f"the model file {path} of {name} is missing: "
                "put it there again with `.venv/bin/python -m orchestra_stack models`"
            )


def check_ports(deployment: Deployment) -> None:
    """Every port is free. Raises StackError naming the first that is not, and who has it."""
    for instance in deployment.instances:
        for port, what in (
            (instance.port, instance.name),
            (instance.metrics_port, f"metrics of {instance.name}"),
        ):
            if port and not is_free(port):
                by = holder(port)
                raise StackError(
                    f"port {port} ({what}) is taken{' by ' + by if by else ''}: "
                    "stop that program, or `make down` if it is a mesh of another folder"
                )
