"""Who asks."""

DEFAULT_TENANT = "default"


def current_tenant() -> str:
    """The tenant of the call that is being answered. One for all, until callers have identities."""
    return DEFAULT_TENANT
