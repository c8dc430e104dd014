"""What /v1/completions streams, read into pieces. Pure: values in, outputs out."""

from __future__ import annotations

import json
from typing import Any

from orchestra_errors import DataLoss, InvalidRequest, OrchestraError, Unavailable, WorkerLost
from orchestra_inference_node.adapters.openai_server.failures import RETRY_S, message_of
from orchestra_inference_node.domain.drawing import Draw, End, EndReason, Output, Piece, TopTokens

PATH = "/v1/completions"
_BAD_REQUEST = range(400, 500)
_ID = "token_id:"


class CompletionReader:
    """Reads the chunks of one sample in order. `ended` is set once the sample has its End: after the finish
    reason, with the counts that the server sends last."""

    def __init__(self, draw: Draw, model: str) -> None:
        self._draw = draw
        self._model = model
        self._finish: dict[str, Any] | None = None
        self.ended = False

    def read(self, said: dict[str, Any]) -> list[Output]:
        """What a chunk says."""
        outputs: list[Output] = []
        for choice in said["choices"]:
            piece = self._piece(choice)
            if piece.text or piece.tokens:
                outputs.append(piece)
            if choice.get("finish_reason"):
                self._finish = choice
        usage = said.get("usage")
        if usage and self._finish is not None:
            outputs.append(self._end(self._finish, usage))
            self.ended = True
        return outputs

    def error(self, said: dict[str, Any]) -> OrchestraError:
        """What an error means, in a status or in the stream."""
        message = message_of(said)
        code = said.get("code")
        if not isinstance(code, int) or code not in _BAD_REQUEST:
            return Unavailable(f"the server of {self._model} ({message})", RETRY_S)
        constrained = self._draw.json_schema is not None and any(
            word in message.lower() for word in ("schema", "grammar", "structured", "guided")
        )
        return InvalidRequest.of("sampling.json_schema" if constrained else "generation", message)

    def _piece(self, choice: dict[str, Any]) -> Piece:
        piece = Piece(text=choice.get("text") or "")
        ids = choice.get("token_ids")
        if ids is None:
            # the server does not say how many it merged: at least one
            piece.tokens = 1 if piece.text else 0
        else:
            piece.tokens = len(ids)
        if self._draw.token_ids and piece.tokens:
            if ids is None:
                raise DataLoss(f"the answer of {self._model}", "a chunk has no token ids")
            piece.token_ids = list(ids)
        if self._draw.logprobs and piece.tokens:
            self._add_logprobs(piece, choice["logprobs"])
        return piece

    def _add_logprobs(self, piece: Piece, said: dict[str, Any]) -> None:
        piece.logprobs = [float(one) for one in said["token_logprobs"]]
        if len(piece.logprobs) != piece.tokens:
            raise DataLoss(f"the answer of {self._model}", "it has not one logprob for each token")
        if self._draw.top_logprobs:
            piece.top = [top_tokens(one, self._draw.top_logprobs) for one in said["top_logprobs"]]

    def _end(self, finish: dict[str, Any], usage: dict[str, Any]) -> End:
        completion = int(usage["completion_tokens"])
        reason, matched = self._reason(finish, completion)
        details = usage.get("prompt_tokens_details") or {}
        return End(
            reason=reason,
            stop_matched=matched,
            prompt_tokens=int(usage["prompt_tokens"]),
            cached_prompt_tokens=int(details.get("cached_tokens") or 0),
            completion_tokens=completion,
        )

    def _reason(self, finish: dict[str, Any], completion: int) -> tuple[EndReason, str]:
        limit = self._draw.max_tokens
        match finish["finish_reason"], finish.get("stop_reason"):
            case "length", _ if limit is not None and completion >= limit:
                return EndReason.MAX_TOKENS, ""
            case "length", _:
                return EndReason.CONTEXT_FULL, ""
            case "stop", str(text) if text:
                return EndReason.STOP_SEQUENCE, text
            case "stop", int(token) if token in self._draw.stop_token_ids:
                return EndReason.STOP_SEQUENCE, str(token)
            case "stop", _:
                return EndReason.STOP, ""
            case other, _:
                raise WorkerLost(self._model, f"its server ended the answer with {other!r}", RETRY_S)


def top_tokens(said: dict[str, float], most: int) -> TopTokens:
    """The likeliest of {"token_id:7": -0.5, …}; what they read is not told."""
    likely = sorted(said.items(), key=lambda one: -one[1])[:most]
    return TopTokens(
        tuple(int(name.removeprefix(_ID)) for name, _ in likely), tuple(logprob for _, logprob in likely), ()
    )


def parsed_schema(schema: str) -> Any:
    """Raises InvalidRequest for what is no JSON."""
    try:
        return json.loads(schema)
    except ValueError as error:
        raise InvalidRequest.of("sampling.json_schema", f"is no JSON: {error}") from error
