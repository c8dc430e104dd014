"""llama.cpp by xllamacpp: its server inside this process, reached by callbacks and by its own unix socket."""

from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import xllamacpp

from orchestra_errors import FailedPrecondition
from orchestra_inference_node.adapters.cores import half_the_cores
from orchestra_inference_node.adapters.llamacpp.gguf import GgufFacts
from orchestra_inference_node.adapters.llamacpp.in_process import InProcess
from orchestra_inference_node.adapters.llamacpp.server import LlamaServer
from orchestra_inference_node.adapters.llamacpp.sizing import Sizing
from orchestra_inference_node.adapters.llamacpp.token_table import token_table
from orchestra_inference_node.adapters.llamacpp.unix_http import UnixHttp
from orchestra_inference_node.adapters.llamacpp.vocabulary import Vocabulary
from orchestra_inference_node.ports import EngineDevice, EngineFacts, LoadMoved, LoadSettings

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


class LlamaCppEngine(LlamaServer):
    """Loads in the constructor, which blocks the whole interpreter: for a process of its own only."""

    def __init__(self, settings: LoadSettings) -> None:
        """Raises RuntimeError when llama.cpp cannot load the file, which says why on standard error;
        FailedPrecondition when it is to compute on a card and is built for the CPU alone."""
        file = GgufFacts.read(Path(settings.path))
        sizing = Sizing.of(settings, file)
        slots, context = sizing.slots, sizing.context
        socket = settings.scratch / "engine.sock"
        key = secrets.token_hex(16)
        # it holds the interpreter while it loads, so how far it is is seen from outside, from here on
        settings.moved(LoadMoved(bytes_total=file.tensor_bytes))
        self._server = _loaded(_params(settings, sizing, socket, key))
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
            deterministic_seed=sizing.deterministic,
            score=True,
            forks=True,
        )
        super().__init__(
            settings.model,
            facts,
            UnixHttp(socket, key),
            InProcess(self._server.handle_completions, self._threads),
            file.vocabulary,
            Vocabulary(partial(token_table, Path(settings.path))),
            lambda schema: {"grammar": str(xllamacpp.json_schema_to_grammar(schema))},
            cache_prompt=not sizing.deterministic,
        )

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
    threads = int(settings.options.get("threads", 0)) or settings.device_threads or half_the_cores()
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
