"""Error kinds to `google.rpc.Status` and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]  # ships no py.typed

from orchestra_errors import (
    DOMAIN,
    Cancelled,
    DeadlineExceeded,
    FieldViolation,
    OrchestraError,
    PeerFailed,
    Unavailable,
    rebuild,
)

DETAILS_KEY: Final = "grpc-status-details-bin"
# gRPC refuses an answer whose metadata is over 8 KB, and then the caller learns nothing at all
_MAX_STATUS_BYTES: Final = 5_000
_MAX_MESSAGE: Final = 1_000
_MAX_WORD: Final = 300
_CODES: Final = {code.name: code for code in grpc.StatusCode}
_NAMES: Final = {code.value[0]: code.name for code in grpc.StatusCode}


def code_of(error: OrchestraError) -> grpc.StatusCode:
    """The gRPC code; UNKNOWN for a name that gRPC does not have."""
    return _CODES.get(error.status_code, grpc.StatusCode.UNKNOWN)


def status_from_error(error: OrchestraError) -> status_pb2.Status:
    """Code, message and details: ErrorInfo always, BadRequest with all violations, RetryInfo when waiting
    helps.

    Bounded to what fits into gRPC metadata: overlong words are cut, and violations that do not fit are
    counted.
    """
    status = status_pb2.Status(code=code_of(error).value[0], message=_cut(error.message, _MAX_MESSAGE))
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN)
    for key, value in error.metadata.items():
        info.metadata[key] = _cut(value, _MAX_WORD)
    status.details.add().Pack(info)
    if error.retry_after is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromMilliseconds(max(0, round(error.retry_after * 1000)))
        status.details.add().Pack(retry)
    if error.violations:
        status.details.add().Pack(_bad_request(error.violations, _MAX_STATUS_BYTES - status.ByteSize()))
    return status


def _bad_request(violations: Sequence[FieldViolation], room: int) -> error_details_pb2.BadRequest:
    answer = error_details_pb2.BadRequest()
    for index, violation in enumerate(violations):
        one = error_details_pb2.BadRequest.FieldViolation(
            field=_cut(violation.field, _MAX_WORD), description=_cut(violation.description, _MAX_WORD)
        )
        room -= one.ByteSize() + 4
        if room < 100 and index < len(violations) - 1:
            left = len(violations) - index
            answer.field_violations.add(
                field=one.field, description=f"{one.description} (and {left - 1} more fields)"
            )
            break
        answer.field_violations.append(one)
    return answer


def error_from_status(status: status_pb2.Status) -> OrchestraError:
    """The kind that a peer raised; PeerFailed and its like when the status carries none of our details."""
    info = error_details_pb2.ErrorInfo()
    retry = error_details_pb2.RetryInfo()
    bad = error_details_pb2.BadRequest()
    named = False
    retry_after: float | None = None
    for detail in status.details:
        if detail.Is(info.DESCRIPTOR):
            detail.Unpack(info)
            named = info.domain == DOMAIN
        elif detail.Is(retry.DESCRIPTOR):
            detail.Unpack(retry)
            retry_after = retry.retry_delay.ToMilliseconds() / 1000
        elif detail.Is(bad.DESCRIPTOR):
            detail.Unpack(bad)
    code = _NAMES.get(status.code, "UNKNOWN")
    if not named:
        return _without_details(code, status.message, retry_after)
    violations = [FieldViolation(v.field, v.description) for v in bad.field_violations]
    return rebuild(info.reason, status.message, dict(info.metadata), retry_after, violations, code)


def error_from_rpc(error: grpc.aio.AioRpcError) -> OrchestraError:
    """The kind behind a failed call."""
    for key, value in error.trailing_metadata() or ():
        if key == DETAILS_KEY and isinstance(value, bytes):
            try:
                return error_from_status(status_pb2.Status.FromString(value))
            except DecodeError:
                break
    return _without_details(error.code().name, error.details() or "")


def _without_details(code: str, message: str, retry_after: float | None = None) -> OrchestraError:
    if code == "UNAVAILABLE":
        return Unavailable(f"a peer ({_cut(message, _MAX_WORD)})", retry_after)
    if code == "DEADLINE_EXCEEDED":
        return DeadlineExceeded("a peer")
    if code == "CANCELLED":
        return Cancelled("a peer's call")
    return PeerFailed(code, _cut(message, _MAX_WORD))


def pack_status(error: OrchestraError) -> AnyMessage:
    """The error as `google.protobuf.Any` holding a `google.rpc.Status` (SampleFailed.status)."""
    packed = AnyMessage()
    packed.Pack(status_from_error(error))
    return packed


def unpack_status(packed: AnyMessage) -> OrchestraError:
    """What `pack_status` packed; PeerFailed when it holds anything else."""
    status = status_pb2.Status()
    if not packed.Unpack(status):
        return PeerFailed("UNKNOWN", f"a status of type {packed.type_url or 'nothing'}")
    return error_from_status(status)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
