"""Copies of model files on a fast disk: whole or not there, and never of something else."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import structlog

from orchestra_errors import DataLoss, FailedPrecondition
from orchestra_inference_node.domain.copies import Copied

_BLOCK = 1024 * 1024
# how much is copied again at most after an interruption
_CHECKPOINT = 64 * _BLOCK
_MANIFEST = "copied.json"
log = structlog.get_logger()


class Stopped(Exception):
    """Whoever wanted the copy is gone; what is there is gone on from the next time."""


class FastTier:
    """A folder; "" is none. Every method blocks but `chosen`."""

    def __init__(self, folder: str, bytes_per_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        """`bytes_per_s` bounds a copy, so that those who serve keep their disk; 0: no bound."""
        self._folder = Path(folder) if folder else None
        self._bytes_per_s = bytes_per_s
        self._clock = clock
        self._chosen: dict[str, str] = {}

    def choose(self, path: str) -> str:
        """What to load in place of `path`: its copy, where a whole one of it as it is now is there."""
        source = Path(path)
        copy = self._place(source)
        known = None if copy is None else self._manifest(copy)
        use = path
        if copy is not None and known is not None and self._whole(source, copy, known):
            use = str(copy if source.is_dir() else copy / source.name)
        self._chosen[path] = use
        return use

    def chosen(self, path: str) -> str:
        """The answer of the last `choose`."""
        return self._chosen.get(path, path)

    def copy(self, path: str, files: tuple[Path, ...], stop: threading.Event) -> Copied:
        """See the port. Raises Stopped once `stop` is set."""
        source = Path(path)
        copy = self._place(source)
        if copy is None:
            raise FailedPrecondition(
                "the fast tier", "the node's fast_tier is not set in the deployment's file"
            )
        root = source if source.is_dir() else source.parent
        if source.is_dir():
            files = tuple(one for one in source.rglob("*") if one.is_file())
        stats = {one.relative_to(root).as_posix(): one.stat() for one in files}
        total = sum(seen.st_size for seen in stats.values())
        known = self._manifest(copy)
        if known is not None and known.keys() == stats.keys() and self._whole(source, copy, known):
            return Copied(total, False, {name: str(one[2]) for name, one in known.items()})
        copy.mkdir(parents=True, exist_ok=True)
        (copy / _MANIFEST).unlink(missing_ok=True)
        self._check_room(copy, total)
        digests = {name: self._one(root / name, copy / name, stop) for name in sorted(stats)}
        manifest = {
            name: [seen.st_size, seen.st_mtime_ns, digests[name]] for name, seen in sorted(stats.items())
        }
        _write(copy / _MANIFEST, json.dumps({"source": str(source), "files": manifest}))
        return Copied(total, True, digests)

    def forget(self, path: str) -> None:
        """See the port."""
        copy = self._place(Path(path))
        if copy is not None:
            shutil.rmtree(copy, ignore_errors=True)

    def _place(self, source: Path) -> Path | None:
        if self._folder is None:
            return None
        return (
            self._folder
            / f"{source.name}-{hashlib.sha256(os.path.abspath(source).encode()).hexdigest()[:16]}"
        )

    def _manifest(self, copy: Path) -> dict[str, list[int | str]] | None:
        try:
            return dict(json.loads((copy / _MANIFEST).read_text())["files"])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError) as error:
            log.warning("copy not used", folder=str(copy), because=str(error))
            return None

    def _whole(self, source: Path, copy: Path, known: dict[str, list[int | str]]) -> bool:
        """Whether the source is as it was copied (or out of reach), and every file of the copy is there."""
        root = source if source.is_dir() else source.parent
        try:
            for name, (size, changed, _) in known.items():
                if (copy / name).stat().st_size != size:
                    return False
                if source.exists():
                    seen = (root / name).stat()
                    if (seen.st_size, seen.st_mtime_ns) != (size, changed):
                        return False
        except OSError:
            return False
        return bool(known)

    def _check_room(self, copy: Path, total: int) -> None:
        there = sum(one.stat().st_size for one in copy.rglob("*") if one.is_file())
        free = shutil.disk_usage(copy).free
        if total - there > free:
            raise FailedPrecondition("the fast tier", f"{total - there} bytes are needed, {free} are free")

    def _one(self, source: Path, copy: Path, stop: threading.Event) -> str:
        """The digest of what was read. The copy takes its name once it reads back the same."""
        copy.parent.mkdir(parents=True, exist_ok=True)
        part, mark = copy.with_name(f"{copy.name}.part"), copy.with_name(f"{copy.name}.mark")
        digest, done = _gone_on_from(part, mark)
        with source.open("rb") as read, part.open("r+b" if done else "wb") as write:
            read.seek(done)
            write.seek(done)
            write.truncate()
            self._stream(read, write, digest, mark, done, stop)
        found = digest.hexdigest()
        if _digest_of(part, None).hexdigest() != found:
            part.unlink()
            mark.unlink(missing_ok=True)
            raise DataLoss(str(copy), "the disk gives back something else than was written")
        part.replace(copy)
        mark.unlink(missing_ok=True)
        return found

    def _stream(
        self,
        read: BinaryIO,
        write: BinaryIO,
        digest: hashlib._Hash,
        mark: Path,
        done: int,
        stop: threading.Event,
    ) -> None:
        began, copied, marked = self._clock(), 0, 0

        def checkpoint() -> None:
            write.flush()
            os.fsync(write.fileno())
            _write(mark, json.dumps({"bytes": done + copied, "sha256": digest.copy().hexdigest()}))

        while block := read.read(_BLOCK):
            write.write(block)
            digest.update(block)
            copied += len(block)
            if copied - marked >= _CHECKPOINT:
                checkpoint()
                marked = copied
            ahead = copied / self._bytes_per_s - (self._clock() - began) if self._bytes_per_s else 0.0
            if stop.wait(max(0.0, ahead)):
                checkpoint()
                raise Stopped
        write.flush()
        os.fsync(write.fileno())


def _gone_on_from(part: Path, mark: Path) -> tuple[hashlib._Hash, int]:
    """The digest so far and its bytes: up to the last mark, if the disk still holds what was read then."""
    try:
        kept = json.loads(mark.read_text())
        done = int(kept["bytes"])
        digest = _digest_of(part, done)
        if part.stat().st_size >= done and digest.hexdigest() == kept["sha256"]:
            return digest, done
    except (OSError, ValueError, TypeError, KeyError):
        pass
    return hashlib.sha256(), 0


def _digest_of(path: Path, most: int | None) -> hashlib._Hash:
    digest = hashlib.sha256()
    left = path.stat().st_size if most is None else most
    with path.open("rb") as file:
        while left > 0 and (block := file.read(min(_BLOCK, left))):
            digest.update(block)
            left -= len(block)
    return digest


def _write(path: Path, text: str) -> None:
    scratch = path.with_name(f"{path.name}.new")
    with scratch.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(path)
