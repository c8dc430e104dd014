"""llama.cpp by xllamacpp: its server inside this process, reached by callbacks and by its own unix socket."""

from __future__ import annotations

import os
import secrets
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

import xllamacpp

from orchestra_errors import FailedPrecondition, InvalidRequest, Unsupported
from orchestra_inference_node.adapters.llamacpp.gguf import GgufFacts
from orchestra_inference_node.adapters.llamacpp.request import completion_request, forks
from orchestra_inference_node.adapters.llamacpp.runs import Run, RunStream
from orchestra_inference_node.adapters.llamacpp.scoring import Scorer
from orchestra_inference_node.adapters.llamacpp.sizing import Sizing
from orchestra_inference_node.adapters.llamacpp.unix_http import HttpFailed, UnixHttp
from orchestra_inference_node.domain.drawing import ChatMessage, Draw, Embedded, Piece, TopTokens
from orchestra_inference_node.ports import EngineDevice, EngineFacts, LoadSettings

_QUIET, _ERRORS = -1, 1
_ON_CARDS = (xllamacpp.ggml_backend_dev_type.GGML_BACKEND_DEVICE_TYPE_GPU,)
_ALL_LAYERS = 10_000
_CACHE_TYPES = {
    "f16": xllamacpp.ggml_type.GGML_TYPE_F16,
    "q8_0": xllamacpp.ggml_type.GGML_TYPE_Q8_0,
    "q4_0": xllamacpp.ggml_type.GGML_TYPE_Q4_0,
}
_FLASH_ATTENTION = {
    "auto": xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_AUTO,
    "on": xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_ENABLED,
    "off": xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED,
}


