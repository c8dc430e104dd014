"""What goes wrong between this node and the server, as kinds of ours."""

from __future__ import annotations

from typing import Any

import httpx

from orchestra_errors import NoCapacity, OrchestraError, StreamSilent, Unavailable

RETRY_S = 1.0
# an operator has to do something first
RETRY_LATER_S = 30.0
_MOST_WAIT_S = 3600.0
_MOST_SHOWN = 300
_NOT_THE_REQUESTS_FAULT = frozenset({401, 403, 404, 405, 407, 408, 409, 421, 425, 429})


def blames_request(status: int, message: str) -> bool:
    """Whether the answer says that this request is wrong, whenever it is sent."""
    if status >= httpx.codes.INTERNAL_SERVER_ERROR:
        # a llama-server says so of a text that is longer than its batch
        return "too large to process" in message
    return status >= httpx.codes.BAD_REQUEST and status not in _NOT_THE_REQUESTS_FAULT


def of_status(who: str, model: str, response: httpx.Response, message: str) -> OrchestraError:
    """What a status means that is neither 200 nor the request's fault. `message` is the server's."""
    status = response.status_code
    if status == httpx.codes.TOO_MANY_REQUESTS:
        return NoCapacity(model, _retry_after(response, RETRY_S))
    if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        return Unavailable(f"{who} (it refuses the key of api_key_file: {status})", RETRY_LATER_S)
    wait = RETRY_S if status >= httpx.codes.INTERNAL_SERVER_ERROR else RETRY_LATER_S
    return Unavailable(f"{who} (it answers {status}: {message})", _retry_after(response, wait))


def of_transport(who: str, error: httpx.HTTPError, silence_s: float) -> OrchestraError:
    """What broke the connection, or kept it from being made."""
    if isinstance(error, httpx.ReadTimeout):
        return StreamSilent(who, silence_s)
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return Unavailable(f"{who} (nothing answers there: start it, or correct the path)", RETRY_S)
    return Unavailable(f"{who} (the connection broke: {error or type(error).__name__})", RETRY_S)


def message_of(data: Any) -> str:
    """What the server says of its error, in any of the ways that these servers do."""
    said: Any = data
    if isinstance(data, dict):
        error = data.get("error", data)
        said = error.get("message", error) if isinstance(error, dict) else error
        said = data.get("detail", said) if said is data else said
    text = said if isinstance(said, str) else repr(said)
    return text if len(text) <= _MOST_SHOWN else text[:_MOST_SHOWN] + "…"


def _retry_after(response: httpx.Response, otherwise: float) -> float:
    value = response.headers.get("retry-after", "")
    return min(float(value), _MOST_WAIT_S) if value.isdecimal() else otherwise
