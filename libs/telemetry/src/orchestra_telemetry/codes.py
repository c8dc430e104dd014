"""gRPC status codes by name, spelled here so that telemetry does not import gRPC."""

from typing import Final

CODES: Final = (
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
)
_NUMBERS = {name: number for number, name in enumerate(CODES)}


def number_of(code: str) -> int:
    """The wire number of a code's name; UNKNOWN for a name that gRPC does not have."""
    return _NUMBERS.get(code, 2)
