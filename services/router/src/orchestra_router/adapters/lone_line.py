"""A call of its own for each leg."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from orchestra_errors import OrchestraError, StreamSilent
from orchestra_rpc import call_stream

from ..ports import Leg, Take
from .silence import Silence
from .worker_channels import Peers, as_lost


class LoneLine:
    """Implements the port Line by Generate. `first_s`, `later_s`: the longest silence before and after the
    first event; heartbeats are no silence."""

    def __init__(self, peers: Peers, first_s: float, later_s: float) -> None:
        self._peers = peers
        self._first_s = first_s
        self._later_s = later_s

    async def run(self, leg: Leg, take: Take) -> AsyncGenerator[None, None]:
        with self._peers.use(leg.target) as peer:
            call = peer.stub.Generate(peer.request(generation=leg.generation, hop=leg.hop))
            leg.abort = call.cancel
            with Silence(call.cancel, self._first_s, self._later_s) as silence:
                try:
                    async with call_stream(call) as messages:
                        async for message in messages:
                            silence.heard()
                            take(message.event)
                            silence.hold(True)
                            yield
                            silence.hold(False)
                except OrchestraError as error:
                    raise as_lost(error, leg.target) from error
                except asyncio.CancelledError:
                    if silence.broken_after is None:
                        raise
                    raise StreamSilent(leg.target.key, silence.broken_after) from None
                finally:
                    leg.abort = None
