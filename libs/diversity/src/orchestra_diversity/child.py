"""One running child: starts it, speaks frames with it, ends it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from .wire import HEADER, Fields, frame

_START_SECONDS = 30.0
_LARGEST_ANSWER = 1 << 28
# The child sees no secret of its parent: only what an interpreter needs to start.
_PASSED_ON = ("PATH", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH", "SYSTEMROOT", "VIRTUAL_ENV", "HOME")


class ChildEnded(Exception):
    """The child is gone: by a signal, an exit code, or an answer that is none. The message says which."""


class Child:
    """A child process that is ready for jobs. Made by `start`; `kill` must be awaited on every way out."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        assert process.stdin and process.stdout
        self._requests, self._answers = process.stdin, process.stdout

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.returncode is None

    @classmethod
    async def start(cls, memory_bytes: int, seconds: float) -> Child:
        """Starts and waits until the measures are loaded. Raises ChildEnded when that fails."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            "orchestra_diversity.worker",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=_environment(os.environ),
            start_new_session=True,  # Ctrl-C in a terminal is for the parent, which then ends the child
        )
        child = cls(process)
        try:
            async with asyncio.timeout(_START_SECONDS):
                await child.send(frame({"memory_bytes": memory_bytes, "seconds": seconds}))
                await child.receive()
        except TimeoutError:
            await child.kill()
            raise ChildEnded(f"the child did not start within {_START_SECONDS:.0f} s") from None
        except BaseException:
            await child.kill()
            raise
        return child

    async def send(self, data: bytes) -> None:
        try:
            self._requests.write(data)
            await self._requests.drain()
        except (BrokenPipeError, ConnectionResetError):
            raise ChildEnded(await self._why()) from None

    async def receive(self) -> tuple[Fields, bytes]:
        try:
            length, more = HEADER.unpack(await self._answers.readexactly(HEADER.size))
            if length + more > _LARGEST_ANSWER:
                raise ChildEnded("the child answered something that is no frame")
            fields: Fields = json.loads(await self._answers.readexactly(length))
            return fields, await self._answers.readexactly(more)
        except (asyncio.IncompleteReadError, ConnectionResetError):
            raise ChildEnded(await self._why()) from None

    async def kill(self) -> None:
        """Ends the child at once and waits until it is gone, even when the caller is cancelled meanwhile."""
        if self._process.returncode is None:
            self._process.kill()
        self._requests.close()
        await asyncio.shield(self._process.wait())

    async def _why(self) -> str:
        code = await self._process.wait()
        return f"ended by signal {-code}" if code < 0 else f"exited with code {code}"


def _environment(inherited: Mapping[str, str]) -> dict[str, str]:
    source = str(Path(__file__).resolve().parents[1])
    return {name: inherited[name] for name in _PASSED_ON if name in inherited} | {
        "PYTHONPATH": source,
        "OPENBLAS_NUM_THREADS": "1",  # n is small: more threads only cost start time and address space
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
    }
