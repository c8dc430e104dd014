"""Cloud providers: where they are, which secret opens them, what they limit, how they call the models."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from .frozen import Frozen, FrozenDict, FrozenMap
from .model_entry import Tier

ProviderKind = Literal["openai", "anthropic", "google", "together"]
_LOOKS_LIKE_KEY = re.compile(r"^(sk-|sk_|AIza|tgp_v1_|gsk_|xai-|pk-)|^[A-Za-z0-9_-]{40,}$")


def _refuse_key(value: str) -> str:
    # The value itself must not be printed: it may be the key.
    if _LOOKS_LIKE_KEY.search(value):
        raise ValueError("this looks like a key; name the secret that holds it, never write it here")
    return value


SecretName = Annotated[str, Field(min_length=1), AfterValidator(_refuse_key)]
"""Name of a secret in the configured source, for example `openai/api_key`."""


class Limits(Frozen):
    """Per key: requests and tokens per minute; absent means that the provider states none."""

    rpm: int | None = Field(default=None, ge=1)
    tpm: int | None = Field(default=None, ge=1)


class Provider(Frozen):
    """One account at one provider. `models` maps our names to the provider's ids; empty: the catalogue's."""

    name: str = Field(min_length=1, pattern=r"^[a-z0-9][a-z0-9_-]*$")
    kind: ProviderKind
    tier: Tier = "premium"
    base_url: str = Field(default="", pattern=r"^(https?://\S+)?$", description="absent: the SDK's own")
    secrets: tuple[SecretName, ...] = Field(
        default=(), description="one key each; none for a server without keys"
    )
    limits: Limits = Limits()
    models: FrozenMap[str, str] = Field(default_factory=FrozenDict)
    max_concurrency: int = Field(default=64, ge=1)
    timeout_s: float = Field(
        default=600.0, gt=0, description="longest a call may take when its caller sets no deadline"
    )
    key_rotation_days: int = Field(default=30, ge=1)
