"""The real service as a process of its own, on a free port, with a database in a fresh folder."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from orchestra.ledger.v1 import cost_ledger_service_pb2_grpc as pb_grpc
from orchestra_rpc import MeshChannel, open_channel

CONFIG = """
electricity: {per_kwh: $0.15, source: test}
budgets:
  - {name: together, period: month, tier: together, soft: $50, hard: $100}
prices:
  - {provider: openai, model: gpt-4o, input: 1000, output: 2000, source: test}
"""


class LedgerProcess:
    """Started, killed and started again on the same folder; `stub` speaks to the running one."""

    def __init__(self, folder: Path, config: str = CONFIG) -> None:
        self.folder = folder
        self._config = folder / "orchestra.yaml"
        self._config.write_text(config)
        self._process: asyncio.subprocess.Process | None = None
        self._channel: MeshChannel | None = None
        self._port = 0
        self.stub: Any = None

    async def start(self) -> None:
        own = {
            "ORCHESTRA_CONFIG": str(self._config),
            "ORCHESTRA_STATE_DIR": str(self.folder / "state"),
            "ORCHESTRA_LISTEN": "127.0.0.1:0",
            "ORCHESTRA_METRICS_PORT": "0",
        }
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "orchestra_cost_ledger",
            env=os.environ | own,
            stderr=asyncio.subprocess.PIPE,
        )
        assert self._process.stderr is not None
        async for line in self._process.stderr:
            said = json.loads(line)
            if said["event"] == "serving":
                self._port = int(said["address"].rpartition(":")[2])
                break
        self._drained = asyncio.create_task(self._process.stderr.read())
        if self._channel is not None:
            await self._channel.close()
        self._channel = open_channel(f"127.0.0.1:{self._port}")
        self.stub = pb_grpc.CostLedgerServiceStub(self._channel)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._port}"

    async def kill(self) -> None:
        """As a power cut for the process: nothing is flushed."""
        assert self._process is not None
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        await self._drained

    async def close(self) -> None:
        await self.kill()
        if self._channel is not None:
            await self._channel.close()

    async def stop(self) -> int:
        """A clean end; returns the exit code."""
        assert self._process is not None
        self._process.terminate()
        return await self._process.wait()


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[LedgerProcess]:
    process = LedgerProcess(tmp_path)
    await process.start()
    yield process
    await process.close()


@pytest.fixture
def refused_start(tmp_path: Path) -> Callable[..., Any]:
    """Start with a configuration that cannot work; gives the exit code and what was printed."""

    async def start(config: str, **environment: str) -> tuple[int, str]:
        path = tmp_path / "orchestra.yaml"
        await asyncio.to_thread(path.write_text, config)
        own = {
            "ORCHESTRA_CONFIG": str(path),
            "ORCHESTRA_STATE_DIR": str(tmp_path / "state"),
            "ORCHESTRA_LISTEN": "127.0.0.1:0",
            "ORCHESTRA_METRICS_PORT": "0",
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "orchestra_cost_ledger",
            env=os.environ | own | environment,
            stderr=asyncio.subprocess.PIPE,
        )
        _, printed = await asyncio.wait_for(process.communicate(), 20)
        assert process.returncode is not None
        return process.returncode, printed.decode()

    return start
