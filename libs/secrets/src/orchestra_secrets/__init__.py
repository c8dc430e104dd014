"""Secrets that never print themselves, and where they come from."""

from orchestra_secrets.secret import Secret, SecretInvalid
from orchestra_secrets.sources import (
    ChainSecretSource,
    EnvSecretSource,
    FileSecretSource,
    SecretMissing,
    SecretSource,
)

__all__ = [
    "ChainSecretSource",
    "EnvSecretSource",
    "FileSecretSource",
    "Secret",
    "SecretInvalid",
    "SecretMissing",
    "SecretSource",
]
