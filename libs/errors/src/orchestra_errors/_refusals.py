"""Kinds that say: not like this. The caller, an operator or a budget has to change something first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from orchestra_errors._error import FieldViolation, OrchestraError


class InvalidRequest(OrchestraError):
    """Fields are wrong whatever the state of the mesh; `violations` names every one."""

    code = "INVALID_ARGUMENT"
    reason_name = "INVALID_REQUEST"
    metadata_keys = frozenset({"fields"})

    def __init__(self, violations: Iterable[FieldViolation]) -> None:
        found = tuple(violations)
        if not found:
            raise ValueError("InvalidRequest needs at least one violation")
        text = "; ".join(f"{v.field}: {v.description}" for v in found[:5])
        more = f"; and {len(found) - 5} more" if len(found) > 5 else ""
        self._set(text + more, violations=found, fields=",".join(v.field for v in found[:32]))

    @classmethod
    def of(cls, field: str, description: str) -> InvalidRequest:
        """One wrong field."""
        return cls([FieldViolation(field, description)])


class NotFound(OrchestraError):
    """Nothing has this name; `nearest` names what the caller may have meant."""

    code = "NOT_FOUND"
    reason_name = "NOT_FOUND"
    metadata_keys = frozenset({"resource_type", "name", "nearest"})

    def __init__(self, resource_type: str, name: str, nearest: Sequence[str] = ()) -> None:
        hint = f" (nearest: {', '.join(nearest)})" if nearest else ""
        self._set(
            f"{resource_type} {name!r} does not exist{hint}",
            resource_type=resource_type,
            name=name,
            nearest=",".join(nearest),
        )


class AlreadyExists(OrchestraError):
    """The name is taken, or the request_id was used with another payload."""

    code = "ALREADY_EXISTS"
    reason_name = "ALREADY_EXISTS"
    metadata_keys = frozenset({"resource_type", "name"})

    def __init__(self, resource_type: str, name: str, because: str = "already exists") -> None:
        self._set(f"{resource_type} {name!r} {because}", resource_type=resource_type, name=name)


class Unauthenticated(OrchestraError):
    """The caller did not say who it is, or the key is unknown, expired or revoked."""

    code = "UNAUTHENTICATED"
    reason_name = "UNAUTHENTICATED"
    metadata_keys = frozenset({"because"})

    def __init__(self, because: str) -> None:
        self._set(f"not authenticated: {because}", because=because)


class PermissionDenied(OrchestraError):
    """The caller is known and may not do this."""

    code = "PERMISSION_DENIED"
    reason_name = "PERMISSION_DENIED"
    metadata_keys = frozenset({"action", "because"})

    def __init__(self, action: str, because: str) -> None:
        self._set(f"{action} is not permitted: {because}", action=action, because=because)


class FailedPrecondition(OrchestraError):
    """`subject` is in a state in which this cannot be done; repeating alone does not help."""

    code = "FAILED_PRECONDITION"
    reason_name = "FAILED_PRECONDITION"
    metadata_keys = frozenset({"subject", "because"})

    def __init__(self, subject: str, because: str) -> None:
        self._set(f"{subject}: {because}", subject=subject, because=because)


class Unsupported(OrchestraError):
    """The model, engine or provider lacks a capability that the request asks for."""

    code = "INVALID_ARGUMENT"
    reason_name = "CAPABILITY_MISSING"
    metadata_keys = frozenset({"capability", "model"})

    def __init__(self, capability: str, model: str) -> None:
        self._set(f"{model} cannot do {capability}", capability=capability, model=model)


class NoEligibleTarget(OrchestraError):
    """No model may answer this request; `refusals` says per model why not."""

    code = "FAILED_PRECONDITION"
    reason_name = "NO_ELIGIBLE_TARGET"
    metadata_keys = frozenset({"asked", "refusals"})

    def __init__(self, asked: str, refusals: Sequence[str] = ()) -> None:
        why = "; ".join(refusals[:8]) or "no model is placed"
        self._set(f"no eligible target for {asked}: {why}", asked=asked, refusals=why)


class SubstitutionRefused(OrchestraError):
    """Only another model could answer, and the request forbids that."""

    code = "FAILED_PRECONDITION"
    reason_name = "SUBSTITUTION_REFUSED"
    metadata_keys = frozenset({"asked", "available"})

    def __init__(self, asked: str, available: Sequence[str] = ()) -> None:
        rest = f"; available: {', '.join(available)}" if available else ""
        self._set(
            f"{asked} cannot answer and allow_substitution is false{rest}",
            asked=asked,
            available=",".join(available),
        )


class BudgetExceeded(OrchestraError):
    """The budget has less left than the call may cost. Amounts are nano-dollars."""

    code = "RESOURCE_EXHAUSTED"
    reason_name = "BUDGET_EXCEEDED"
    metadata_keys = frozenset({"budget", "needed_nanos", "left_nanos"})

    def __init__(
        self, budget: str, needed_nanos: int, left_nanos: int, retry_after: float | None = None
    ) -> None:
        self._set(
            f"budget {budget!r} has {left_nanos} nano-dollars left, the call may cost {needed_nanos}",
            retry_after=retry_after,
            budget=budget,
            needed_nanos=str(needed_nanos),
            left_nanos=str(left_nanos),
        )

    @property
    def needed_nanos(self) -> int:
        return int(self.metadata.get("needed_nanos", "0"))

    @property
    def left_nanos(self) -> int:
        return int(self.metadata.get("left_nanos", "0"))


class BudgetFrozen(OrchestraError):
    """Somebody froze the budget; nothing is admitted under it."""

    code = "FAILED_PRECONDITION"
    reason_name = "BUDGET_FROZEN"
    metadata_keys = frozenset({"budget"})

    def __init__(self, budget: str) -> None:
        self._set(f"budget {budget!r} is frozen", budget=budget)


class PriceUnknown(OrchestraError):
    """What the call may cost is not known, so it cannot be promised to stay within a hard budget."""

    code = "FAILED_PRECONDITION"
    reason_name = "PRICE_UNKNOWN"
    metadata_keys = frozenset({"provider", "model", "budget"})

    def __init__(self, provider: str, model: str, budget: str) -> None:
        self._set(
            f"the price of {model} at {provider} is not known, and budget {budget!r} is hard",
            provider=provider,
            model=model,
            budget=budget,
        )


class LeaseLost(OrchestraError):
    """A fenced lease has passed to someone else; what was done under it must not be published."""

    code = "ABORTED"
    reason_name = "LEASE_LOST"
    metadata_keys = frozenset({"lease"})

    def __init__(self, lease: str) -> None:
        self._set(f"lease {lease!r} is held by another owner now", lease=lease)


class NotYet(OrchestraError):
    """The contract promises this, and this build does not do it yet."""

    code = "UNIMPLEMENTED"
    reason_name = "NOT_YET"
    metadata_keys = frozenset({"missing"})

    def __init__(self, missing: str) -> None:
        self._set(f"not yet: {missing}", missing=missing)
