"""exllamav2 with its arithmetic replaced by a script; everything else of it is what pip installed.

`install` waits for the engine's import, so that a process that never loads it (a node's daemon) pays nothing.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

_ENGINE = "exllamav2"


class _Loader:
    """Loads the real package, then puts the script in."""

    def __init__(self, real: Any) -> None:
        self._real = real

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        made: ModuleType | None = self._real.create_module(spec)
        return made

    def exec_module(self, module: ModuleType) -> None:
        from scripted_exllamav2 import cards

        cards.put_in()
        self._real.exec_module(module)
        from scripted_exllamav2 import modules

        modules.put_in()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


class _Finder:
    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != _ENGINE:
            return None
        sys.meta_path.remove(self)  # type: ignore[arg-type]
        try:
            spec = importlib.util.find_spec(name)
        finally:
            sys.meta_path.insert(0, self)  # type: ignore[arg-type]
        if spec is not None:
            spec.loader = _Loader(spec.loader)  # type: ignore[assignment]
        return spec


def install() -> None:
    """From now on, whoever imports exllamav2 in this process gets it scripted."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())  # type: ignore[arg-type]
