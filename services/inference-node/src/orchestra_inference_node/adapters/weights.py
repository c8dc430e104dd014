"""Model files: whole, of the right revision, and digested once."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import structlog

from orchestra_errors import DataLoss, FailedPrecondition, NotFound
from orchestra_inference_node.domain.resident import Wanted
from orchestra_inference_node.ports import ModelFiles, Weights

_BLOCK = 1024 * 1024
log = structlog.get_logger()


class CheckedFiles:
    """Keeps digests in `cache`, by path, size and time of change: a file is read whole once."""

    def __init__(self, cache: Path, inspect: Callable[[str, str, Mapping[str, str]], ModelFiles]) -> None:
        """`inspect` takes an engine's name, then what `ports.Inspect` does."""
        self._cache = cache
        self._inspect = inspect

    async def check(self, wanted: Wanted, engine: str, moved: Callable[[int, int], None]) -> Weights:
        """See the port. The files are read in a thread."""
        loop = asyncio.get_running_loop()

        def told(done: int, total: int) -> None:
            loop.call_soon_threadsafe(moved, done, total)

        return await asyncio.to_thread(self._check, wanted, engine, told)

    def _check(self, wanted: Wanted, engine: str, moved: Callable[[int, int], None]) -> Weights:
        try:
            model = self._inspect(engine, wanted.path, dict(wanted.options))
            sizes = {path: path.stat() for path in model.files}
            revision = f"sha256:{self._digest(sizes, moved)}" if sizes else model.identity
        except FileNotFoundError:
            raise NotFound("model file", wanted.path) from None
        except (OSError, ValueError) as error:
            raise DataLoss(wanted.path, str(error)) from error
        if wanted.expected_revision and wanted.expected_revision != revision:
            raise FailedPrecondition(
                f"model {wanted.model}", f"is {revision}, expected was {wanted.expected_revision}"
            )
        if wanted.chat and not model.chat:
            raise FailedPrecondition(f"model {wanted.model}", "declared to chat, and it has no chat template")
        return Weights(revision, sum(seen.st_size for seen in sizes.values()), model.quantization)

    def _digest(self, files: Mapping[Path, os.stat_result], moved: Callable[[int, int], None]) -> str:
        """Of one file its own; of several that of the list of theirs, as sha256sum writes it, by their names
        in the folder that holds all."""
        total = sum(seen.st_size for seen in files.values())
        done = 0
        folder = os.path.commonpath([path.parent for path in files])
        digests: dict[str, str] = {}
        for path, seen in sorted(files.items()):
            known = self._known(path, seen)
            digests[path.relative_to(folder).as_posix()] = known or self._read_whole(
                path, seen, done, total, moved
            )
            done += seen.st_size
        if len(digests) == 1:
            return next(iter(digests.values()))
        listed = "".join(f"{digest}  {name}\n" for name, digest in digests.items())
        return hashlib.sha256(listed.encode()).hexdigest()

    def _read_whole(
        self, path: Path, seen: os.stat_result, before: int, total: int, moved: Callable[[int, int], None]
    ) -> str:
        digest = hashlib.sha256()
        done = before
        moved(done, total)
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
                done += len(block)
                moved(done, total)
        self._remember(path, seen, digest.hexdigest())
        return digest.hexdigest()

    def _key(self, path: Path, seen: os.stat_result) -> str:
        return f"{path.resolve()}:{seen.st_size}:{seen.st_mtime_ns}"

    def _read(self) -> dict[str, str]:
        try:
            kept = json.loads(self._cache.read_text())
        except (OSError, ValueError):
            return {}
        return kept if isinstance(kept, dict) else {}

    def _known(self, path: Path, seen: os.stat_result) -> str | None:
        return self._read().get(self._key(path, seen))

    def _remember(self, path: Path, seen: os.stat_result, digest: str) -> None:
        try:
            self._cache.parent.mkdir(parents=True, exist_ok=True)
            scratch = self._cache.with_suffix(".part")
            scratch.write_text(json.dumps(self._read() | {self._key(path, seen): digest}))
            scratch.replace(self._cache)
        except OSError as error:
            log.warning("digest not kept", file=str(path), because=str(error))
