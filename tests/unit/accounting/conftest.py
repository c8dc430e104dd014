from __future__ import annotations

from collections.abc import Callable

import pytest

from orchestra.ledger.v1.entry_pb2 import UsageEntry


@pytest.fixture
def entry() -> Callable[..., UsageEntry]:
    """An entry by its number."""

    def make(number: int | str, **fields: object) -> UsageEntry:
        return UsageEntry(attempt_id=f"r/{number}/1", request_id="r", tenant="default", **fields)

    return make
