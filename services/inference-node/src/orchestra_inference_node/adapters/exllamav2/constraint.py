"""Answers held to a JSON schema or a grammar, by llguidance: exllamav2 has filters, and none for either."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy
import torch
from exllamav2.generator.filters import ExLlamaV2Filter

from orchestra_errors import InvalidRequest
from orchestra_inference_node.adapters.exllamav2.vocabulary import Vocabulary
from orchestra_inference_node.domain.drawing import Draw

PACKAGE = "llguidance"
# without an end a small model may go on with it for ever
_WHITESPACE = r"[\x20\x0A\x0D\x09]{1,16}"


def installed() -> bool:
    """Whether answers can be constrained."""
    return find_spec(PACKAGE) is not None


class Constraints:
    """Compiles what draws ask for. May be used by several threads."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        import llguidance

        self._llguidance = llguidance
        self._ends = sorted(vocabulary.eos_tokens)
        self._tokens = llguidance.LLTokenizer(
            vocabulary.to_json(), n_vocab=vocabulary.size, eos_token=self._ends
        )

    def compile(self, draw: Draw) -> MakeFilter:
        """What makes the filter of a job. Raises InvalidRequest for a schema or a
        grammar that cannot be held. Takes up to seconds."""
        field = "sampling.grammar" if draw.json_schema is None else "sampling.json_schema"
        try:
            grammar = self._grammar(draw)
        except Exception as error:
            # its readers of schemas and of GBNF raise plain ones
            raise InvalidRequest.of(field, _first_line(str(error))) from error
        is_wrong, why = self._llguidance.LLMatcher.validate_grammar_with_warnings(grammar, self._tokens)
        if is_wrong:
            raise InvalidRequest.of(field, _first_line("; ".join(why)))

        def make(model: Any, tokenizer: Any) -> GrammarFilter:
            matcher = self._llguidance.LLMatcher(self._tokens, grammar, log_level=0)
            return GrammarFilter(model, tokenizer, matcher, self._ends, field)

        return make

    def _grammar(self, draw: Draw) -> str:
        if draw.json_schema is not None:
            schema: str = self._llguidance.LLMatcher.grammar_from_json_schema(
                json.loads(draw.json_schema), overrides={"whitespace_pattern": _WHITESPACE}
            )
            return schema
        from llguidance.gbnf_to_lark import gbnf_to_lark

        lark: str = self._llguidance.LLMatcher.grammar_from_lark(gbnf_to_lark(draw.grammar or ""))
        return lark


class GrammarFilter(ExLlamaV2Filter):  # type: ignore[misc]
    """Lets through only tokens that a matcher allows; of one job."""

    def __init__(self, model: Any, tokenizer: Any, matcher: Any, ends: list[int], field: str) -> None:
        super().__init__(model, tokenizer)
        self._matcher = matcher
        self._ends = ends
        self._field = field
        self._mask = b""

    def begin(self, prefix_str: str) -> None:
        self._matcher.reset()

    def feed(self, token: torch.Tensor) -> None:
        if not self._matcher.is_stopped():
            self._matcher.consume_token(int(token.item()))

    def use_background_worker(self) -> bool:
        return True

    def can_mask_logits(self) -> bool:
        return True

    def prepare_logit_mask(self) -> bool:
        """An error in here would end every job: it is kept for `failure`."""
        stopped = self._matcher.is_error() or self._matcher.is_stopped()
        self._mask = b"" if stopped else self._matcher.compute_bitmask()
        return True

    def mask_logits(self, logits: torch.Tensor) -> torch.Tensor:
        """`logits`: of the vocabulary, one after the other; masked in place."""
        allowed = torch.zeros(logits.shape[-1], dtype=torch.bool)
        bits = numpy.unpackbits(numpy.frombuffer(self._mask, numpy.uint8), bitorder="little")
        many = min(len(bits), len(allowed))
        allowed[:many] = torch.from_numpy(bits[:many]).bool()
        if not allowed.any():
            allowed[self._ends] = True
        return logits.masked_fill_(~allowed, float("-inf"))

    @property
    def failure(self) -> InvalidRequest | None:
        """What the matcher could not do with the answer so far."""
        if not self._matcher.is_error():
            return None
        return InvalidRequest.of(self._field, _first_line(self._matcher.get_error()))


def _first_line(text: str) -> str:
    """Without the parser's whole state."""
    return text.strip().partition("\n")[0]


MakeFilter = Callable[[Any, Any], GrammarFilter]
"""Takes exllamav2's model and tokenizer. A filter is of one job."""
