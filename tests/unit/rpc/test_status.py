"""Kinds to google.rpc.Status and back, also inside an Any and from peers that are not ours."""

from __future__ import annotations

import pytest
from google.protobuf.any_pb2 import Any
from google.protobuf.wrappers_pb2 import StringValue
from google.rpc import error_details_pb2, status_pb2
from hypothesis import given
from hypothesis import strategies as st

from orchestra_errors import (
    BudgetExceeded,
    Cancelled,
    DeadlineExceeded,
    FieldViolation,
    InvalidRequest,
    OrchestraError,
    PeerFailed,
    Unavailable,
    UpstreamFailed,
)
from orchestra_rpc import error_from_status, pack_status, status_from_error, unpack_status


def test_a_failed_sample_carries_its_kind() -> None:
    error = unpack_status(
        pack_status(UpstreamFailed("openai", "rate_limited", "429", model="m", retry_after=7))
    )
    assert isinstance(error, UpstreamFailed)
    assert error.kind == "rate_limited"
    assert error.retry_after == 7
    assert error.status_code == "RESOURCE_EXHAUSTED"


def test_no_retry_info_unless_waiting_helps() -> None:
    retry = error_details_pb2.RetryInfo.DESCRIPTOR
    assert not any(d.Is(retry) for d in status_from_error(BudgetExceeded("lab", 5, 1)).details)
    assert any(d.Is(retry) for d in status_from_error(BudgetExceeded("lab", 5, 1, retry_after=60)).details)


@given(st.lists(st.tuples(st.text(max_size=400), st.text(max_size=400)), min_size=1, max_size=80))
def test_details_fit_into_metadata_and_each_type_comes_once(fields: list[tuple[str, str]]) -> None:
    status = status_from_error(InvalidRequest(FieldViolation(*field) for field in fields))
    assert status.ByteSize() < 7_500
    types = [detail.type_url for detail in status.details]
    assert len(types) == len(set(types)) == 2
    again = error_from_status(status)
    assert isinstance(again, InvalidRequest)
    assert 1 <= len(again.violations) <= len(fields)


@pytest.mark.parametrize(
    ("code", "kind"),
    [(14, Unavailable), (4, DeadlineExceeded), (1, Cancelled), (11, PeerFailed), (99, PeerFailed)],
)
def test_a_peer_without_our_details(code: int, kind: type[OrchestraError]) -> None:
    assert type(error_from_status(status_pb2.Status(code=code, message="words"))) is kind


def test_another_domains_reason_is_not_ours() -> None:
    status = status_pb2.Status(code=5, message="words")
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason="NOT_FOUND", domain="googleapis.com"))
    error = error_from_status(status)
    assert isinstance(error, PeerFailed)
    assert error.status_code == "NOT_FOUND"


def test_an_any_of_something_else() -> None:
    packed = Any()
    packed.Pack(StringValue(value="x"))
    for wrong in (packed, Any()):
        assert isinstance(unpack_status(wrong), PeerFailed)
