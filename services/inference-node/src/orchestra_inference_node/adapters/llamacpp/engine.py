"""llama.cpp by xllamacpp: its server inside this process, reached by callbacks and by its own unix socket."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

import xllamacpp

from orchestra_errors import InvalidRequest, Unavailable, Unsupported
from orchestra_inference_node.adapters.llamacpp.chunks import ChunkReader
from orchestra_inference_node.adapters.llamacpp.gguf import GgufFacts
from orchestra_inference_node.adapters.llamacpp.request import completion_request
from orchestra_inference_node.adapters.llamacpp.unix_http import HttpFailed, UnixHttp
from orchestra_inference_node.adapters.mailbox import Mailbox
from orchestra_inference_node.domain.drawing import ChatMessage, Draw, Embedded, End, Idle, Output, Piece
from orchestra_inference_node.ports import EngineFacts, LoadSettings

DEFAULT_SLOTS = 4
DEFAULT_CONTEXT = 4096
# a larger batch is faster on a GPU, but a prefill ends only between batches
BATCH_TOKENS = 128
_QUIET = -1


class LlamaCppEngine:
    """Loads in the constructor, which blocks the whole interpreter: for a process of its own only."""

    def __init__(self, settings: LoadSettings) -> None:
        """Raises RuntimeError without a reason when the file is not one that llama.cpp can load."""
        file = GgufFacts.read(Path(settings.path))
        slots = settings.slots or DEFAULT_SLOTS
        trained = file.context_tokens or DEFAULT_CONTEXT
        context = min(settings.context_tokens or DEFAULT_CONTEXT, trained)
        socket = settings.scratch / "engine.sock"
        key = secrets.token_hex(16)
        self._model = settings.model
        self._server = xllamacpp.Server(_params(settings, slots, context, socket, key))
        self._http = UnixHttp(socket, key)
        self._threads = ThreadPoolExecutor(slots, thread_name_prefix="engine")
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
            prompt_logprobs=False,
            json_schema=True,
            grammar=True,
            token_ids_in=True,
            token_ids_out=True,
            deterministic_seed=True,
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

    def generate(self, draws: tuple[Draw, ...], idle_s: float) -> tuple[AsyncGenerator[Output], ...]:
        """See the port. The engine's own queue stays empty as long as callers hold slots."""
        return tuple(self._generate(draw, idle_s) for draw in draws)

    async def embed(self, texts: tuple[str, ...]) -> list[Embedded]:
        raise Unsupported("embeddings", self._model)

    async def score(self, prompt_ids: tuple[int, ...], target_ids: tuple[int, ...], top: int) -> Piece:
        raise Unsupported("score", self._model)

    async def _generate(self, draw: Draw, idle_s: float) -> AsyncGenerator[Output]:
        grammar = await self._grammar(draw)
        request = completion_request(draw, grammar, self._facts.context_tokens)
        texts = {token: await self._text_of(token) for token in draw.stop_token_ids}
        run = _Run(ChunkReader(draw, self._model, texts), Mailbox(), self._model)
        payload = json.dumps(request).encode()
        loop = asyncio.get_running_loop()
        done = loop.run_in_executor(self._threads, run.drive, self._server, payload)
        try:
            while True:
                item = await run.box.get(idle_s)
                if isinstance(item, Exception):
                    raise item
                yield Idle() if item is None else item
                if isinstance(item, End):
                    return
        finally:
            run.cancelled = True
            await asyncio.shield(done)

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


class _Run:
    """One sample between the engine's thread and the loop."""

    def __init__(self, reader: ChunkReader, box: Mailbox, model: str) -> None:
        self.reader = reader
        self.box = box
        self.cancelled = False
        self._model = model
        self._failed = False

    def drive(self, server: Any, payload: bytes) -> None:
        """In a thread: returns when the engine has let go of the slot."""
        server.handle_completions(payload, self._on_chunk)
        if not (self.reader.ended or self.cancelled or self._failed):
            self.box.put(
                Unavailable(f"the engine of {self._model} (it stopped without a finish)", retry_after=1.0)
            )

    def _on_chunk(self, chunk: bytes) -> bool:
        """True ends the sample in the engine. An exception here would be swallowed by the binding."""
        if self.cancelled:
            return True
        try:
            for output in self.reader.read(chunk):
                self.box.put(output)
        except Exception as error:
            self._failed = True
            self.box.put(error)
            return True
        return self.reader.ended


def _params(settings: LoadSettings, slots: int, context: int, socket: Path, key: str) -> Any:
    params = xllamacpp.CommonParams()
    params.model.path = str(settings.path)
    threads = int(settings.options.get("threads", 0)) or settings.device_threads or _half_the_cores()
    params.cpuparams.n_threads = threads
    params.cpuparams_batch.n_threads = threads
    # shared by the slots
    params.n_ctx = context * slots
    params.n_parallel = slots
    params.n_batch = params.n_ubatch = int(settings.options.get("batch_tokens", BATCH_TOKENS))
    # its default would keep 8 GiB of old prompts
    params.cache_ram_mib = 0
    params.hostnames = [str(socket)]
    params.api_keys = [key]
    params.ui = False
    params.endpoint_slots = False
    params.warmup = False
    params.verbosity = _QUIET
    return params


def _half_the_cores() -> int:
    """Its threads wait for each other by spinning: one that shares its core stalls all, ten times over."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // 2)
