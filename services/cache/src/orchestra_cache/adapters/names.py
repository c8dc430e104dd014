"""What things are called in the store. Braces are hash tags: what one script touches lies in one slot of a
cluster."""

from __future__ import annotations

import hashlib

PREFIX = "oc:"
SETS = f"{PREFIX}s:{{*}}"
"""Matches every sample set."""


def set_of(key: str) -> str:
    return f"{PREFIX}s:{{{key}}}"


def lease_of(key: str) -> str:
    return f"{PREFIX}l:{{{key}}}"


def stream_of(key: str) -> str:
    return f"{PREFIX}e:{{{key}}}"


def replay_of(tenant: str, request_id: str) -> str:
    # a separator alone would let two pairs of names run together
    return f"{PREFIX}p:{{{digest(f'{len(tenant)}:{tenant}{request_id}', 16).hex()}}}"


def digest(text: str, size: int) -> bytes:
    """`size` bytes that stand for `text`."""
    return hashlib.sha256(text.encode()).digest()[:size]


def rollout(rollout_id: str) -> bytes:
    """Empty for no rollout."""
    return digest(rollout_id, 12) if rollout_id else b""


def sample(sample_id: str) -> bytes:
    return digest(sample_id, 12)


def run(run_id: str) -> bytes:
    return digest(run_id, 8)
