"""Vectors by /v1/embeddings, which all these servers have where their model embeds."""

from __future__ import annotations

import math
from typing import Any

from orchestra_errors import DataLoss, InvalidRequest
from orchestra_inference_node.adapters.exchanges import HttpFailed, Posts
from orchestra_inference_node.adapters.openai_server.asking import Asker
from orchestra_inference_node.domain.drawing import Embedded

PATH = "/v1/embeddings"


def embeds(asker: Asker, name: str) -> bool:
    """Whether the server gives a vector."""
    data = asker.post(PATH, {"model": name, "input": "Hello"}).holds.get("data")
    return isinstance(data, list) and len(data) == 1


async def embed(posts: Posts, model: str, name: str, texts: tuple[str, ...]) -> list[Embedded]:
    """A text at a time, because a server counts the tokens of a request and not of a text.

    Raises InvalidRequest for a text that the server refuses, DataLoss for what is no vector.
    """
    vectors: list[Embedded] = []
    for at, text in enumerate(texts):
        try:
            answer = await posts.post(PATH, {"model": name, "input": text, "encoding_format": "float"})
        except HttpFailed as error:
            raise InvalidRequest.of(f"texts[{at}]", str(error)) from error
        vectors.append(_read(answer, model))
    return vectors


def _read(answer: Any, model: str) -> Embedded:
    try:
        values = [float(one) for one in answer["data"][0]["embedding"]]
        length = math.sqrt(sum(one * one for one in values))
        return Embedded([one / length for one in values], int(answer["usage"]["prompt_tokens"]))
    except (LookupError, TypeError, ValueError, ZeroDivisionError) as error:
        raise DataLoss(f"an embedding of {model}", f"{type(error).__name__}: {error}") from error
