"""Texts that the configuration's tests read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from orchestra_config import Config, ConfigError, loads

BLOCKS = Path(__file__).parent / "blocks"


@pytest.fixture
def block() -> Callable[[str], str]:
    """The text of a configuration block, cut from the paper as printed."""
    return lambda name: (BLOCKS / name).read_text(encoding="utf-8")


@pytest.fixture
def read() -> Callable[..., Config]:
    """Read a configuration from text; keyword arguments are its environment."""
    return lambda text, **environment: loads(text, file="x.yaml", environment=environment)


@pytest.fixture
def mistakes() -> Callable[..., list[str]]:
    """The mistakes of a text, as printed."""

    def told(text: str, **environment: str) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            loads(text, file="x.yaml", environment=environment)
        return [str(problem) for problem in caught.value.problems]

    return told
