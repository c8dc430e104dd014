"""A server lives on its own: it may come back with another model."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from orchestra_errors import Unavailable
from orchestra_inference_node.adapters.openai_server.failures import RETRY_LATER_S

# how long a look is believed: no server ends, starts and loads another model in less. A failure ends the
# belief at once
_FRESH_S = 0.25


class SameModel:
    """Whether the server still holds what was loaded."""

    def __init__(self, model: str, identity: str, look: Callable[[], str]) -> None:
        """`look` blocks and gives the identity of what the server holds now, or raises a kind of ours."""
        self._model = model
        self._identity = identity
        self._look = look
        self._believed_until = 0.0
        self._looking = asyncio.Lock()

    def doubt(self) -> None:
        """Something failed: the next request looks first."""
        self._believed_until = 0.0

    async def sure(self) -> None:
        """Raises Unavailable when the server holds another model, and what `look` does."""
        if time.monotonic() < self._believed_until:
            return
        async with self._looking:
            if time.monotonic() < self._believed_until:
                return
            began = time.monotonic()
            identity = await asyncio.to_thread(self._look)
            if identity != self._identity:
                raise Unavailable(
                    f"{self._model} (its server holds {identity} now: unload the model and load it again)",
                    RETRY_LATER_S,
                )
            self._believed_until = began + _FRESH_S
