"""llama.cpp by xllamacpp: its server inside this process, reached by callbacks and by its own unix socket."""

from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

import xllamacpp

from orchestra_inference_node.adapters.cores import half_the_cores
from orchestra_inference_node.adapters.llamacpp.gguf import GgufFacts
from orchestra_inference_node.adapters.llamacpp.in_process import InProcess
from orchestra_inference_node.adapters.llamacpp.server import LlamaServer
from orchestra_inference_node.adapters.llamacpp.unix_http import UnixHttp
from orchestra_inference_node.ports import EngineFacts, LoadSettings

DEFAULT_SLOTS = 4
DEFAULT_CONTEXT = 4096
# a larger batch is faster on a GPU, but a prefill ends only between batches
BATCH_TOKENS = 128
_QUIET = -1


class LlamaCppEngine(LlamaServer):
    """Loads in the constructor, which blocks the whole interpreter: for a process of its own only."""

    def __init__(self, settings: LoadSettings) -> None:
        """Raises RuntimeError without a reason when the file is not one that llama.cpp can load."""
        file = GgufFacts.read(Path(settings.path))
        slots = settings.slots or DEFAULT_SLOTS
        trained = file.context_tokens or DEFAULT_CONTEXT
        context = min(settings.context_tokens or DEFAULT_CONTEXT, trained)
        socket = settings.scratch / "engine.sock"
        key = secrets.token_hex(16)
        self._server = xllamacpp.Server(_params(settings, slots, context, socket, key))
        self._threads = ThreadPoolExecutor(slots, thread_name_prefix="engine")
        facts = EngineFacts(
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
        super().__init__(
            settings.model,
            facts,
            UnixHttp(socket, key),
            InProcess(self._server.handle_completions, self._threads),
            file.vocabulary,
            lambda schema: {"grammar": str(xllamacpp.json_schema_to_grammar(schema))},
        )

    async def close(self) -> None:
        """The weights are freed with the process."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _params(settings: LoadSettings, slots: int, context: int, socket: Path, key: str) -> Any:
    params = xllamacpp.CommonParams()
    params.model.path = str(settings.path)
    threads = int(settings.options.get("threads", 0)) or settings.device_threads or half_the_cores()
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
