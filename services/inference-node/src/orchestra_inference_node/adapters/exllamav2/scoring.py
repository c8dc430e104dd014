"""Given texts through the model: logprobs of each token, a portion with each step of the generator."""

from __future__ import annotations

from typing import Any

import torch
from exllamav2.generator import ExLlamaV2DynamicJob

from orchestra_inference_node.adapters.exllamav2.entry import PAGE


class ScoringJob(ExLlamaV2DynamicJob):  # type: ignore[misc]
    """A job of the real generator that only prefills, and keeps what the model thinks of its tokens.

    It waits for pages as every job does, and others go on between its portions. Its pages are its own: they
    are never given to a job of the same prompt, since only this job knows how far they are computed.
    """

    def __init__(self, ids: tuple[int, ...], first: int, top: int) -> None:
        """Scores `ids[first:]`, with the `top` most likely besides; `first` is 1 or more."""
        super().__init__(input_ids=torch.tensor([ids], dtype=torch.long), max_new_tokens=0)
        self.first = first
        self.top = top
        self.logprobs: list[float] = []
        self.top_ids: list[list[int]] = []
        self.top_logprobs: list[list[float]] = []

    def prepare_for_queue(self, generator: Any, serial_number: int) -> None:
        super().prepare_for_queue(generator, serial_number)
        (sequence,) = self.sequences
        sequence.new_unique_pages += len(sequence.page_hashes)
        sequence.page_hashes = []
        self.all_unique_hashes.clear()

    def is_prefill_done(self) -> bool:
        """Never: there is nothing to generate from it."""
        return False

    def prefill(self, results: list[dict[str, Any]]) -> None:
        """One portion."""
        generator = self.generator
        (sequence,) = self.sequences
        start = sequence.kv_position
        last = len(sequence.sequence_ids) - 1
        end = min(start + PAGE, last)
        for page in sequence.allocated_pages:
            # what was in them is written over
            page.can_revert = False
        attention = generator.get_paged_params(
            1,
            self.get_block_index(sequence, end).unsqueeze(0),
            torch.tensor([start], dtype=torch.int32),
            end - start,
        )
        if not generator.paged:
            generator.cache.current_seq_len = start
        wanted = end >= self.first
        said = generator.model.forward_chunk(
            input_ids=sequence.sequence_ids.torch_slice(start, end),
            preprocess_only=not wanted,
            attn_params=attention,
            cache=generator.cache,
            loras=generator.current_loras,
        )
        if wanted:
            skipped = max(0, self.first - 1 - start)
            targets = sequence.sequence_ids.torch_slice(start + 1 + skipped, end + 1)
            self._keep(said["logits"][0, skipped:], targets[0])
        sequence.kv_position = end
        results.append(
            {
                "job": self,
                "stage": "scored" if end == last else "scoring",
                "identifier": self.identifier,
                "eos": False,
                "serial": self.serial_number,
            }
        )

    def _keep(self, logits: torch.Tensor, targets: torch.Tensor) -> None:
        """`logits`: positions × vocabulary, `targets`: the token that follows each position."""
        known = self.generator.tokenizer.get_vocab_size()
        logprobs = torch.log_softmax(logits[:, :known].float(), dim=-1)
        chosen = logprobs.gather(1, targets.to(logprobs.device).unsqueeze(1))
        self.logprobs += chosen[:, 0].tolist()
        if self.top:
            top = logprobs.topk(min(self.top, known), dim=-1)
            self.top_ids += top.indices.tolist()
            self.top_logprobs += top.values.tolist()
