"""An append-only journal in segments of a folder, locked against a second owner. Blocking: runs in one
thread.

`00000007.seg` follows `00000006.seg`; only the last one is written to. A damaged tail of the last segment is
what a crash leaves, and is cut off; damage elsewhere is set aside as `….damaged`, with what was whole kept.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import structlog

from orchestra_accounting.records import Frame, decode

log = structlog.get_logger()
_SUFFIX = ".seg"


class Position(NamedTuple):
    """A place in the journal: before the frame at `offset` of `segment`."""

    segment: int
    offset: int


class JournalLocked(Exception):
    """Another process owns this folder; the text is one line for the user."""


class Journal:
    """Segments of one folder. `durable` is the end of what survives a power loss."""

    def __init__(self, folder: Path, segment_bytes: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._segment_bytes = segment_bytes
        self._lock = _lock(folder)
        found = sorted(int(path.stem) for path in folder.glob(f"*{_SUFFIX}") if path.stem.isdigit())
        self._sizes: dict[int, int] = {number: self._path(number).stat().st_size for number in found}
        self._check(found)
        self._active = -1
        self._fd = -1
        self._open_active(found[-1] if found else 1)

    @property
    def durable(self) -> Position:
        return Position(self._active, self._sizes[self._active])

    @property
    def first(self) -> Position:
        return Position(min(self._sizes), 0)

    @property
    def size(self) -> int:
        return sum(tuple(self._sizes.values()))

    @property
    def segments(self) -> list[int]:
        return sorted(self._sizes)

    def append(self, data: bytes) -> Position:
        """Write and sync; returns where `data` begins. Raises OSError, and then nothing of it stays."""
        if self._sizes[self._active] >= self._segment_bytes:
            self.roll()
        start = self.durable
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(self._fd, view) :]
            os.fdatasync(self._fd)
        except OSError:
            os.ftruncate(self._fd, start.offset)
            raise
        self._sizes[self._active] += len(data)
        return start

    def roll(self) -> None:
        """Begin a new segment."""
        os.close(self._fd)
        self._open_active(self._active + 1)

    def read(self, start: Position, frames: int) -> tuple[list[Frame], Position]:
        """At most so many durable frames of one segment, and where to go on; no frames at the end."""
        segment, offset = start
        while offset >= self._sizes.get(segment, 0) and segment < self._active:
            segment, offset = segment + 1, 0
        if segment not in self._sizes or offset >= self._sizes[segment]:
            return [], Position(segment, offset)
        with self._path(segment).open("rb") as file:
            file.seek(offset)
            data = file.read(min(self._sizes[segment] - offset, max(65_536, frames * 2_048)))
            found = list(_first(decode(data), frames))
            if not found:  # one frame larger than the window
                file.seek(offset)
                found = list(_first(decode(file.read(self._sizes[segment] - offset)), frames))
        end = offset + found[-1].end if found else self._sizes[segment]
        return found, Position(segment, end)

    def frames(self) -> Iterator[tuple[int, Frame]]:
        """Every whole frame with its segment, in order."""
        for number in self.segments:
            for frame in decode(self._path(number).read_bytes()):
                yield number, frame

    def drop_before(self, segment: int) -> None:
        """Delete the segments before that one, oldest first."""
        for number in self.segments:
            if number < segment:
                self._path(number).unlink(missing_ok=True)
                del self._sizes[number]
        _sync_folder(self._folder)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            os.close(self._lock)
            self._fd = -1

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:08d}{_SUFFIX}"

    def _open_active(self, number: int) -> None:
        self._fd = os.open(self._path(number), os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._active = number
        self._sizes.setdefault(number, 0)
        _sync_folder(self._folder)

    def _check(self, found: list[int]) -> None:
        for number in found:
            path = self._path(number)
            data = path.read_bytes()
            whole = 0
            for frame in decode(data):
                whole = frame.end
            if whole == len(data):
                continue
            if number != found[-1]:
                path.with_suffix(".damaged").write_bytes(data)
                log.error("journal segment is damaged", segment=path.name, whole_bytes=whole, bytes=len(data))
            else:
                log.info("journal tail cut off", segment=path.name, bytes=len(data) - whole)
            with path.open("r+b") as file:
                file.truncate(whole)
                os.fsync(file.fileno())
            self._sizes[number] = whole


def _first(frames: Iterator[Frame], count: int) -> Iterator[Frame]:
    for _, frame in zip(range(count), frames, strict=False):
        yield frame


def _lock(folder: Path) -> int:
    fd = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        raise JournalLocked(f"the spool {folder} belongs to another running process") from None
    return fd


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
