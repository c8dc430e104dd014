"""The events of an OpenAI-shaped stream as chunks. Our own reading of the lines: it sees the stream's end
mark, and takes everything that has come in one go."""

from __future__ import annotations

import json
from typing import Any

from orchestra_cloud_proxy.adapters.sse import EventTooLong, SseReader
from orchestra_cloud_proxy.domain.characters import Joiner, whole
from orchestra_cloud_proxy.domain.chunk import Chunk, Finish, TokenProb, Tokens, ToolPiece
from orchestra_cloud_proxy.domain.faults import Fault, Where
from orchestra_cloud_proxy.ports import ProviderFailed

_FINISH = {
    "stop": Finish.STOP,
    "length": Finish.LENGTH,
    "tool_calls": Finish.TOOL_CALLS,
    "function_call": Finish.TOOL_CALLS,
    "content_filter": Finish.CONTENT_FILTER,
    # together's own word
    "eos": Finish.STOP,
}


class StreamReader:
    """One stream. Whole when its end mark came after a finish, or when it said everything and then just
    ended: servers differ in the mark, but finish and usage were asked of all of them."""

    def __init__(self) -> None:
        self._events = SseReader()
        self._joiner = Joiner()
        self._finished = False
        self._refused = False
        self._counted = False
        self.done = False

    def feed(self, data: bytes) -> list[Chunk]:
        """Raises ProviderFailed for what is no chunk, and for an error inside the stream."""
        try:
            events = self._events.feed(data)
        except EventTooLong as long:
            raise ProviderFailed(Fault(Where.UNREADABLE, str(long))) from None
        chunks = []
        for event in events:
            if event == b"[DONE]":
                self.done = True
            elif not self.done:
                chunks.append(self._chunk(_parsed(event)))
        return chunks

    def end(self) -> Chunk | None:
        """The connection has ended cleanly. Raises ProviderFailed when the answer is not whole."""
        if not self._finished:
            raise ProviderFailed(Fault(Where.CUT, "the stream ended without a finish reason"))
        if not self.done and not self._counted:
            raise ProviderFailed(Fault(Where.CUT, "the stream ended before its usage and its end mark"))
        rest = self._joiner.rest()
        return Chunk(text=rest) if rest else None

    def _chunk(self, body: dict[str, Any]) -> Chunk:
        try:
            return self._read(body)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            kind = type(error).__name__
            raise ProviderFailed(
                Fault(Where.UNREADABLE, f"a chunk is not of the API's shape ({kind})")
            ) from None

    def _read(self, body: dict[str, Any]) -> Chunk:
        if error := body.get("error"):
            raise ProviderFailed(_told(error))
        usage = _usage(body.get("usage"))
        self._counted = self._counted or usage is not None
        revision = body.get("system_fingerprint") or body.get("model") or ""
        choices = body.get("choices") or []
        if not choices:
            return Chunk(usage=usage, revision=revision)
        choice = choices[0]
        delta = choice.get("delta") or {}
        refusal = delta.get("refusal") or ""
        self._refused = self._refused or bool(refusal)
        text = delta.get("content") or choice.get("text") or refusal
        finish, stop_matched = self._finish(choice)
        return Chunk(
            text=self._joiner.take(text),
            reasoning=whole(delta.get("reasoning_content") or delta.get("reasoning") or ""),
            tools=tuple(_tool(piece) for piece in delta.get("tool_calls") or ()),
            probs=_probs(choice.get("logprobs")),
            finish=finish,
            stop_matched=stop_matched,
            usage=usage,
            revision=revision,
        )

    def _finish(self, choice: dict[str, Any]) -> tuple[Finish | None, str]:
        said = choice.get("finish_reason")
        if said is None:
            return None, ""
        self._finished = True
        if self._refused:
            return Finish.REFUSAL, ""
        matched = choice.get("stop_reason")
        if said == "stop" and isinstance(matched, str) and matched:
            return Finish.STOP_SEQUENCE, matched
        return _FINISH[said], ""


def _parsed(event: bytes) -> dict[str, Any]:
    try:
        body = json.loads(event)
    except (ValueError, RecursionError):
        raise ProviderFailed(Fault(Where.UNREADABLE, "an event is not JSON")) from None
    if not isinstance(body, dict):
        raise ProviderFailed(Fault(Where.UNREADABLE, "an event is not a JSON object"))
    return body


def _told(error: Any) -> Fault:
    """An error inside the stream."""
    if not isinstance(error, dict):
        return Fault(Where.ANSWERED, str(error))
    code, kind = str(error.get("code") or ""), str(error.get("type") or "")
    status = int(code) if code.isdecimal() and 400 <= int(code) <= 599 else None
    message = str(error.get("message") or "an error inside the stream")
    # the status of a stream that had begun is not the answer's: what it cost is not known
    return Fault(Where.ANSWERED, message, None, f"{code} {status or ''}", kind)


def _usage(body: Any) -> Tokens | None:
    if not body:
        return None
    prompt = body.get("prompt_tokens_details") or {}
    completion = body.get("completion_tokens_details") or {}
    cached = prompt.get("cached_tokens")
    if cached is None:
        # DeepSeek's name for it
        cached = body.get("prompt_cache_hit_tokens")
    return Tokens(
        prompt=body.get("prompt_tokens"),
        cached=cached,
        completion=body.get("completion_tokens"),
        reasoning=completion.get("reasoning_tokens"),
    )


def _tool(piece: dict[str, Any]) -> ToolPiece:
    function = piece.get("function") or {}
    return ToolPiece(
        index=piece.get("index") or 0,
        id=piece.get("id") or "",
        name=function.get("name") or "",
        arguments=whole(function.get("arguments") or ""),
    )


def _probs(body: Any) -> tuple[TokenProb, ...]:
    if not body:
        return ()
    if "token_logprobs" in body:
        tops = body.get("top_logprobs") or [{}] * len(body["token_logprobs"])
        return tuple(
            TokenProb(value, tuple((whole(text), prob) for text, prob in (top or {}).items()))
            for value, top in zip(body["token_logprobs"], tops, strict=True)
        )
    tokens = body.get("content") or body.get("refusal") or ()
    return tuple(
        TokenProb(
            token["logprob"],
            tuple((whole(top["token"]), top["logprob"]) for top in token.get("top_logprobs") or ()),
        )
        for token in tokens
    )
