"""llama-server: the same server as the llama.cpp engine's, behind an address."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from orchestra_errors import Unsupported
from orchestra_inference_node.adapters.llamacpp.request import scoring_request
from orchestra_inference_node.adapters.llamacpp.server import LlamaServer
from orchestra_inference_node.adapters.llamacpp.vocabulary import Vocabulary
from orchestra_inference_node.adapters.openai_server.asking import Asker
from orchestra_inference_node.adapters.openai_server.embedding import embed, embeds
from orchestra_inference_node.adapters.openai_server.entry import LLAMA_SERVER
from orchestra_inference_node.adapters.openai_server.found import (
    Found,
    context_of,
    count,
    must_be_of_use,
    must_tokenize,
    the_model,
)
from orchestra_inference_node.adapters.openai_server.http import ServerHttp
from orchestra_inference_node.domain.drawing import Embedded
from orchestra_inference_node.ports import EngineFacts, LoadSettings

STREAM_PATH = "/completion"
_TOP = 20
# of what the server lists and of its properties: what another model, or another build of it, would change
_META = ("vocab_type", "n_vocab", "n_ctx_train", "n_embd", "n_params", "size", "ftype")
_PROPS = ("model_path", "model_ftype", "chat_template", "bos_token", "eos_token")
# what it renders with where the model has no template of its own
_STAND_IN = (
    "{%- for message in messages -%}\n"
    "  {{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' -}}\n"
    "{%- endfor -%}\n"
    "{%- if add_generation_prompt -%}\n  {{- '<|im_start|>assistant\n' -}}\n{%- endif -%}"
)


def look(asker: Asker, models: list[dict[str, Any]]) -> Found | None:
    """None when the server is none of these."""
    props = asker.get("/props").holds
    if "total_slots" not in props or "build_info" not in props:
        return None
    one = the_model(asker, models)
    meta = one.get("meta") or {}
    template = str(props.get("chat_template") or "")
    said = {key: meta.get(key) for key in _META} | {key: props.get(key) for key in _PROPS}
    return Found(
        kind=LLAMA_SERVER,
        name=str(one["id"]),
        said=said,
        context_tokens=count(props.get("default_generation_settings", {}).get("n_ctx")),
        slots=count(props.get("total_slots")),
        chat=template not in ("", _STAND_IN),
        quantization=str(props.get("model_ftype") or ""),
        build=str(props["build_info"]),
        vocabulary=count(meta.get("n_vocab")) or 0,
    )


@dataclass(frozen=True, slots=True)
class _Tried:
    """What one short draw has shown."""

    generates: bool
    token_ids: bool = False
    logprobs: bool = False
    grammar: bool = False
    json_schema: bool = False
    forks: bool = False
    seed: bool = False
    scores: bool = False


def engine(settings: LoadSettings, found: Found, asker: Asker, http: ServerHttp) -> LlamaServerEngine:
    """Raises FailedPrecondition when the server cannot tokenize, or neither generates nor embeds."""
    ids = must_tokenize(asker, "/tokenize", {"content": "Hello", "add_special": True})
    tried = _try(asker, ids, found.slots or 1)
    embeddings = embeds(asker, found.name)
    must_be_of_use(asker, generates=tried.generates, embeds=embeddings)
    facts = EngineFacts(
        name="llama-server",
        build=found.build,
        context_tokens=context_of(asker, found, settings.context_tokens),
        slots=min(settings.slots or found.slots or 1, found.slots or settings.slots or 1),
        generate=tried.generates,
        chat=settings.chat and found.chat and tried.generates,
        logprobs=tried.logprobs,
        max_top_logprobs=_TOP if tried.logprobs else 0,
        prompt_logprobs=tried.scores and found.vocabulary > 0,
        json_schema=tried.json_schema,
        grammar=tried.grammar,
        token_ids_in=tried.generates,
        token_ids_out=tried.token_ids,
        deterministic_seed=tried.seed,
        embeddings=embeddings,
        score=tried.scores and found.vocabulary > 0,
        forks=tried.forks,
        missing_sampling=() if tried.token_ids and found.vocabulary else ("stop_token_ids",),
    )
    return LlamaServerEngine(settings.model, found, facts, http)


def _try(asker: Asker, ids: list[int], slots: int) -> _Tried:
    """Ask for what is new in this server's history, and look whether the answer has it."""
    draw = {"prompt": ids, "n_predict": 1, "temperature": 0.0, "cache_prompt": False}
    plain = asker.post(
        STREAM_PATH, draw | {"return_tokens": True, "n_probs": 2, "post_sampling_probs": True}
    ).holds
    if not isinstance(plain.get("content"), str):
        return _Tried(generates=False)
    letter = {"enum": ["Z"]}
    seeded = {"temperature": 5.0, "seed": 7, "n_predict": 4, "samplers": ["temperature"]}
    twice = [asker.post(STREAM_PATH, draw | seeded).holds.get("content") for _ in range(2)]
    return _Tried(
        generates=True,
        token_ids=bool(plain.get("tokens")),
        logprobs="top_probs" in next(iter(plain.get("completion_probabilities") or ()), {}),
        grammar=asker.post(STREAM_PATH, draw | {"grammar": 'root ::= "Z"'}).holds.get("content") == "Z",
        json_schema=_begins_as(asker, draw | {"json_schema": letter, "n_predict": 8}, '"Z"'),
        forks=slots > 1 and _forks(asker, draw),
        seed=twice[0] == twice[1],
        scores=_scores(asker, ids),
    )


def _scores(asker: Asker, ids: list[int]) -> bool:
    request = scoring_request((ids[-1],), (ids[0],), 1) | {"stream": False}
    drawn = asker.post(STREAM_PATH, request).holds.get("completion_probabilities")
    entry: dict[str, Any] = drawn[0] if drawn else {}
    return entry.get("id") == ids[0] and "logprob" in entry and "top_logprobs" in entry


def _begins_as(asker: Asker, request: dict[str, Any], text: str) -> bool:
    return str(asker.post(STREAM_PATH, request).holds.get("content", "")).strip() == text


def _forks(asker: Asker, draw: dict[str, Any]) -> bool:
    answer = asker.post(STREAM_PATH, draw | {"n_cmpl": 2})
    return isinstance(answer.data, list) and len(answer.data) == 2


def _constraint(schema: str) -> dict[str, Any]:
    """The server compiles the schema itself."""
    return {"json_schema": json.loads(schema)}


class LlamaServerEngine(LlamaServer):
    """One model of a llama-server."""

    def __init__(self, model: str, found: Found, facts: EngineFacts, http: ServerHttp) -> None:
        vocabulary = Vocabulary.unknown()
        super().__init__(model, facts, http, http, found.vocabulary, vocabulary, _constraint)
        self._http = http
        self._name = found.name

    async def embed(self, texts: tuple[str, ...]) -> list[Embedded]:
        if not self._facts.embeddings:
            raise Unsupported("embeddings", self._model)
        return await embed(self._http, self._model, self._name, texts)

    async def close(self) -> None:
        await self._http.close()
