"""Logprobs of given tokens: the server is made to draw them."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Any

from orchestra_errors import OrchestraError, Unavailable
from orchestra_inference_node.adapters.exchanges import Exchanges
from orchestra_inference_node.adapters.llamacpp.chunks import engine_error
from orchestra_inference_node.adapters.llamacpp.request import (
    COMPARED_BIAS,
    comparing_request,
    forcing_request,
    scoring_request,
)
from orchestra_inference_node.adapters.llamacpp.vocabulary import Vocabulary
from orchestra_inference_node.domain.drawing import Piece, TopTokens


class Scorer:
    """Scores one target. The caller holds a slot."""

    def __init__(self, model: str, exchanges: Exchanges, vocabulary: Vocabulary) -> None:
        self._model = model
        self._exchanges = exchanges
        self._vocabulary = vocabulary

    async def score(self, prompt: tuple[int, ...], target: tuple[int, ...], top: int) -> Piece:
        """Returns, or raises, once the slot is free, also when it is cancelled."""
        scored = Piece()
        while len(scored.logprobs) < len(target):
            done = len(scored.logprobs)
            context, rest = prompt + target[:done], target[done:]
            shown = rest[: self._vocabulary.visible(rest)]
            if not shown:
                await self._look_up(context, rest[0], top, scored)
                continue
            failure = await self._draw(scoring_request(context, shown, top), shown, top, scored)
            if len(scored.logprobs) < done + len(shown):
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
        begin = len(scored.logprobs)

        def take(entry: dict[str, Any]) -> bool:
            at = len(scored.logprobs) - begin
            if at == len(wanted) or entry["id"] != wanted[at]:
                return False
            _add(scored, entry, top)
            return True

        return await self._ask(request, take)

    async def _look_up(self, context: tuple[int, ...], token: int, top: int, scored: Piece) -> None:
        """The server says nothing of a token that ends inside a character, so it is made to draw a letter:
        once as the model has it, and once beside the token, which tells how much less likely that is."""
        letter = self._vocabulary.plain
        told: list[dict[str, Any]] = []

        def take(entry: dict[str, Any]) -> bool:
            told.append(entry)
            return True

        for request in (forcing_request(context, letter, top), comparing_request(context, letter, token)):
            failure = await self._ask(request, take)
            if failure:
                raise failure
        beside = {one["id"]: one["prob"] for one in told[-1].get("top_probs", ())} if told else {}
        if len(told) < 2 or not beside.get(token):
            raise Unavailable(f"the engine of {self._model} (it does not tell of token {token})")
        less = math.log(beside[letter]) - math.log(beside[token]) - COMPARED_BIAS
        _add(scored, told[0] | {"id": token, "logprob": told[0]["logprob"] - less}, top)

    async def _ask(
        self, request: dict[str, Any], take: Callable[[dict[str, Any]], bool]
    ) -> OrchestraError | None:
        """Hand over what is said of each token until `take` has enough; the server's failure, if any."""
        failures: list[OrchestraError] = []

        def on_chunk(said: dict[str, Any]) -> bool:
            if "error" in said:
                failures.append(engine_error(said["error"], self._model))
                return True
            return not all(take(entry) for entry in said.get("completion_probabilities") or ())

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
