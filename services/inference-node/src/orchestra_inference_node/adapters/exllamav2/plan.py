"""How a model is loaded, from its settings and its config.json. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from orchestra_inference_node.adapters.exllamav2.entry import PAGE
from orchestra_inference_node.adapters.exllamav2.folder import ModelFolder
from orchestra_inference_node.ports import LoadSettings

DEFAULT_SLOTS = 8
DEFAULT_CONTEXT = 4096
DEFAULT_CHUNK = 2048
DEFAULT_DRAFT_TOKENS = 4
# tokens of one sequence that the generator may forward in one step, its own default
STEP_TOKENS = 8
GIB = 1024**3


@dataclass(frozen=True, slots=True)
class Plan:
    """`context_tokens` of one request; `cache_tokens` of all together; `sequence_tokens` what positions are
    made for: the context, and what is drafted beyond its end."""

    model: ModelFolder
    slots: int
    context_tokens: int
    sequence_tokens: int
    cache: str
    cache_tokens: int
    chunk_tokens: int
    draft: ModelFolder | None
    draft_tokens: int
    draft_cache: str
    paged: str
    flash_attention: bool
    gpu_split: tuple[float, ...]
    """GiB for each device; empty: as it comes."""
    reserve_bytes: int | None

    @classmethod
    def of(cls, settings: LoadSettings, model: ModelFolder, *, paged: bool = True) -> Plan:
        """`paged` False: what there is without pages, one request at a time."""
        asked = settings.options
        draft = ModelFolder(Path(asked["draft_model"])) if "draft_model" in asked else None
        drafted = int(asked.get("draft_tokens", DEFAULT_DRAFT_TOKENS)) if draft is not None else 0
        slots = (settings.slots or DEFAULT_SLOTS) if paged else 1
        wanted = (settings.context_tokens or DEFAULT_CONTEXT) + drafted
        sequence = min(wanted, model.trained_tokens)
        if draft is not None:
            sequence = min(sequence, draft.trained_tokens)
        # one page more, so that a draw that follows another on a full pool does not take the page that the
        # end of their prompt is in, but copies it
        pages = slots * -(-sequence // PAGE) + (1 if paged else 0)
        pool = int(asked.get("cache_tokens", 0)) or pages * PAGE
        sequence = min(sequence, pool)
        # the buffers of one step must hold a step of every slot
        least = -(-slots * STEP_TOKENS // PAGE) * PAGE
        room = max(sequence, least)
        chunk = min(int(asked.get("max_chunk_size", DEFAULT_CHUNK)), room // PAGE * PAGE)
        split = asked.get("gpu_split", "")
        reserve = asked.get("reserve_gb")
        return cls(
            model=model,
            slots=slots,
            context_tokens=sequence - drafted,
            sequence_tokens=room,
            cache=asked.get("cache", "FP16"),
            cache_tokens=pool,
            chunk_tokens=max(chunk, least),
            draft=draft,
            draft_tokens=drafted,
            draft_cache=asked.get("draft_cache", asked.get("cache", "FP16")),
            paged=asked.get("paged", "auto"),
            flash_attention=asked.get("flash_attention", "true") == "true",
            gpu_split=tuple(float(one) for one in split.split(",")) if split else (),
            reserve_bytes=int(float(reserve) * GIB) if reserve is not None else None,
        )
