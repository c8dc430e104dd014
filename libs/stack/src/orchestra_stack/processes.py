"""Processes of a mesh: started in groups of their own, stopped group by group, never forgotten."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil

from .deployment import Instance
from .problem import StackError

_TIE = Path(__file__).with_name("tie.py")
_LOG_LIMIT = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class ProcessId:
    """A process that is never taken for a later one with the same number. `started` as psutil gives it."""

    pid: int
    started: float

    def alive(self) -> bool:
        try:
            process = psutil.Process(self.pid)
            return (
                abs(process.create_time() - self.started) < 0.05 and process.status() != psutil.STATUS_ZOMBIE
            )
        except psutil.Error:
            return False

    def memory(self) -> int | None:
        """Resident bytes of it and all below it; None when it is gone."""
        if not self.alive():
            return None
        try:
            process = psutil.Process(self.pid)
            return sum(_resident(one) for one in (process, *process.children(recursive=True)))
        except psutil.Error:
            return None


def spawn(instance: Instance, *, tied: bool) -> subprocess.Popen[bytes]:
    """Start one service in a process group of its own, its output in its log.

    `tied`: it is told to end when the process that started it dies, however that dies (where the kernel can
    do this). Must be called from the main thread: a kernel ties a child to the thread that made it.
    """
    instance.state.mkdir(parents=True, exist_ok=True)
    instance.log.parent.mkdir(parents=True, exist_ok=True)
    if instance.log.exists() and instance.log.stat().st_size > _LOG_LIMIT:
        instance.log.replace(instance.log.with_suffix(".log.1"))
    command = [sys.executable, "-m", instance.service.module]
    if tied and sys.platform == "linux":
        command = [sys.executable, "-I", "-S", str(_TIE), str(os.getpid()), *command]
    with instance.log.open("ab") as log:
        return subprocess.Popen(
            command,
            env=_environment(instance),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def _environment(instance: Instance) -> dict[str, str]:
    # the caller's own settings of the same names must not reach half of the services
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ORCHESTRA_")}
    return kept | {"PYTHONUNBUFFERED": "1"} | dict(instance.variables)


def identify(process: subprocess.Popen[bytes]) -> ProcessId:
    """Its lasting identity. Raises StackError when it has ended already."""
    try:
        return ProcessId(process.pid, psutil.Process(process.pid).create_time())
    except psutil.Error:
        raise StackError(f"process {process.pid} ended at once") from None


def stop(processes: Iterable[ProcessId], seconds: float) -> list[int]:
    """SIGTERM to each, `seconds` for all to drain, then SIGKILL to the groups. Returns whom it killed."""
    asked = [one for one in processes if one.alive()]
    for one in asked:
        with contextlib.suppress(ProcessLookupError):
            os.kill(one.pid, signal.SIGTERM)
    killed = []
    if not _wait(lambda: not any(one.alive() for one in asked), seconds):
        killed = [one.pid for one in asked if one.alive()]
    # a leader that has gone may still have children that end by themselves, a store that saves for example
    groups = [one.pid for one in asked]
    if not killed:
        _wait(lambda: not any(_members(group) for group in groups), 3.0)
    for group in groups:
        for member in _members(group):
            with contextlib.suppress(psutil.Error):
                member.kill()
    _wait(lambda: not any(_members(group) for group in groups), 2.0)
    return killed


def _members(group: int) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


def _wait(done: Callable[[], bool], seconds: float) -> bool:
    until = time.monotonic() + seconds
    while not done():
        if time.monotonic() > until:
            return False
        time.sleep(0.03)
    return True
