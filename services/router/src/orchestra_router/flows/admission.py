"""How many calls are answered at once. More are refused, with a time to retry, before anything is done for
them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from orchestra_errors import NoCapacity

RETRY_S = 1.0


class Admission:
    """A bound over all callers of this replica."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.admitted = 0

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Raises NoCapacity when `limit` calls are in it."""
        if self.admitted >= self._limit:
            raise NoCapacity("the router", RETRY_S)
        self.admitted += 1
        try:
            yield
        finally:
            self.admitted -= 1
