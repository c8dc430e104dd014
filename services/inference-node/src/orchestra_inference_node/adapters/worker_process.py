"""Workers as child processes: orders by stdin, reports by a pipe."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from orchestra_inference_node.domain.resident import Resident
from orchestra_inference_node.worker.order import Order


class ChildProcess:
    """One worker. Its standard output and error are the daemon's."""

    def __init__(
        self, process: asyncio.subprocess.Process, reports: asyncio.StreamReader, scratch: Path
    ) -> None:
        self._process = process
        self._reports = reports
        self._scratch = scratch

    @property
    def pid(self) -> int:
        return self._process.pid

    async def reports(self) -> AsyncIterator[dict[str, Any]]:
        while line := await self._reports.readline():
            yield json.loads(line)

    def memory_bytes(self) -> int | None:
        try:
            pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
        except (OSError, IndexError):
            return None
        return pages * os.sysconf("SC_PAGE_SIZE")

    def drain(self, seconds: float) -> None:
        if self._process.stdin is not None and self._process.returncode is None:
            self._process.stdin.write(json.dumps({"drain": seconds}).encode() + b"\n")

    def kill(self) -> None:
        if self._process.returncode is None:
            self._process.kill()

    async def ended(self) -> str:
        code = await self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()
        shutil.rmtree(self._scratch, ignore_errors=True)
        if code < 0:
            return f"its process was ended by {signal.Signals(-code).name}"
        return f"its process ended with exit code {code}"


class ChildProcesses:
    """Starts workers by executing the interpreter anew: gRPC does not survive a fork."""

    def __init__(self, order: Callable[[Resident, Path], Order]) -> None:
        """`order` makes the order for a resident, given a private folder for its process."""
        self._order = order

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
