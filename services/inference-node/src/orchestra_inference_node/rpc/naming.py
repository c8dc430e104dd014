"""The fields that an engine refuses, as the caller of Generate names them."""

from __future__ import annotations

from orchestra_errors import InvalidRequest, OrchestraError, Violations

_PREFIX = "generation."
_ENVELOPE = (_PREFIX, "hop.", "items")


def of_generation(error: OrchestraError) -> OrchestraError:
    """An InvalidRequest whose fields all begin where the request does; any other error as it is."""
    if not isinstance(error, InvalidRequest):
        return error
    found = Violations()
    for violation in error.violations:
        prefix = "" if violation.field.startswith(_ENVELOPE) else _PREFIX
        found.add(prefix + violation.field, violation.description)
    return InvalidRequest(found.found)
