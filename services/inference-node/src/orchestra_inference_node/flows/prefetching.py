"""Bringing a model's files to the fast tier before anybody waits for them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from orchestra_errors import DataLoss, FailedPrecondition, NotFound
from orchestra_inference_node.domain.resident import Placed, Wanted
from orchestra_inference_node.ports import ModelFiles, Tier

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Prefetched:
    """`copied` is False when the files were there already."""

    bytes_total: int
    copied: bool


class Prefetching:
    """One copy at a time: they share two disks."""

    def __init__(
        self,
        tier: Tier,
        place: Callable[[Wanted], Placed],
        inspect: Callable[[str, str, dict[str, str]], ModelFiles],
    ) -> None:
        """`place` says which engine would load it, `inspect` which files that needs; both block."""
        self._tier = tier
        self._place = place
        self._inspect = inspect
        self._turn = asyncio.Lock()

    async def prefetch(self, wanted: Wanted) -> Prefetched:
        """Returns when a whole copy is there. Cancelling it stops the copy soon; the next one goes on from
        there.

        Raises NotFound, DataLoss for what cannot be read or is not whole, FailedPrecondition for another
        revision, for what has no files, and without a fast tier or room on it.
        """
        async with self._turn:
            stop = threading.Event()
            work = asyncio.create_task(asyncio.to_thread(self._copy, wanted, stop), name="prefetch")
            try:
                return await asyncio.shield(work)
            except asyncio.CancelledError:
                stop.set()
                # the thread looks at it after each block
                await asyncio.wait([work])
                work.exception()
                raise

    def _copy(self, wanted: Wanted, stop: threading.Event) -> Prefetched:
        try:
            files = self._inspect(self._place(wanted).engine, wanted.path, dict(wanted.options)).files
            if not files:
                raise FailedPrecondition(f"model {wanted.model}", "has no files that could be copied")
            done = self._tier.copy(wanted.path, files, stop)
        except FileNotFoundError:
            raise NotFound("model file", wanted.path) from None
        except (OSError, ValueError) as error:
            raise DataLoss(wanted.path, str(error)) from error
        expected = wanted.expected_revision
        if (
            expected
            and len(done.digests) == 1
            and (found := next(iter(done.digests.values()))) != expected[7:]
        ):
            self._tier.forget(wanted.path)
            raise FailedPrecondition(
                f"model {wanted.model}", f"its file is sha256:{found}, expected was {expected}"
            )
        if done.anew:
            log.info("model prefetched", model=wanted.model, bytes=done.bytes_total)
        return Prefetched(done.bytes_total, done.anew)
