"""Model files: whole, of the right revision, and digested once."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import structlog

from orchestra_errors import DataLoss, FailedPrecondition, NotFound
from orchestra_inference_node.adapters.llamacpp.gguf import GgufFacts
from orchestra_inference_node.domain.resident import Wanted
from orchestra_inference_node.ports import Weights

_BLOCK = 1024 * 1024
log = structlog.get_logger()


class CheckedFiles:
    """Keeps digests in `cache`, by path, size and time of change: a file is read whole once."""

    def __init__(self, cache: Path) -> None:
        self._cache = cache

    async def check(self, wanted: Wanted, engine: str, moved: Callable[[int, int], None]) -> Weights:
        """See the port. The file is read in a thread."""
        loop = asyncio.get_running_loop()

        def told(done: int, total: int) -> None:
            loop.call_soon_threadsafe(moved, done, total)

        return await asyncio.to_thread(self._check, wanted, told)

    def _check(self, wanted: Wanted, moved: Callable[[int, int], None]) -> Weights:
        path = Path(wanted.path)
        try:
            facts = GgufFacts.read(path)
            seen = path.stat()
            digest = self._known(path, seen) or self._digest(path, seen, moved)
        except FileNotFoundError:
            raise NotFound("model file", wanted.path) from None
        except (OSError, ValueError) as error:
            raise DataLoss(wanted.path, str(error)) from error
        revision = f"sha256:{digest}"
        if wanted.expected_revision and wanted.expected_revision != revision:
            raise FailedPrecondition(
                f"model {wanted.model}", f"its file is {revision}, expected was {wanted.expected_revision}"
            )
        if wanted.chat and not facts.has_chat_template:
            raise FailedPrecondition(
                f"model {wanted.model}", "declared to chat, and its file holds no chat template"
            )
        return Weights(revision, seen.st_size, facts.quantization)

    def _digest(self, path: Path, seen: os.stat_result, moved: Callable[[int, int], None]) -> str:
        digest = hashlib.sha256()
        done = 0
        moved(0, seen.st_size)
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
                done += len(block)
                moved(done, seen.st_size)
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
