"""JSON over HTTP over a unix socket: the engine's own server, which is on nobody's network."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from orchestra_inference_node.adapters.exchanges import HttpFailed


class UnixHttp:
    """One connection per call."""

    def __init__(self, socket: Path, api_key: str) -> None:
        self._socket = socket
        self._api_key = api_key

    async def post(self, path: str, body: dict[str, Any]) -> Any:
        """The parsed answer. Raises HttpFailed; OSError when nobody listens."""
        payload = json.dumps(body).encode()
        head = (
            f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {self._api_key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(payload)}\r\nConnection: close\r\n\r\n"
        )
        reader, writer = await asyncio.open_unix_connection(str(self._socket))
        try:
            writer.write(head.encode() + payload)
            await writer.drain()
            raw = await reader.read()
        finally:
            writer.close()
        return _parse(raw)


def _parse(raw: bytes) -> Any:
    head, _, body = raw.partition(b"\r\n\r\n")
    words = head.split(b" ", 2)
    status = int(words[1]) if len(words) > 1 and words[1].isdigit() else 0
    try:
        answer = json.loads(body)
    except ValueError:
        raise HttpFailed(status or 502, "the engine's server did not answer with JSON") from None
    if status != 200:
        error = answer.get("error", {}) if isinstance(answer, dict) else {}
        raise HttpFailed(status, str(error.get("message", "no message")))
    return answer
