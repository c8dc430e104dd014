"""What every kind has, and the way back from the wire."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar

DOMAIN = "orchestra"
"""ErrorInfo.domain of every error that this mesh raises."""


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One wrong field: its proto path (`sampling.max_tokens`) and what is wrong with it."""

    field: str
    description: str


class OrchestraError(Exception):
    """A failure with a name that survives every hop.

    `reason` is the name of an ErrorReason without prefix, `metadata` holds every dynamic word of `message`,
    `retry_after` is in seconds and present only when waiting helps. `code` is the name of a gRPC status code.
    """

    code: ClassVar[str] = "UNKNOWN"
    reason_name: ClassVar[str] = ""
    metadata_keys: ClassVar[frozenset[str]] = frozenset()
    may_move_on: ClassVar[bool] = False
    """Whether the router may try another target, as long as no text event was sent."""

    def __init__(
        self,
        reason: str,
        message: str,
        metadata: Mapping[str, str] | None = None,
        retry_after: float | None = None,
        violations: Iterable[FieldViolation] = (),
        *,
        status_code: str | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.metadata: dict[str, str] = {key: value for key, value in (metadata or {}).items() if value}
        self.retry_after = retry_after
        self.violations = tuple(violations)
        self.status_code = status_code or self.code

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "reason_name" in cls.__dict__:
            known = _KINDS.setdefault(cls.reason_name, cls)
            if known is not cls:
                raise TypeError(f"{cls.__name__} and {known.__name__} share the reason {cls.reason_name}")

    def __str__(self) -> str:
        return self.message

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.reason}: {self.message})"

    def __reduce__(self) -> tuple[object, ...]:
        return (
            rebuild,
            (self.reason, self.message, self.metadata, self.retry_after, self.violations, self.status_code),
        )

    def _set(
        self,
        message: str,
        *,
        retry_after: float | None = None,
        violations: Iterable[FieldViolation] = (),
        status_code: str | None = None,
        **metadata: str,
    ) -> None:
        OrchestraError.__init__(
            self, self.reason_name, message, metadata, retry_after, violations, status_code=status_code
        )


_KINDS: dict[str, type[OrchestraError]] = {}


def kinds() -> Mapping[str, type[OrchestraError]]:
    """Every kind by its reason."""
    return dict(_KINDS)


def kind_of_reason(reason: str) -> type[OrchestraError]:
    """The kind of a reason; the plain OrchestraError for a reason that only a newer peer knows."""
    return _KINDS.get(reason, OrchestraError)


def rebuild(
    reason: str,
    message: str,
    metadata: Mapping[str, str] | None = None,
    retry_after: float | None = None,
    violations: Iterable[FieldViolation] = (),
    status_code: str | None = None,
) -> OrchestraError:
    """The error that a peer raised, as the same kind, without running that kind's own constructor."""
    kind = kind_of_reason(reason)
    error = kind.__new__(kind)
    OrchestraError.__init__(
        error, reason, message, metadata, retry_after, violations, status_code=status_code
    )
    return error
