"""Server-sent events, as servers stream JSON."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

from orchestra_errors import DataLoss

# the last chunk of a llama-server repeats the whole prompt
_LONGEST_LINE = 64 * 1024 * 1024
_DONE = b"[DONE]"


async def events(chunks: AsyncIterator[bytes], who: str) -> AsyncIterator[dict[str, Any]]:
    """The object of each event, until the stream or its [DONE]. An error has the key `error`, whatever the
    server's way to say it.

    Raises DataLoss for what is no JSON object, and for a line without an end.
    """
    rest = b""
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            name, colon, value = line.rstrip(b"\r").partition(b":")
            if not colon or name not in (b"data", b"error"):
                # a comment that keeps the connection open, a name, or the empty line after an event
                continue
            if value.strip() == _DONE:
                return
            yield _object(value, who, is_error=name == b"error")
        if len(rest) > _LONGEST_LINE:
            raise DataLoss(f"the answer of {who}", "a line of it does not end")


def _object(value: bytes, who: str, *, is_error: bool) -> dict[str, Any]:
    try:
        said = json.loads(value)
    except ValueError:
        raise DataLoss(f"the answer of {who}", "a chunk of it is no JSON") from None
    if not isinstance(said, dict):
        raise DataLoss(f"the answer of {who}", "a chunk of it is no object")
    if is_error or said.get("object") == "error":
        return {"error": said.get("error", said)}
    return said
