"""Workers as child processes: orders by stdin, reports by a pipe."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

from orchestra_inference_node.adapters.host import oom_kills
from orchestra_inference_node.domain.resident import Resident
from orchestra_inference_node.worker.last_words import last_words
from orchestra_inference_node.worker.order import Order


class ChildProcess:
    """One worker. Its standard output and error are the daemon's."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        reports: asyncio.StreamReader,
        scratch: Path,
        oom_kills: Callable[[], int | None] = oom_kills,
    ) -> None:
        self._process = process
        self._reports = reports
        self._scratch = scratch
        self._oom_kills = oom_kills
        self._kills_before = oom_kills()
        self._killed_by_us = False

    @property
    def pid(self) -> int:
        return self._process.pid

    async def reports(self) -> AsyncIterator[dict[str, Any]]:
        while line := await self._reports.readline():
            yield json.loads(line)

    def memory_bytes(self) -> int | None:
        return self._pages(lambda resident, shared: resident)

    def private_bytes(self) -> int | None:
        return self._pages(lambda resident, shared: resident - shared)

    def _pages(self, count: Callable[[int, int], int]) -> int | None:
        try:
            words = Path(f"/proc/{self._process.pid}/statm").read_text().split()
            return count(int(words[1]), int(words[2])) * os.sysconf("SC_PAGE_SIZE")
        except (OSError, IndexError):
            return None

    def drain(self, seconds: float) -> None:
        if self._process.stdin is not None and self._process.returncode is None:
            self._process.stdin.write(json.dumps({"drain": seconds}).encode() + b"\n")

    def kill(self) -> None:
        if self._process.returncode is None:
            self._killed_by_us = True
            self._process.kill()

    async def ended(self) -> str:
        code = await self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()
        words = last_words(self._scratch)
        said = f": {words}" if words else ""
        shutil.rmtree(self._scratch, ignore_errors=True)
        if code >= 0:
            return f"its process ended with exit code {code}{said}"
        if code == -signal.SIGKILL and not self._killed_by_us and self._memory_ran_out():
            return f"its process was ended by SIGKILL: the system was out of memory{said}"
        return f"its process was ended by {signal.Signals(-code).name}{said}"

    def _memory_ran_out(self) -> bool:
        """Whether the kernel has ended a process for want of memory meanwhile. Where it does not say, nobody
        else is likely to have done it."""
        now = self._oom_kills()
        return now is None or self._kills_before is None or now > self._kills_before


class ChildProcesses:
    """Starts workers by executing the interpreter anew: gRPC does not survive a fork."""

    def __init__(
        self,
        order: Callable[[Resident, Path], Order],
        environment: Callable[[Resident], Mapping[str, str]] = lambda resident: {},
    ) -> None:
        """`order` makes the order for a resident, given a private folder for its process; `environment` is
        set in it besides the daemon's own."""
        self._order = order
        self._environment = environment

    async def start(self, resident: Resident) -> ChildProcess:
        scratch = Path(tempfile.mkdtemp(prefix="orchestra-worker-"))
        read_end, write_end = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "orchestra_inference_node.worker",
                str(write_end),
                stdin=asyncio.subprocess.PIPE,
                pass_fds=(write_end,),
                env={**os.environ, **self._environment(resident)},
                # a Ctrl-C is for the daemon, which then drains its workers
                start_new_session=True,
            )
        except BaseException:
            os.close(read_end)
            shutil.rmtree(scratch, ignore_errors=True)
            raise
        finally:
            os.close(write_end)
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(read_end, "rb", 0)
        )
        assert process.stdin is not None
        process.stdin.write(self._order(resident, scratch).line())
        return ChildProcess(process, reader, scratch)
