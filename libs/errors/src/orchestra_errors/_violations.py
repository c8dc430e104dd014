"""Gathering every wrong field before refusing."""

from __future__ import annotations

from orchestra_errors._error import FieldViolation
from orchestra_errors._refusals import InvalidRequest


class Violations:
    """Collects field violations, so that a caller learns of all of them at once."""

    def __init__(self, prefix: str = "") -> None:
        self._prefix = prefix
        self._found: list[FieldViolation] = []

    def add(self, field: str, description: str) -> None:
        """Note that `field` (a proto path) is wrong."""
        self._found.append(FieldViolation(self._prefix + field, description))

    def require(self, condition: bool, field: str, description: str) -> bool:
        """Note a violation unless `condition` holds; returns `condition`, so that later checks may depend on
        it."""
        if not condition:
            self.add(field, description)
        return condition

    def extend(self, other: Violations | InvalidRequest, prefix: str = "") -> None:
        """Take over what another check found, its fields put under `prefix` (`items[3].`)."""
        found = other._found if isinstance(other, Violations) else other.violations
        for violation in found:
            self.add(prefix + violation.field, violation.description)

    @property
    def found(self) -> tuple[FieldViolation, ...]:
        return tuple(self._found)

    def __bool__(self) -> bool:
        return bool(self._found)

    def raise_if_any(self) -> None:
        """Raise InvalidRequest with all that was found; do nothing when all is well."""
        if self._found:
            raise InvalidRequest(self._found)
