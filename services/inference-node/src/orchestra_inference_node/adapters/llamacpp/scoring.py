"""Logprobs of given tokens: the server is made to draw them."""

from __future__ import annotations

import asyncio
from typing import Any

from orchestra_errors import OrchestraError, Unavailable
from orchestra_inference_node.adapters.exchanges import Exchanges
from orchestra_inference_node.adapters.llamacpp.chunks import engine_error
from orchestra_inference_node.adapters.llamacpp.request import forcing_request, scoring_request
from orchestra_inference_node.domain.drawing import Piece, TopTokens


class Scorer:
    """Scores one target. The caller holds a slot."""

    def __init__(self, model: str, exchanges: Exchanges) -> None:
        self._model = model
        self._exchanges = exchanges

    async def score(self, prompt: tuple[int, ...], target: tuple[int, ...], top: int) -> Piece:
        """Returns, or raises, once the slot is free, also when it is cancelled."""
        scored = Piece()
        while len(scored.logprobs) < len(target):
            done = len(scored.logprobs)
            context, rest = prompt + target[:done], target[done:]
            failure = await self._draw(scoring_request(context, rest, top), rest, top, scored)
            if len(scored.logprobs) < len(target):
                # no grammar can ask for a token that ends an answer
                done = len(scored.logprobs)
                context, rest = prompt + target[:done], target[done : done + 1]
                failure = await self._draw(forcing_request(context, rest[0], top), rest, top, scored)
                if len(scored.logprobs) == done:
                    raise failure or Unavailable(f"the engine of {self._model} (it drew another token)")
        scored.tokens = len(scored.logprobs)
        return scored

    async def _draw(
        self, request: dict[str, Any], wanted: tuple[int, ...], top: int, scored: Piece
    ) -> OrchestraError | None:
        """Add what was drawn as wanted; the server's failure, if any."""
        failures: list[OrchestraError] = []
        begin = len(scored.logprobs)

        def on_chunk(said: dict[str, Any]) -> bool:
            if "error" in said:
                failures.append(engine_error(said["error"], self._model))
                return True
            for entry in said.get("completion_probabilities") or ():
                at = len(scored.logprobs) - begin
                if at == len(wanted) or entry["id"] != wanted[at]:
                    return True
                _add(scored, entry, top)
            return False

        exchange = self._exchanges.start(request, on_chunk)
        try:
            await asyncio.wait([exchange.done])
        except asyncio.CancelledError:
            exchange.give_up()
            await asyncio.wait([exchange.done])
            raise
        error = exchange.done.exception()
        if isinstance(error, OrchestraError):
            raise error
        return failures[0] if failures else None


def _add(scored: Piece, entry: dict[str, Any], top: int) -> None:
    scored.token_ids.append(entry["id"])
    scored.logprobs.append(entry["logprob"])
    if top:
        likely = entry["top_logprobs"][:top]
        scored.top.append(
            TopTokens(
                tuple(one["id"] for one in likely),
                tuple(one["logprob"] for one in likely),
                tuple(one["token"] for one in likely),
            )
        )
