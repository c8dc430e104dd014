"""Ports of the mesh: fixed ones for a mesh that stays, free ones for a passing one."""

from __future__ import annotations

import random
import socket

HOST = "127.0.0.1"
# below the range from which kernels hand out ports to outgoing connections, so that nothing takes a port
# between the moment it was found free and the moment its service binds it
_FIRST, _LAST = 21_000, 32_000


def is_free(port: int, host: str = HOST) -> bool:
    """Whether a server could listen there now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError:
            return False
        return True


def holder(port: int) -> str:
    """Who listens on a port, as `name (pid 123)`; empty when this user may not know."""
    import psutil

    try:
        connections = psutil.net_connections(kind="tcp")
    except psutil.Error:
        return ""
    for connection in connections:
        if connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port:
            if connection.pid is None:
                return ""
            try:
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
            except psutil.Error:
                return f"pid {connection.pid}"
    return ""


class FreePorts:
    """Hands out free ports, each once. `block(n)` gives n in a row."""

    def __init__(self, seed: int | None = None) -> None:
        self._random = random.Random(seed)
        self._given: set[int] = set()

    def one(self) -> int:
        return self.block(1)

    def block(self, size: int) -> int:
        """The first of `size` free ports in a row; OSError when none are found."""
        for _ in range(2_000):
            first = self._random.randrange(_FIRST, _LAST - size)
            wanted = range(first, first + size)
            if self._given.isdisjoint(wanted) and all(is_free(port) for port in wanted):
                self._given.update(wanted)
                return first
        raise OSError(f"no {size} free ports in a row between {_FIRST} and {_LAST}")
