"""What the openai SDK and the HTTP client beneath it raise, as faults without keys."""

from __future__ import annotations

import json
from email.utils import parsedate_to_datetime
from time import time
from typing import Any

import httpx2
import openai

from orchestra_cloud_proxy.domain.faults import Fault, Where
from orchestra_secrets import Secret

LONGEST_MESSAGE = 300
_NOT_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.UnsupportedProtocol)
FAILURES = (openai.OpenAIError, httpx2.HTTPError, httpx2.StreamError, json.JSONDecodeError)


def to_fault(error: BaseException, key: Secret | None, *, answering: bool) -> Fault:
    """`answering`: the answer had begun."""
    if isinstance(error, openai.APIStatusError):
        return _status(error, key)
    cause = error.__cause__ if isinstance(error, openai.APIConnectionError) else error
    if isinstance(cause, _NOT_SENT):
        return Fault(Where.NOT_SENT, f"no connection ({_name(cause)})")
    if isinstance(error, openai.APITimeoutError) or isinstance(cause, httpx2.TimeoutException):
        return Fault(Where.TIMED_OUT, "the provider was silent for too long")
    if isinstance(error, openai.APIConnectionError) or isinstance(cause, httpx2.TransportError):
        if answering:
            return Fault(Where.CUT, f"the connection broke inside the answer ({_name(cause)})")
        return Fault(Where.NO_ANSWER, f"the connection broke before an answer ({_name(cause)})")
    return Fault(Where.UNREADABLE, f"the answer could not be read ({_name(error)})")


def _status(error: openai.APIStatusError, key: Secret | None) -> Fault:
    return Fault(
        Where.ANSWERED,
        message=scrubbed(_message(error), key)
        if error.status_code not in (401, 403)
        else "the key was refused",
        status=error.status_code,
        code=str(error.code or ""),
        type=str(error.type or ""),
        retry_after=retry_after(error.response.headers),
    )


def _message(error: openai.APIStatusError) -> str:
    body: Any = error.body
    said = body.get("message") if isinstance(body, dict) else None
    return str(said) if said else f"HTTP {error.status_code}"


def scrubbed(message: str, key: Secret | None) -> str:
    """Without the key, and not longer than a reader reads."""
    if key is not None:
        message = message.replace(key.reveal(), "***")
    return message if len(message) <= LONGEST_MESSAGE else message[: LONGEST_MESSAGE - 1] + "…"


def retry_after(headers: httpx2.Headers) -> float | None:
    """Seconds; the header in milliseconds first, since the other is rounded. None: absent or unreadable."""
    for name, scale in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        value = headers.get(name)
        if value is None:
            continue
        try:
            seconds = float(value) / scale
        except ValueError:
            seconds = _until(value)
        if 0 <= seconds < float("inf"):
            return seconds
    return None


def _until(date: str) -> float:
    try:
        return max(0.0, parsedate_to_datetime(date).timestamp() - time())
    except ValueError:
        return -1.0


def _name(error: BaseException | None) -> str:
    return type(error).__name__ if error is not None else "connection error"
