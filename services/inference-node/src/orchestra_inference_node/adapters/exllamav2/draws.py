"""Draws as jobs of the generator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from exllamav2.generator import ExLlamaV2DynamicJob, ExLlamaV2Sampler

from orchestra_errors import InvalidRequest, Unsupported
from orchestra_inference_node.adapters.exllamav2.answer import AnswerReader
from orchestra_inference_node.adapters.exllamav2.constraint import Constraints, MakeFilter
from orchestra_inference_node.adapters.exllamav2.loading import LoadedModel
from orchestra_inference_node.adapters.exllamav2.runs import DrawRun
from orchestra_inference_node.adapters.exllamav2.sampling import answer_limit, job_settings, sampler_settings
from orchestra_inference_node.adapters.exllamav2.text import AnswerText
from orchestra_inference_node.adapters.exllamav2.vocabulary import Vocabulary
from orchestra_inference_node.adapters.mailbox import Mailbox
from orchestra_inference_node.domain.drawing import Draw


class Draws:
    """Makes runs for one loaded model. May be used by several threads."""

    def __init__(
        self,
        loaded: LoadedModel,
        vocabulary: Vocabulary,
        constraints: Constraints | None,
        context_tokens: int,
    ) -> None:
        self._loaded = loaded
        self._vocabulary = vocabulary
        self._constraints = constraints
        self._context_tokens = context_tokens

    def runs(self, draws: tuple[Draw, ...], boxes: Sequence[Mailbox]) -> list[DrawRun]:
        """One for each draw, with its box; the draws differ in their seeds alone. Raises InvalidRequest.
        Blocks while a grammar compiles."""
        first = draws[0]
        self._vocabulary.check(first.prompt_ids, "token_ids.ids")
        self._vocabulary.check(first.stop_token_ids, "sampling.stop_token_ids")
        if not first.prompt_ids:
            raise InvalidRequest.of("generation", "the prompt has no token, and this model begins with none")
        make_filter = self._filter_of(first)
        return [self._run(draw, box, make_filter) for draw, box in zip(draws, boxes, strict=True)]

    def _filter_of(self, draw: Draw) -> MakeFilter | None:
        if draw.json_schema is None and draw.grammar is None:
            return None
        if self._constraints is None:
            raise Unsupported("grammar and json_schema", "exllamav2 without llguidance")
        return self._constraints.compile(draw)

    def _run(self, draw: Draw, box: Mailbox, make_filter: MakeFilter | None) -> DrawRun:
        vocabulary, loaded = self._vocabulary, self._loaded
        stops = {token: vocabulary.decode([token]) or str(token) for token in draw.stop_token_ids}
        named = {token: text for text in draw.stop if (token := vocabulary.special_id(text)) is not None}
        limit = answer_limit(draw, self._context_tokens)
        reader = AnswerReader(
            draw,
            AnswerText(
                vocabulary.decode, draw.prompt_ids, [one for one in draw.stop if one not in named.values()]
            ),
            stop_tokens=named | stops,
            eos_tokens=vocabulary.eos_tokens,
            own_limit=limit == draw.max_tokens,
            text_of=vocabulary.text_of,
        )
        ends = {*stops, *named, *vocabulary.eos_tokens}

        def make_job() -> Any:
            filters = [] if make_filter is None else [make_filter(loaded.model, loaded.tokenizer)]
            return ExLlamaV2DynamicJob(
                input_ids=torch.tensor([draw.prompt_ids], dtype=torch.long),
                gen_settings=ExLlamaV2Sampler.Settings(**sampler_settings(draw)),
                filters=filters,
                **job_settings(draw, limit, ends, loaded.plan.draft_tokens),
            )

        return DrawRun(box, reader, make_job)
