"""Looking at a server, and making an engine of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from orchestra_errors import FailedPrecondition
from orchestra_inference_node.adapters.openai_server import llama_server, tabbyapi, vllm
from orchestra_inference_node.adapters.openai_server.asking import Asker
from orchestra_inference_node.adapters.openai_server.entry import AUTO, LLAMA_SERVER, TABBYAPI, VLLM
from orchestra_inference_node.adapters.openai_server.found import Found, listed_models
from orchestra_inference_node.adapters.openai_server.http import ServerHttp
from orchestra_inference_node.adapters.openai_server.same_model import SameModel
from orchestra_inference_node.adapters.openai_server.site import Site
from orchestra_inference_node.ports import Engine, LoadSettings, ModelFiles

Look = Callable[[Asker, list[dict[str, Any]]], Found | None]
Open = Callable[[LoadSettings, Found, Asker, ServerHttp], Engine]

# in this order: TabbyAPI answers some of what a llama-server is known by
_KINDS: Mapping[str, tuple[Look, Open, str]] = {
    TABBYAPI: (tabbyapi.look, tabbyapi.engine, tabbyapi.STREAM_PATH),
    LLAMA_SERVER: (llama_server.look, llama_server.engine, llama_server.STREAM_PATH),
    VLLM: (vllm.look, vllm.engine, vllm.STREAM_PATH),
}
# a draw of one token on a busy machine
_TRY_S = 60.0
# a server in the middle of a long prefill may not answer at once
_LOOK_AGAIN_S = 30.0


def find(asker: Asker) -> Found:
    """The server's kind and model. Raises Unavailable, FailedPrecondition, NotFound, InvalidRequest."""
    models = listed_models(asker)
    kind = asker.site.kind
    for name, (look, _, _) in _KINDS.items():
        if kind in (AUTO, name) and (found := look(asker, models)) is not None:
            return found
    known = ", ".join(_KINDS)
    raise FailedPrecondition(
        asker.site.shown,
        f"is no {kind}"
        if kind != AUTO
        else f"is none of {known}, and another cannot count a prompt's tokens",
    )


def inspect(path: str, options: Mapping[str, str]) -> ModelFiles:
    """The model of the server, which has no files here; see `ports.Inspect`."""
    with Asker(Site.read(path, options)) as asker:
        found = find(asker)
    return ModelFiles((), found.quantization, chat=found.chat, identity=found.identity)


def open_server(settings: LoadSettings) -> Engine:
    """Try what the server can do; what it has shown is what the engine's facts say.

    Raises what `find` does.
    """
    site = Site.read(settings.path, settings.options)

    def identity_now() -> str:
        with Asker(site, min(site.silence_s, _LOOK_AGAIN_S)) as asker:
            return find(asker).identity

    with Asker(site, _TRY_S) as asker:
        found = find(asker)
        same = SameModel(settings.model, settings.revision or found.identity, identity_now)
        if settings.revision and settings.revision != found.identity:
            raise FailedPrecondition(
                f"model {settings.model}", f"its server holds {found.identity} now, not {settings.revision}"
            )
        _, opened, stream_path = _KINDS[found.kind]
        return opened(settings, found, asker, ServerHttp(site, settings.model, stream_path, same))
