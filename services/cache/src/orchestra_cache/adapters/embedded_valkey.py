"""A real Valkey server that belongs to this process: private socket, own files, ends with it."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from orchestra_cache.adapters.valkey_program import find_valkey
from orchestra_cache.config import UnusableStore

SNAPSHOT = "draws.rdb"
_LONGEST_SOCKET = 100
"""Bytes of a socket's path; the system allows 107."""
_START_S = 60.0
"""A large snapshot takes its time to read."""
_LOCK_S = 30.0
_STOP_S = 4.0
log = structlog.get_logger()


class EmbeddedValkey:
    """Started, watched and stopped here; its snapshot in `folder` outlives it."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder.resolve()
        self._max_bytes = max_bytes
        self._process: asyncio.subprocess.Process | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._lock: int | None = None
        self._socket_folder = self._folder / "valkey"

    @property
    def url(self) -> str:
        return f"unix://{self._socket_folder}/s"

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    async def start(self) -> None:
        """Until it answers. Raises UnusableStore when it cannot, with what it said last."""
        self._program = find_valkey()
        self._folder.mkdir(parents=True, exist_ok=True)
        await self._take_folder()
        try:
            self._prepare_socket()
            await self._launch()
        except BaseException:
            await self.close()
            raise
        self._watcher = asyncio.create_task(self._keep(), name="embedded valkey")

    async def _take_folder(self) -> None:
        """The lock is held by this process and by the server: one that still writes its snapshot is waited
        for."""
        handle = os.open(self._folder / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        until = time.monotonic() + _LOCK_S
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    os.close(handle)
                    raise UnusableStore(f"another cache uses {self._folder}") from None
            await asyncio.sleep(0.05)
        self._lock = handle

    def _prepare_socket(self) -> None:
        if len(os.fsencode(self._socket_folder)) > _LONGEST_SOCKET - 2:
            self._socket_folder = Path(tempfile.mkdtemp(prefix="orchestra-cache-"))
        self._socket_folder.mkdir(mode=0o700, exist_ok=True)
        self._socket_folder.chmod(0o700)
        (self._socket_folder / "s").unlink(missing_ok=True)

    async def _launch(self) -> None:
        try:
            await self._launch_once()
        except UnusableStore:
            snapshot = self._folder / SNAPSHOT
            if not snapshot.exists():
                raise
            # what can be drawn again must not keep the mesh from starting
            aside = snapshot.with_suffix(f".rdb.unreadable-{int(time.time())}")
            snapshot.rename(aside)
            log.error("the snapshot cannot be read, starting empty", kept_as=str(aside))
            await self._launch_once()

    async def _launch_once(self) -> None:
        assert self._lock is not None
        tether = Path(__file__).with_name("tether.py")
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", str(tether), str(os.getpid())),
            *(str(self._program), *self._options()),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            pass_fds=(self._lock,),
            # the snapshot holds what models answered
            umask=0o077,
            # an interrupt from the keyboard is for the service, which ends its server in order
            start_new_session=True,
        )
        await self._answers(self._process)

    def _options(self) -> list[str]:
        options = {
            "port": "0",
            "unixsocket": f"{self._socket_folder}/s",
            "unixsocketperm": "700",
            "dir": str(self._folder),
            "dbfilename": SNAPSHOT,
            "logfile": "valkey.log",
            "save": "300 1 60 1000",
            # values are compressed already, and checked when they are read
            "rdbcompression": "no",
            # a full disk costs the snapshot, not the cache
            "stop-writes-on-bgsave-error": "no",
            "maxmemory": str(self._max_bytes),
            # everything here has a lifetime; what is asked for often stays
            "maxmemory-policy": "volatile-lfu",
            "lazyfree-lazy-eviction": "yes",
            "lazyfree-lazy-expire": "yes",
            "lazyfree-lazy-server-del": "yes",
        }
        return [part for name, value in options.items() for part in (f"--{name}", value)]

    async def _answers(self, process: asyncio.subprocess.Process) -> None:
        until = time.monotonic() + _START_S
        ended = asyncio.create_task(process.wait())
        client = Redis.from_url(self.url, socket_timeout=1.0)
        try:
            while not ended.done():
                with contextlib.suppress(RedisError):
                    if await client.ping():
                        return
                if time.monotonic() > until:
                    raise UnusableStore(
                        f"valkey-server did not answer within {_START_S:g} s: {self._last_words()}"
                    )
                await asyncio.wait([ended], timeout=0.01)
            raise UnusableStore(f"valkey-server ended with code {ended.result()}: {self._last_words()}")
        finally:
            ended.cancel()
            await client.aclose()

    def _last_words(self) -> str:
        try:
            lines = (self._folder / "valkey.log").read_text(errors="replace").strip().splitlines()
        except OSError:
            lines = []
        return lines[-1] if lines else "it said nothing"

    async def _keep(self) -> None:
        """Start it again whenever it ends by itself; health says so meanwhile."""
        wait = 0.1
        while self._process is not None:
            code = await self._process.wait()
            log.error("the embedded store ended, starting it again", code=code, said=self._last_words())
            try:
                await self._launch()
                wait = 0.1
            except UnusableStore as error:
                log.error("the embedded store does not start", error=str(error), again_in_s=wait)
                await asyncio.sleep(wait)
                wait = min(wait * 2, 10.0)

    async def close(self) -> None:
        """Let it write its snapshot and end. One that needs long for that finishes alone."""
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.gather(self._watcher, return_exceptions=True)
            self._watcher = None
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(process.wait(), _STOP_S)
            except TimeoutError:
                log.warning("the embedded store still writes its snapshot", pid=process.pid)
        if self._socket_folder.parent != self._folder:
            with contextlib.suppress(OSError):
                self._socket_folder.rmdir()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
