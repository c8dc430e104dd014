"""The worker's end of its daemon: reports out by a pipe, orders in by stdin, and no life without it."""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

_PR_SET_PDEATHSIG = 1
_STDIN = 0


def die_with_parent(parent: int) -> None:
    """Where the kernel can, let it kill this process when the daemon dies, even in the middle of a load."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        # it died before the line above
        os._exit(1)


def read_line() -> bytes:
    """The first line of stdin, and not a byte of the next."""
    line = bytearray()
    while not line.endswith(b"\n"):
        byte = os.read(_STDIN, 1)
        if not byte:
            break
        line += byte
    return bytes(line)


class Reports:
    """Lines to the daemon. A daemon that is gone is noticed elsewhere."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def send(self, at: str, **facts: Any) -> None:
        try:
            os.write(self._fd, json.dumps({"at": at, **facts}).encode() + b"\n")
        except BrokenPipeError:
            return


async def follow_orders(on_order: Callable[[dict[str, Any]], None]) -> None:
    """Hand over each line of stdin; returns when the daemon has closed it."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    try:
        while line := await reader.readline():
            on_order(json.loads(line))
    finally:
        transport.close()
