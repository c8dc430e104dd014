"""Providers that fail in every way: always one of our kinds, recorded, the connection closed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from orchestra.generation.v1 import event_pb2, usage_pb2
from orchestra.ledger.v1 import entry_pb2
from orchestra_errors import DeadlineExceeded, NoCapacity, Unavailable, UpstreamFailed
from orchestra_rpc import call_stream

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
TEXT = b'data: {"model":"m","choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'
FINISH = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":4}}\n\n'
DONE = b"data: [DONE]\n\n"
CLOSING = HEAD + b"connection: close\r\n\r\n"
SILENT = HEAD + b"transfer-encoding: chunked\r\n\r\n"


def chunked(body: bytes) -> bytes:
    parts = [body[i : i + 50] for i in range(0, len(body), 50)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def open_answer(*events: bytes) -> bytes:
    """An answer of which more could come."""
    body = b"".join(events)
    return HEAD + b"transfer-encoding: chunked\r\n\r\n" + b"%x\r\n%s\r\n" % (len(body), body)


class TestCutAtEveryByte:
    async def test_a_chunked_stream_is_whole_only_with_its_end_mark(
        self, start: Any, ask: Any, raw: Any
    ) -> None:
        """Every prefix that lacks a byte of the end mark is an error, never an answer."""
        head = HEAD + b"transfer-encoding: chunked\r\n\r\n"
        body = chunked(TEXT + FINISH + USAGE + DONE)
        whole = head + body
        last = whole.rindex(b"[DONE]") + len(b"[DONE]\n\n")
        async with raw([whole[:k] for k in range(1, last)] + [whole]) as server:
            proxy = await start(server.url, services="{breaker_failures: 100000}")
            for k in range(1, last):
                error, events = await proxy.failure(ask(attempt_id=f"r/0/{k}"))
                assert isinstance(error, UpstreamFailed), k
                assert error.metadata["kind"] in ("unreachable", "cut", "malformed"), k
                assert not any(event.HasField("finished") for event in events), k
            assert (await proxy.events(ask(attempt_id="r/0/whole")))[-1].HasField("finished")
            entry = await proxy.ledger.entry(f"r/0/{last - 1}")
            assert entry.error_reason == "UPSTREAM_FAILED"
            assert entry.usage.completion_tokens == 4, "what the provider reported before the cut is kept"
            assert entry.state == entry_pb2.ENTRY_STATE_ESTIMATED
            early = await proxy.ledger.entry(f"r/0/{len(head) + 1}")
            assert early.state == entry_pb2.ENTRY_STATE_UNKNOWN
            assert early.cost.state == usage_pb2.COST_STATE_UNKNOWN

    async def test_an_unframed_stream_is_whole_once_it_has_said_everything(
        self, start: Any, ask: Any, raw: Any
    ) -> None:
        """Where the connection's end is the answer's end: finish and usage must both have come."""
        whole = CLOSING + TEXT + FINISH + USAGE + DONE
        needed = len(CLOSING + TEXT + FINISH + USAGE)
        cuts = range(len(CLOSING), needed - 1, 3)
        async with raw([whole[:k] for k in cuts] + [whole[:needed]]) as server:
            proxy = await start(server.url, services="{breaker_failures: 100000}")
            for k in cuts:
                error, _ = await proxy.failure(ask(attempt_id=f"r/0/{k}"))
                assert isinstance(error, UpstreamFailed), k
                assert error.metadata["kind"] == "cut", k
            assert (await proxy.events(ask()))[-1].finished.usage.completion_tokens == 4


class TestWhatIsNoAnswer:
    @pytest.mark.parametrize(
        ("answer", "kind"),
        [
            (b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 6\r\n\r\n<html>", "malformed"),
            (
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}",
                "malformed",
            ),
            (CLOSING + b"<html>busy</html>", "cut"),
            (CLOSING + b"data: <html>\n\n", "malformed"),
            (CLOSING + b"data: 7\n\n", "malformed"),
            (CLOSING + b'data: {"choices": 7}\n\n', "malformed"),
            (
                CLOSING + b'data: {"choices":[{"index":0,"finish_reason":"tired","delta":{}}]}\n\n',
                "malformed",
            ),
            (CLOSING + b'data: {"error":{"message":"worn out","type":"server_error"}}\n\n', "overloaded"),
            (
                CLOSING + b'data: {"error":{"message":"slow","code":"rate_limit_exceeded"}}\n\n',
                "rate_limited",
            ),
            (CLOSING + DONE, "cut"),
            (b"HTTP/1.1 302 Found\r\nlocation: /\r\ncontent-length: 0\r\n\r\n", None),
            (b"SSH-2.0-OpenSSH\r\n", "unreachable"),
        ],
    )
    async def test_is_an_error(self, start: Any, ask: Any, raw: Any, answer: bytes, kind: str | None) -> None:
        async with raw([answer]) as server:
            proxy = await start(server.url)
            error, events = await proxy.failure(ask())
        assert isinstance(error, UpstreamFailed)
        assert kind is None or error.metadata["kind"] == kind
        assert not any(event.HasField("finished") for event in events)

    async def test_nobody_listens(self, start: Any, ask: Any) -> None:
        proxy = await start("http://127.0.0.1:1/v1")
        error, events = await proxy.failure(ask(reservation_id="res-1"))
        assert (error.metadata["kind"], error.status_code) == ("unreachable", "UNAVAILABLE")
        assert events == [], "nothing left, so nothing began and the caller may give the reservation back"
        entry = await proxy.ledger.entry("req-1/0/1")
        assert (entry.state, entry.reservation_id) == (entry_pb2.ENTRY_STATE_VOIDED, "res-1")


class TestStatuses:
    @pytest.mark.parametrize(
        ("status", "kind", "code"),
        [
            (400, "refused", "INVALID_ARGUMENT"),
            (401, "auth", "FAILED_PRECONDITION"),
            (403, "auth", "FAILED_PRECONDITION"),
            (404, "refused", "INVALID_ARGUMENT"),
            (422, "refused", "INVALID_ARGUMENT"),
            (429, "rate_limited", "RESOURCE_EXHAUSTED"),
            (500, "overloaded", "UNAVAILABLE"),
            (503, "overloaded", "UNAVAILABLE"),
            (529, "overloaded", "UNAVAILABLE"),
        ],
    )
    async def test_each_has_its_kind(
        self, start: Any, ask: Any, llmock: Any, status: int, kind: str, code: str
    ) -> None:
        llmock.fail(status, times=None)
        proxy = await start(llmock.base_url())
        error, _ = await proxy.failure(ask())
        assert isinstance(error, UpstreamFailed)
        assert (error.metadata["kind"], error.status_code) == (kind, code)
        entry = await proxy.ledger.entry("req-1/0/1")
        assert entry.state == entry_pb2.ENTRY_STATE_VOIDED, "an error status is not charged"
        assert entry.error_reason == "UPSTREAM_FAILED"

    async def test_a_content_filter_is_no_bad_health(self, start: Any, ask: Any, llmock: Any) -> None:
        llmock.fail(400, times=None, code="content_filter")
        proxy = await start(llmock.base_url(), services="{breaker_failures: 1}")
        for _ in range(2):
            error, _ = await proxy.failure(ask())
            assert error.metadata["kind"] == "filtered"


class TestRepeats:
    async def test_a_failure_is_repeated_within_the_attempts(self, start: Any, ask: Any, llmock: Any) -> None:
        llmock.fail(500, times=1)
        proxy = await start(llmock.base_url())
        events = await proxy.events(ask(attempts_left=2))
        assert events[-1].HasField("finished")
        entry = await proxy.ledger.entry("req-1/0/1")
        assert entry.state == entry_pb2.ENTRY_STATE_SETTLED
        assert list(proxy.ledger.entries) == ["req-1/0/1"], "the free try is no entry of its own"
        llmock.assert_resilient(strict=True)

    @pytest.mark.parametrize(("granted", "per_provider", "made"), [(1, 5, 1), (5, 2, 2), (3, 5, 3)])
    async def test_tries_are_exactly_those_allowed(
        self, start: Any, ask: Any, llmock: Any, granted: int, per_provider: int, made: int
    ) -> None:
        llmock.outage()
        proxy = await start(llmock.base_url(), services=f"{{attempts_per_provider: {per_provider}}}")
        await proxy.failure(ask(attempts_left=granted))
        assert len(llmock.requests) == made

    async def test_retry_after_is_kept_to(self, start: Any, ask: Any, llmock: Any) -> None:
        llmock.rate_limit(times=1, retry_after=0.6)
        proxy = await start(llmock.base_url(), heartbeat_s=0.2)
        events = await proxy.events(ask(attempts_left=2))
        assert events[-1].HasField("finished")
        assert "heartbeat" in [event.WhichOneof("event") for event in events]
        llmock.assert_resilient(strict=True)

    async def test_a_wait_longer_than_the_deadline_is_not_begun(
        self, start: Any, ask: Any, llmock: Any
    ) -> None:
        llmock.rate_limit(times=1, retry_after=30)
        proxy = await start(llmock.base_url())
        error, _ = await proxy.failure(ask(attempts_left=2), timeout=5)
        assert error.metadata["kind"] == "rate_limited"
        assert error.retry_after == pytest.approx(30)
        other, _ = await proxy.failure(ask(), timeout=5)
        assert isinstance(other, NoCapacity), "nobody else asks before the provider said so, either"
        assert len(llmock.requests) == 1

    async def test_a_wrong_request_is_never_repeated(self, start: Any, ask: Any, llmock: Any) -> None:
        llmock.fail(400, times=None)
        proxy = await start(llmock.base_url())
        await proxy.failure(ask(attempts_left=2))
        assert len(llmock.requests) == 1

    async def test_what_may_have_been_charged_is_recorded_beside_the_repeat(
        self, start: Any, ask: Any, raw: Any
    ) -> None:
        async with raw([CLOSING, CLOSING + TEXT + FINISH + USAGE + DONE]) as server:
            proxy = await start(server.url)
            await proxy.events(ask(attempts_left=2, reservation_id="res-1"))
            kept = await proxy.ledger.entry("req-1/0/1")
            lost = await proxy.ledger.entry("req-1/0/1~1")
        assert (kept.state, kept.reservation_id) == (entry_pb2.ENTRY_STATE_SETTLED, "")
        assert (lost.state, lost.reservation_id) == (entry_pb2.ENTRY_STATE_UNKNOWN, "res-1")

    @pytest.mark.parametrize("fault", ["disconnect", "truncate", "corrupt"])
    @pytest.mark.parametrize("after", [2, 3, 5])
    async def test_nothing_is_repeated_after_the_first_token(
        self, start: Any, ask: Any, llmock: Any, fault: str, after: int
    ) -> None:
        llmock.reply("one two three four five six seven eight")
        getattr(llmock, fault)(after_chunks=after)
        proxy = await start(llmock.base_url())
        error, events = await proxy.failure(ask(attempts_left=2))
        assert error.metadata["kind"] == ("malformed" if fault == "corrupt" else "cut")
        assert any(event.HasField("text_delta") for event in events)
        assert len(llmock.requests) == 1
        entry = await proxy.ledger.entry("req-1/0/1")
        assert entry.state == entry_pb2.ENTRY_STATE_UNKNOWN, "what was consumed is not known, so never zero"

    @pytest.mark.parametrize("fault", ["disconnect", "truncate", "corrupt"])
    async def test_a_stream_that_breaks_before_the_first_token_is_repeated(
        self, start: Any, ask: Any, llmock: Any, fault: str
    ) -> None:
        getattr(llmock, fault)(after_chunks=0)
        proxy = await start(llmock.base_url())
        events = await proxy.events(ask(attempts_left=2))
        assert events[-1].HasField("finished")
        assert [event.WhichOneof("event") for event in events].count("started") == 1
        llmock.assert_resilient(strict=True)


class TestBreaker:
    async def test_opens_and_closes_again(self, start: Any, ask: Any, llmock: Any) -> None:
        llmock.fail(500, times=3)
        proxy = await start(llmock.base_url(), services="{breaker_failures: 3, breaker_open_s: 0.4}")
        for _ in range(3):
            await proxy.failure(ask())
        error, events = await proxy.failure(ask())
        assert isinstance(error, Unavailable)
        assert error.retry_after is not None
        assert 0 < error.retry_after <= 0.4
        assert events == []
        assert len(llmock.requests) == 3, "an open breaker asks nobody"
        await asyncio.sleep(error.retry_after)
        assert (await proxy.events(ask()))[-1].HasField("finished")


class TestEndsFromOutside:
    async def test_a_cancelled_call_closes_the_connection_within_a_second(
        self, start: Any, ask: Any, raw: Any
    ) -> None:
        async with raw([open_answer(TEXT)], hold=True) as server:
            proxy = await start(server.url)
            async with call_stream(proxy.stub.Generate(ask(reservation_id="res-1"))) as messages:
                async for message in messages:
                    if message.event.HasField("text_delta"):
                        break
            async with asyncio.timeout(1):
                await server.gone.acquire()
        entry = await proxy.ledger.entry("req-1/0/1")
        assert (entry.state, entry.error_reason) == (entry_pb2.ENTRY_STATE_UNKNOWN, "CANCELLED")
        assert entry.reservation_id == "res-1", "it stays held until somebody knows the cost"

    async def test_every_sample_of_a_cancelled_call_is_closed(self, start: Any, ask: Any, raw: Any) -> None:
        async with raw([open_answer(TEXT)], hold=True) as server:
            proxy = await start(server.url)
            begun = 0
            async with call_stream(proxy.stub.Generate(ask(n=3))) as messages:
                async for message in messages:
                    begun += message.event.HasField("text_delta")
                    if begun == 3:
                        break
            async with asyncio.timeout(1):
                for _ in range(3):
                    await server.gone.acquire()

    @pytest.mark.parametrize("answer", [b"", SILENT, open_answer(TEXT)])
    async def test_an_expired_deadline_closes_the_connection(
        self, start: Any, ask: Any, raw: Any, answer: bytes
    ) -> None:
        async with raw([answer], hold=True) as server:
            proxy = await start(server.url)
            error, _ = await proxy.failure(ask(), timeout=0.5)
            assert isinstance(error, DeadlineExceeded)
            async with asyncio.timeout(1):
                await server.gone.acquire()
        entry = await proxy.ledger.entry("req-1/0/1")
        assert entry.error_reason in ("DEADLINE_EXCEEDED", "CANCELLED")
        assert entry.state == entry_pb2.ENTRY_STATE_UNKNOWN

    async def test_a_provider_that_falls_silent_is_given_up(self, start: Any, ask: Any, raw: Any) -> None:
        async with raw([open_answer(TEXT)], hold=True) as server:
            proxy = await start(server.url, idle_s=0.3, heartbeat_s=0.1)
            error, events = await proxy.failure(ask())
            assert error.metadata["kind"] == "timeout"
            assert events[-1].heartbeat.activity == event_pb2.ACTIVITY_DECODE
            async with asyncio.timeout(1):
                await server.gone.acquire()

    async def test_without_a_deadline_the_providers_own_limit_holds(
        self, start: Any, ask: Any, raw: Any
    ) -> None:
        async with raw([b""], hold=True) as server:
            proxy = await start(server.url, more=", timeout_s: 0.3", heartbeat_s=0.1)
            error, _ = await proxy.failure(ask(), timeout=None)
            assert error.metadata["kind"] == "timeout"
            async with asyncio.timeout(1):
                await server.gone.acquire()
