"""What a server says of itself and of the model that is meant."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

import httpx

from orchestra_errors import FailedPrecondition, InvalidRequest, NotFound, Unavailable
from orchestra_inference_node.adapters.openai_server import failures
from orchestra_inference_node.adapters.openai_server.asking import Answer, Asker

_MOST_NAMES = 10


@dataclass(frozen=True, slots=True)
class Found:
    """`context_tokens` and `slots` are None where the server does not say; `said` is what makes the model
    another one when it changes."""

    kind: str
    name: str
    """The server's own name of the model."""
    said: dict[str, Any] = field(repr=False)
    context_tokens: int | None = None
    slots: int | None = None
    chat: bool = False
    quantization: str = ""
    build: str = ""
    vocabulary: int = 0

    @property
    def identity(self) -> str:
        """Stands for the revision: the files behind a server are not seen from here."""
        digest = hashlib.sha256(json.dumps(self.said, sort_keys=True).encode()).hexdigest()
        return f"reported:{self.name}:{digest[:16]}"


def listed_models(asker: Asker) -> list[dict[str, Any]]:
    """What the server lists. Raises Unavailable while it starts, FailedPrecondition when it is no such
    server."""
    answer = asker.get("/v1/models")
    if answer.status >= httpx.codes.INTERNAL_SERVER_ERROR:
        raise Unavailable(f"{asker.site.shown} ({answer.message})", failures.RETRY_S)
    models = answer.holds.get("data")
    if not isinstance(models, list) or not all(
        isinstance(one, dict) and isinstance(one.get("id"), str) for one in models
    ):
        raise FailedPrecondition(
            asker.site.shown,
            f"is no OpenAI-compatible server: GET /v1/models gave {answer.status}, {answer.message!r}",
        )
    return models


def the_model(asker: Asker, models: list[dict[str, Any]]) -> dict[str, Any]:
    """The one that is meant. Raises NotFound, InvalidRequest when it has to be named."""
    wanted = asker.site.model
    names = [str(one["id"]) for one in models]
    if wanted:
        for one in models:
            if wanted == one["id"] or wanted in (one.get("aliases") or ()):
                return one
        raise NotFound(f"model of {asker.site.shown}", wanted, names[:_MOST_NAMES])
    if len(models) == 1:
        return models[0]
    if not models:
        raise FailedPrecondition(asker.site.shown, "lists no model")
    raise InvalidRequest.of(
        "spec.engine_options['model']",
        f"must name one, since the server lists {len(models)}: {', '.join(names[:_MOST_NAMES])}",
    )


def context_of(asker: Asker, found: Found, wanted: int | None) -> int:
    """At most what the server has. Raises FailedPrecondition when nobody says it."""
    context = found.context_tokens or wanted
    if context is None:
        raise FailedPrecondition(asker.site.shown, "does not say its context: name context_tokens")
    return min(context, wanted or context)


def must_tokenize(asker: Asker, path: str, asked: dict[str, Any]) -> list[int]:
    """The ids of a first text. Raises FailedPrecondition when the server gives none."""
    ids = ids_of(asker.post(path, asked))
    if not ids:
        raise FailedPrecondition(asker.site.shown, f"has no {path}, and prompts are counted in its tokens")
    return ids


def must_be_of_use(asker: Asker, *, generates: bool, embeds: bool) -> None:
    """Raises FailedPrecondition when it is not."""
    if not generates and not embeds:
        raise FailedPrecondition(asker.site.shown, "neither completes a prompt nor embeds a text")


def count(value: Any) -> int | None:
    """A whole number above 0, or nothing."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def ids_of(answer: Answer) -> list[int] | None:
    """The token ids of a tokenizing answer; None when it holds none."""
    tokens = answer.holds.get("tokens")
    if isinstance(tokens, list) and all(isinstance(one, int) for one in tokens):
        return tokens
    return None
