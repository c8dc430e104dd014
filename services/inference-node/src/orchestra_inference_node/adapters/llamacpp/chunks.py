"""What llama.cpp's server streams, read into pieces. Pure: values in, outputs out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from orchestra_errors import DataLoss, InvalidRequest, OrchestraError, Unavailable
from orchestra_inference_node.domain.drawing import Draw, End, EndReason, Output, Piece, Prefill, TopTokens

# a sampled token has some probability, even where a 32-bit float shows none
_LEAST_PROBABILITY = 1.2e-38


class ChunkReader:
    """Reads the chunks of one sample in order. `ended` is set once the sample has its End."""

    def __init__(
        self, draw: Draw, model: str, stop_texts: Mapping[int, str], *, forked: bool = False
    ) -> None:
        """`stop_texts` gives the text of each of the draw's stop tokens. `forked`: the engine copied the
        computed prompt from another sample."""
        self._draw = draw
        self._model = model
        self._stop_texts = stop_texts
        self._seen = 0
        self._cached = len(draw.prompt_ids) if forked else 0
        self._forked = forked
        self.ended = False

    def read(self, said: Mapping[str, Any]) -> list[Output]:
        """What a chunk says."""
        if (progress := said.get("prompt_progress")) is not None:
            if not self._forked:
                self._cached = progress["cache"]
            return [Prefill(progress["processed"], progress["total"], self._cached)]
        if said["stop"]:
            return [self._end(said)]
        return self._token(said)

    def error(self, data: Mapping[str, Any]) -> OrchestraError:
        """What an error means."""
        constraint = "grammar" if self._draw.json_schema is None else "json_schema"
        return engine_error(data, self._model, constraint)

    def _token(self, said: Mapping[str, Any]) -> list[Output]:
        # a server of before return_tokens tells only how many they are
        tokens: list[int] = said.get("tokens") or []
        predicted: int = said["tokens_predicted"]
        missed = predicted - self._seen - len(tokens)
        self._seen = predicted
        if missed > 0 and (self._draw.token_ids or self._draw.logprobs):
            # the engine keeps the tokens inside a character to itself, and says only how many they were
            raise DataLoss(
                "the token ids of a character made of several tokens", "the engine does not stream them"
            )
        piece = Piece(text=said["content"], tokens=len(tokens) + max(0, missed))
        if self._draw.token_ids:
            piece.token_ids = tokens
        if self._draw.logprobs:
            self._add_logprobs(piece, said["completion_probabilities"])
        stop = next((token for token in tokens if token in self._stop_texts), None)
        if stop is None:
            return [piece]
        own = self._stop_texts[stop]
        piece.text = piece.text.removesuffix(own) if own else piece.text
        self.ended = True
        return [piece, self._count(EndReason.STOP_SEQUENCE, own or str(stop), said)]

    def _add_logprobs(self, piece: Piece, entries: list[dict[str, Any]]) -> None:
        for entry in entries:
            piece.logprobs.append(_log(entry["prob"]))
            if self._draw.top_logprobs:
                top = entry["top_probs"][: self._draw.top_logprobs]
                piece.top.append(
                    TopTokens(
                        tuple(one["id"] for one in top),
                        tuple(_log(one["prob"]) for one in top),
                        tuple(one["token"] for one in top),
                    )
                )

    def _end(self, said: Mapping[str, Any]) -> End:
        self.ended = True
        limit = self._draw.max_tokens
        match said["stop_type"]:
            case "eos":
                reason = EndReason.STOP
            case "word":
                reason = EndReason.STOP_SEQUENCE
            case _ if limit is not None and said["tokens_predicted"] >= limit:
                reason = EndReason.MAX_TOKENS
            case "limit":
                reason = EndReason.CONTEXT_FULL
            case _:
                # a grammar that allows nothing more
                reason = EndReason.STOP
        return self._count(reason, said.get("stopping_word", ""), said)

    def _count(self, reason: EndReason, matched: str, said: Mapping[str, Any]) -> End:
        return End(
            reason=reason,
            stop_matched=matched,
            prompt_tokens=said["tokens_evaluated"],
            cached_prompt_tokens=self._cached,
            completion_tokens=said["tokens_predicted"],
        )


def _log(probability: float) -> float:
    return math.log(max(probability, _LEAST_PROBABILITY))


def engine_error(error: Mapping[str, Any], model: str, constraint: str = "grammar") -> OrchestraError:
    """What llama.cpp says as one of our kinds. `constraint` is the field of Sampling that the grammar came
    from."""
    message = str(error.get("message", "no message"))
    if error.get("code") == 400:
        if "grammar" in message or "samplers" in message:
            field = f"sampling.{constraint}"
        elif "token" in message:
            field = "token_ids.ids"
        else:
            field = "generation"
        return InvalidRequest.of(field, message)
    return Unavailable(f"the engine of {model} ({message})", retry_after=1.0)
