"""What llama.cpp's server streams, read into pieces. Pure: values in, outputs out."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from orchestra_errors import InvalidRequest, OrchestraError, Unavailable
from orchestra_inference_node.adapters.llamacpp.hidden import HiddenTokens, lost
from orchestra_inference_node.adapters.llamacpp.vocabulary import Vocabulary
from orchestra_inference_node.domain.drawing import Draw, End, EndReason, Output, Piece, Prefill, TopTokens

# a sampled token has some probability, even where a 32-bit float shows none
_LEAST_PROBABILITY = 1.2e-38
_UNTOLD = -1


class ChunkReader:
    """Reads the chunks of one sample in order. `ended` is set once the sample has its End. A logprob that the
    engine has not told and would tell is NaN."""

    def __init__(
        self,
        draw: Draw,
        model: str,
        stop_texts: Mapping[int, str],
        vocabulary: Vocabulary,
        *,
        forked: bool = False,
    ) -> None:
        """`stop_texts` gives the text of each of the draw's stop tokens. `forked`: the engine copied the
        computed prompt from another sample."""
        self._draw = draw
        self._model = model
        self._stop_texts = stop_texts
        self._vocabulary = vocabulary
        self._hidden = HiddenTokens(vocabulary.fill)
        self._exact = draw.token_ids or draw.logprobs
        self._entries: deque[dict[str, Any]] = deque()
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
            return self._end(said)
        return self._token(said)

    def error(self, data: Mapping[str, Any]) -> OrchestraError:
        """What an error means."""
        constraint = "grammar" if self._draw.json_schema is None else "json_schema"
        return engine_error(data, self._model, constraint)

    def _token(self, said: Mapping[str, Any]) -> list[Output]:
        # a server of before return_tokens tells only how many they are
        token: int = (said.get("tokens") or (_UNTOLD,))[0]
        predicted: int = said["tokens_predicted"]
        missed = max(0, predicted - self._seen - 1)
        self._seen = predicted
        piece = Piece(text=said["content"], tokens=1 + missed)
        if self._exact or self._draw.stop:
            self._hidden.note(missed, token)
        if self._exact:
            if self._name(piece, said):
                self.ended = True
                return [piece, self._count(EndReason.MAX_TOKENS, "", said)]
        elif piece.text:
            self._hidden.text_came()
        if token not in self._stop_texts:
            return [piece]
        own = self._stop_texts[token]
        piece.text = piece.text.removesuffix(own) if own else piece.text
        self.ended = True
        return [piece, self._count(EndReason.STOP_SEQUENCE, own or str(token), said)]

    def _name(self, piece: Piece, said: Mapping[str, Any]) -> bool:
        """The ids and logprobs that are known now into the piece; whether max_tokens ends the answer with it.

        The engine was asked for a few tokens more than max_tokens, which end a character that it is in.
        """
        self._entries.extend(said.get("completion_probabilities") or ())
        fresh, of_text = self._hidden.known(piece.text, self._draw.stop)
        limit = self._draw.max_tokens
        over = -1 if limit is None else self._seen - limit
        piece.tokens -= min(piece.tokens, max(0, over))
        ends = not self._hidden.waiting and (over > 0 or (over == 0 and self._goes_on(piece.text, of_text)))
        if over > 0:
            piece.text = self._text(of_text[:-over]) if ends else ""
            fresh = fresh[:-over]
        self._add(piece, fresh)
        return ends

    def _goes_on(self, text: str, tokens: Sequence[int]) -> bool:
        """Whether the answer would go on after these tokens with this text.

        What prints nothing may be an end, and a text that is held back or cut a stop text: the next tells.
        """
        if not text or tokens[-1] in self._stop_texts:
            return False
        return not self._draw.stop or text.encode() == self._bytes(tokens)

    def _add(self, piece: Piece, fresh: Sequence[tuple[int, bool]]) -> None:
        if self._draw.token_ids:
            piece.token_ids = [token for token, _ in fresh]
        if self._draw.logprobs:
            for token, hidden in fresh:
                self._add_logprob(piece, self._unsaid(token) if hidden else self._entries.popleft())

    def _unsaid(self, token: int) -> dict[str, Any]:
        """What the engine would have said of a hidden token: certain where there was no choice, NaN where it
        can be asked for afterwards. Raises DataLoss."""
        if self._draw.temperature > 0:
            if self._draw.neutral:
                return {"prob": math.nan, "top_probs": ()}
            raise lost("logprobs")
        alone = {"id": token, "prob": 1.0, "token": self._vocabulary.bytes_of(token).decode(errors="replace")}
        return alone | {"top_probs": [alone]}

    def _add_logprob(self, piece: Piece, entry: dict[str, Any]) -> None:
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

    def _end(self, said: Mapping[str, Any]) -> list[Output]:
        rest = Piece()
        limit = self._draw.max_tokens
        over = 0 if limit is None else max(0, said["tokens_predicted"] - limit)
        if self._exact and self._hidden.waiting and said["stop_type"] == "word":
            fresh, of_text = self._hidden.known(said["stopping_word"])
            self._add(rest, fresh[: len(fresh) - over])
            rest.text = self._text(of_text[:-over]) if over else ""
        if self._exact and (self._hidden.waiting or said["tokens_predicted"] > self._seen):
            raise lost("token ids")
        self.ended = True
        match said["stop_type"]:
            case _ if over:
                reason = EndReason.MAX_TOKENS
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
        matched = said["stopping_word"] if reason is EndReason.STOP_SEQUENCE else ""
        end = self._count(reason, matched, said)
        if reason in (EndReason.MAX_TOKENS, EndReason.CONTEXT_FULL):
            # what the engine holds back because it may become a stop text, it drops at a limit
            rest.text += self._text(self._hidden.withheld)
        return [end] if rest == Piece() else [rest, end]

    def _bytes(self, tokens: Sequence[int]) -> bytes:
        return b"".join(map(self._vocabulary.bytes_of, tokens))

    def _text(self, tokens: Sequence[int]) -> str:
        """Whole characters."""
        return self._bytes(tokens).decode(errors="ignore")

    def _count(self, reason: EndReason, matched: str, said: Mapping[str, Any]) -> End:
        predicted: int = said["tokens_predicted"]
        limit = self._draw.max_tokens
        return End(
            reason=reason,
            stop_matched=matched,
            prompt_tokens=said["tokens_evaluated"],
            cached_prompt_tokens=self._cached,
            completion_tokens=predicted if limit is None else min(predicted, limit),
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