class LlamaCppEngine:
    """Loads in the constructor, which blocks the whole interpreter: for a process of its own only."""

    def __init__(self, settings: LoadSettings) -> None:
        """Raises RuntimeError when llama.cpp cannot load the file, which says why on standard error;
        FailedPrecondition when it is to compute on a card and is built for the CPU alone."""
        file = GgufFacts.read(Path(settings.path))
        sizing = Sizing.of(settings, file)
        slots, context = sizing.slots, sizing.context
        socket = settings.scratch / "engine.sock"
        key = secrets.token_hex(16)
        self._model = settings.model
        self._server = _loaded(_params(settings, sizing, socket, key))
        self._http = UnixHttp(socket, key)
        self._threads = ThreadPoolExecutor(slots, thread_name_prefix="engine")
        self._vocabulary = file.vocabulary
        self._stop_texts: dict[int, str] = {}
        self._proven: set[str] = set()
        self._facts = EngineFacts(
            name="llama.cpp",
            build=f"xllamacpp {version('xllamacpp')}",
            context_tokens=context,
            slots=slots,
            chat=settings.chat and file.has_chat_template,
            logprobs=True,
            max_top_logprobs=20,
            prompt_logprobs=True,
            json_schema=True,
            grammar=True,
            token_ids_in=True,
            token_ids_out=True,
            deterministic_seed=True,
            score=True,
            forks=True,
        )

    @property
    def facts(self) -> EngineFacts:
        return self._facts

    async def tokenize(
        self, prompt: tuple[ChatMessage, ...] | str, *, special: bool = True
    ) -> tuple[int, ...]:
        """A text's special tokens are read as such, as in a rendered chat."""
        text = prompt if isinstance(prompt, str) else await self._render(prompt)
        answer = await self._http.post(
            "/tokenize", {"content": text, "add_special": special, "parse_special": True}
        )
        return tuple(answer["tokens"])

    async def _render(self, chat: tuple[ChatMessage, ...]) -> str:
        messages = [
            {"role": turn.role, "content": turn.text} | ({"name": turn.name} if turn.name else {})
            for turn in chat
        ]
        try:
            answer = await self._http.post("/apply-template", {"messages": messages})
        except HttpFailed as error:
            raise InvalidRequest.of("chat.messages", f"the model's template refuses them: {error}") from error
        return str(answer["prompt"])

    def generate(self, draws: tuple[Draw, ...], idle_s: float) -> tuple[RunStream, ...]:
        """See the port. The engine's own queue stays empty as long as callers hold slots."""
        runs = [draws] if forks(draws) else [(draw,) for draw in draws]
        return tuple(stream for run in runs for stream in self._run(run).streams(idle_s))

    def _run(self, draws: tuple[Draw, ...]) -> Run:
        return Run(draws, self._model, self._server, self._threads, self._prepare, self._prompt_logprobs)

    async def _prepare(self, draws: tuple[Draw, ...]) -> tuple[dict[str, Any], dict[int, str]]:
        first = draws[0]
        request = completion_request(first, await self._grammar(first), self._facts.context_tokens)
        if len(draws) > 1:
            request["n_cmpl"] = len(draws)
        return request, {token: await self._text_of(token) for token in first.stop_token_ids}

    async def _prompt_logprobs(self, draw: Draw) -> Piece:
        top = draw.prompt_logprobs or 0
        scored = await self.score(draw.prompt_ids[:1], draw.prompt_ids[1:], top)
        scored.token_ids.insert(0, draw.prompt_ids[0])
        scored.logprobs.insert(0, 0.0)
        if top:
            scored.top.insert(0, TopTokens((), (), ()))
        return scored

    async def embed(self, texts: tuple[str, ...]) -> list[Embedded]:
        raise Unsupported("embeddings", self._model)

    async def score(self, prompt_ids: tuple[int, ...], target_ids: tuple[int, ...], top: int) -> Piece:
        """See the port. The engine tells no logprobs of what it is given, so it is made to draw the target:
        a token takes as long as one that is generated."""
        beyond = next((one for one in (*prompt_ids, *target_ids) if not 0 <= one < self._vocabulary), None)
        if beyond is not None:
            raise InvalidRequest.of("token_ids", f"{beyond} is no token of {self._model}")
        return await Scorer(self._model, self._server, self._threads).score(prompt_ids, target_ids, top)

    async def _grammar(self, draw: Draw) -> str:
        if draw.grammar is not None:
            return draw.grammar
        if draw.json_schema is None:
            return ""
        try:
            grammar = str(xllamacpp.json_schema_to_grammar(draw.json_schema))
        except RuntimeError as error:
            raise InvalidRequest.of("sampling.json_schema", str(error)) from error
        if grammar not in self._proven:
            if not await self._holds(grammar):
                raise InvalidRequest.of("sampling.json_schema", "the engine cannot hold an answer to it")
            self._proven.add(grammar)
        return grammar

    async def _holds(self, grammar: str) -> bool:
        """Whether a JSON grammar constrains at all: the engine drops one that it cannot compile without a
        word.

        One token is drawn with all weight on a letter that begins no JSON value; under a grammar it
        cannot come.
        """
        answer = await self._http.post("/tokenize", {"content": "Z", "add_special": False})
        letter = answer["tokens"][0]
        try:
            drawn = await self._http.post(
                "/completion",
                {
                    "prompt": [letter],
                    "grammar": grammar,
                    "logit_bias": [[letter, 1000.0]],
                    "n_predict": 1,
                    "temperature": 0.0,
                    "return_tokens": True,
                    "cache_prompt": False,
                },
            )
        except HttpFailed:
            return False
        return bool(drawn["tokens"] != [letter])

    async def _text_of(self, token: int) -> str:
        if token not in self._stop_texts:
            try:
                answer = await self._http.post("/detokenize", {"tokens": [token]})
            except HttpFailed as error:
                raise InvalidRequest.of("sampling.stop_token_ids", f"{token}: {error}") from error
            self._stop_texts[token] = str(answer["content"])
        return self._stop_texts[token]

    async def close(self) -> None:
        """The weights are freed with the process."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _loaded(params: Any) -> Any:
    try:
        return xllamacpp.Server(params)
    except RuntimeError:
        # it has not said why, and will the second time; nothing else makes it tell
        params.verbosity = _ERRORS
        for socket in params.hostnames:
            Path(socket).unlink(missing_ok=True)
        return xllamacpp.Server(params)


def _params(settings: LoadSettings, sizing: Sizing, socket: Path, key: str) -> Any:
    params = xllamacpp.CommonParams()
    params.model.path = str(settings.path)
    threads = int(settings.options.get("threads", 0)) or settings.device_threads or _half_the_cores()
    params.cpuparams.n_threads = threads
    params.cpuparams_batch.n_threads = threads
    # shared by the slots
    params.n_ctx = sizing.context * sizing.slots
    params.n_parallel = sizing.slots
    params.n_batch = params.n_ubatch = sizing.batch
    params.cache_type_k = params.cache_type_v = _CACHE_TYPES[sizing.cache_type]
    params.flash_attn_type = _FLASH_ATTENTION[settings.options.get("flash_attention", "auto")]
    _use_devices(params, settings.devices)
    # its default would keep 8 GiB of old prompts
    params.cache_ram_mib = 0
    params.hostnames = [str(socket)]
    params.api_keys = [key]
    params.ui = False
    params.endpoint_slots = False
    params.warmup = False
    params.verbosity = _QUIET
    return params


def _use_devices(params: Any, devices: tuple[EngineDevice, ...]) -> None:
    """All layers on the cards, spread by what each may use; or none. Raises FailedPrecondition."""
    # it would leave layers on the CPU, or shorten the context, without a word
    params.fit_params = False
    cards = [device for device in devices if device.kind == "cuda"]
    if not cards:
        params.n_gpu_layers = 0
        return
    seen = [one for one in xllamacpp.get_device_info() if one["type"] in _ON_CARDS]
    if len(seen) < len(cards):
        names = ", ".join(device.device_id for device in cards)
        raise FailedPrecondition(
            f"device {names}",
            f"the installed llama.cpp sees {len(seen)} of {len(cards)} cards: it must be built for CUDA and"
            " for this card",
        )
    params.n_gpu_layers = _ALL_LAYERS
    params.main_gpu = 0
    if len(cards) > 1:
        params.split_mode = xllamacpp.llama_split_mode.LLAMA_SPLIT_MODE_LAYER
        if all(device.memory for device in cards):
            split = list(params.tensor_split)
            split[: len(cards)] = [float(device.memory or 0) / 2**30 for device in cards]
            params.tensor_split = split


def _half_the_cores() -> int:
    """Its threads wait for each other by spinning: one that shares its core stalls all, ten times over."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // 2)
