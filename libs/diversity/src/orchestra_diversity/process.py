"""Measures diversity in a bounded child process, so that hostile answers cost neither the event loop nor the
service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Container, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from .child import Child, ChildEnded
from .samples import DiversityReport, Sample
from .wire import Fields, decode_report, encode_doubles, frame


class DiversityBusy(Exception):
    """As many jobs are waiting as may; try again after one of them ended."""


class DiversityFailed(Exception):
    """The set could not be measured within its bounds; the message says which one it met."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one job and of the child.

    `seconds`: wall time of a job from its start. `sample_seconds`: wall time to read one sample; one that
    takes longer is measured without being parsed. `memory_bytes`: what a job may take on top of the loaded
    libraries. `samples`, `sample_chars`, `chars`: most samples of a job, characters of one that are parsed,
    and characters in all. `restarts`: how many samples may end the child before no further one is parsed.
    `waiting`: most jobs in line. `idle_seconds`: after which an unused child is ended.
    """

    seconds: float = 20.0
    sample_seconds: float = 2.0
    memory_bytes: int = 512 << 20
    samples: int = 256
    sample_chars: int = 100_000
    chars: int = 1_000_000
    restarts: int = 3
    waiting: int = 64
    idle_seconds: float = 60.0


@dataclass(slots=True)
class _Progress:
    """How far the child got: whether it took the job up, and the sample that it is reading, None before and
    after."""

    begun: bool = False
    sample: int | None = None


class DiversityProcess:
    """`measure` as a coroutine. One job at a time, in order of arrival; the child starts with the first
    one."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self._turn = asyncio.Lock()
        self._jobs = 0
        self._child: Child | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._retiring: asyncio.Task[None] | None = None
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    @property
    def child_pid(self) -> int | None:
        """Process id of the child while there is one."""
        return self._child.pid if self._child and self._child.alive else None

    async def measure(
        self, samples: Sequence[Sample], embeddings: Sequence[Sequence[float]] | None = None
    ) -> DiversityReport:
        """Like `orchestra_diversity.measure`, elsewhere.

        A sample that ends the child or takes too long is read without being parsed, and its reading says so.
        Raises ValueError for a set that is empty, too large or does not fit its embeddings, DiversityBusy
        when the line is full, DiversityFailed when the set as a whole met a bound. Cancelling ends the work
        at once.
        """
        self._check(samples, embeddings)
        if self._jobs > self.limits.waiting:
            raise DiversityBusy(f"{self.limits.waiting} jobs are waiting")
        self._jobs += 1
        try:
            async with self._turn, self._using_child():
                try:
                    async with asyncio.timeout(self.limits.seconds):
                        return await self._measure(samples, embeddings)
                except TimeoutError:
                    raise DiversityFailed(f"took longer than {self.limits.seconds:g} s") from None
        finally:
            self._jobs -= 1

    async def aclose(self) -> None:
        """Ends the child. A job under way fails; later ones are refused."""
        self._closed = True
        self._stop_clock()
        child = self._child
        if child is not None:
            await child.kill()
        if self._retiring is not None:
            await self._retiring

    def _check(self, samples: Sequence[Sample], embeddings: Sequence[Sequence[float]] | None) -> None:
        limits = self.limits
        if not samples:
            raise ValueError("diversity is a property of at least one sample")
        if len(samples) > limits.samples:
            raise ValueError(f"{len(samples)} samples are more than the {limits.samples} of one job")
        chars = sum(min(len(sample.text), limits.sample_chars) for sample in samples)
        if chars > limits.chars:
            raise ValueError(f"{chars} characters are more than the {limits.chars} of one job")
        if embeddings is not None:
            widths = {len(vector) for vector in embeddings}
            if len(embeddings) != len(samples) or len(widths) != 1 or 0 in widths:
                raise ValueError(f"embeddings must be {len(samples)} vectors of one length")

    @asynccontextmanager
    async def _using_child(self) -> AsyncIterator[None]:
        """No idle clock while a job runs; a child that did not finish its job is not used again."""
        self._stop_clock()
        try:
            yield
        except ValueError:
            self._start_clock()
            raise
        except BaseException:
            await self._drop_child()
            raise
        self._start_clock()

    async def _measure(
        self, samples: Sequence[Sample], embeddings: Sequence[Sequence[float]] | None
    ) -> DiversityReport:
        limits = self.limits
        forbidden = {
            index: f"longer than {limits.sample_chars} characters, the rest was not read"
            for index, sample in enumerate(samples)
            if len(sample.text) > limits.sample_chars
        }
        ended = 0
        while True:
            at = _Progress()
            try:
                child = await self._ready_child()
                return await self._ask(child, self._job(samples, embeddings, forbidden), at, forbidden)
            except (ChildEnded, TimeoutError) as error:
                await self._drop_child()
                ended += 1
                if at.sample is None and (at.begun or ended > 1):
                    raise DiversityFailed(f"the measuring process {error}") from error
                if at.sample in forbidden:
                    raise DiversityFailed(f"sample {at.sample} cannot be read: {error}") from error
                if at.sample is not None:
                    forbidden[at.sample] = _blame(error, limits)
                if ended > limits.restarts:
                    reason = f"not parsed: {ended} other samples of the set ended the reader"
                    forbidden |= {index: reason for index in range(len(samples)) if index not in forbidden}

    async def _ask(
        self, child: Child, job: bytes, at: _Progress, forbidden: Container[int | None]
    ) -> DiversityReport:
        """Sends a job and follows its progress.

        Only a sample that is parsed has a time of its own: to take tokens is linear work.
        """
        await child.send(job)
        while True:
            parsing = at.sample is not None and at.sample not in forbidden
            async with asyncio.timeout(self.limits.sample_seconds if parsing else None):
                fields, doubles = await child.receive()
            if "reading" not in fields:
                return _outcome(fields, doubles)
            at.begun, at.sample = True, fields["reading"]

    def _job(
        self,
        samples: Sequence[Sample],
        embeddings: Sequence[Sequence[float]] | None,
        forbidden: dict[int, str],
    ) -> bytes:
        fields: Fields = {
            "samples": [[one.text[: self.limits.sample_chars], one.model, one.language] for one in samples],
            "forbidden": forbidden,
            "width": len(embeddings[0]) if embeddings is not None else 0,
        }
        return frame(fields, encode_doubles(embeddings) if embeddings is not None else b"")

    async def _ready_child(self) -> Child:
        if self._closed:
            raise DiversityFailed("closed")
        if self._child is None or not self._child.alive:
            self._child = await Child.start(self.limits.memory_bytes, self.limits.seconds)
        return self._child

    async def _drop_child(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            await child.kill()

    def _start_clock(self) -> None:
        if not self._closed:
            self._idle = asyncio.get_running_loop().call_later(self.limits.idle_seconds, self._retire)

    def _stop_clock(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None

    def _retire(self) -> None:
        self._idle = None
        child, self._child = self._child, None  # taken now: a job that comes meanwhile starts its own
        if child is not None:
            self._retiring = asyncio.get_running_loop().create_task(child.kill())


def _outcome(fields: Fields, doubles: bytes) -> DiversityReport:
    if "invalid" in fields:
        raise ValueError(fields["invalid"])
    if "failed" in fields:
        raise DiversityFailed(fields["failed"])
    return decode_report(fields["report"], doubles)


def _blame(error: BaseException, limits: Limits) -> str:
    if isinstance(error, TimeoutError):
        return f"reading it took longer than {limits.sample_seconds:g} s"
    return f"reading it ended the reader ({error})"
