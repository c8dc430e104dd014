"""Logprobs of given tokens: the engine is made to draw them."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import Executor
from typing import Any

from orchestra_errors import OrchestraError, Unavailable
from orchestra_inference_node.adapters.llamacpp.chunks import engine_error
from orchestra_inference_node.adapters.llamacpp.request import forcing_request, scoring_request
from orchestra_inference_node.domain.drawing import Piece, TopTokens


class Scorer:
    """Scores one target. The caller holds a slot."""

    def __init__(self, model: str, server: Any, threads: Executor) -> None:
        self._model = model
        self._server = server
        self._threads = threads
        self._given_up = False

    async def score(self, prompt: tuple[int, ...], target: tuple[int, ...], top: int) -> Piece:
        """Returns, or raises, once the slot is free, also when it is cancelled."""
        done = asyncio.get_running_loop().run_in_executor(self._threads, self._work, prompt, target, top)
        try:
            return await asyncio.shield(done)
        except asyncio.CancelledError:
            self._given_up = True
            await asyncio.wait([done])
            raise

    def _work(self, prompt: tuple[int, ...], target: tuple[int, ...], top: int) -> Piece:
        """In a thread."""
        scored = Piece()
        while not self._given_up and len(scored.logprobs) < len(target):
            done = len(scored.logprobs)
            context, rest = prompt + target[:done], target[done:]
            failure = self._draw(scoring_request(context, rest, top), rest, top, scored)
            if len(scored.logprobs) < len(target) and not self._given_up:
                # no grammar can ask for a token that ends an answer
                done = len(scored.logprobs)
                context, rest = prompt + target[:done], target[done : done + 1]
                failure = self._draw(forcing_request(context, rest[0], top), rest, top, scored)
                if len(scored.logprobs) == done and not self._given_up:
                    raise failure or Unavailable(f"the engine of {self._model} (it drew another token)")
        scored.tokens = len(scored.logprobs)
        return scored

    def _draw(
        self, request: dict[str, Any], wanted: tuple[int, ...], top: int, scored: Piece
    ) -> OrchestraError | None:
        """Add what was drawn as wanted; the engine's failure, if any."""
        failures: list[OrchestraError] = []
        begin = len(scored.logprobs)

        def on_chunk(chunk: bytes) -> bool:
            data = json.loads(chunk)
            if "choices" not in data:
                failures.append(engine_error(data.get("error", data), self._model))
                return True
            for entry in data["__verbose"].get("completion_probabilities") or ():
                at = len(scored.logprobs) - begin
                if at == len(wanted) or entry["id"] != wanted[at]:
                    return True
                _add(scored, entry, top)
            return self._given_up

        self._server.handle_completions(json.dumps(request).encode(), on_chunk)
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
