"""How far the weights are, in layers and bytes, from the modules that exllamav2 loads one by one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from orchestra_inference_node.ports import LoadMoved


class Progress:
    """Of one or two models, one after the other."""

    def __init__(self, moved: Callable[[LoadMoved], None]) -> None:
        self._moved = moved
        self._bytes_before = self._layers_before = 0
        self._bytes_total = self._layers_total = 0

    def expect(self, models: Sequence[Sequence[Any]]) -> None:
        """The modules that there will be."""
        self._bytes_total = sum(module.weight_footprint() for modules in models for module in modules)
        self._layers_total = sum(_layers(modules) for modules in models)
        self._tell(0, 0)

    def of(self, modules: Sequence[Any]) -> Callable[[int, int], None]:
        """What exllamav2 calls before each module of a model with how many are loaded, and after the last."""
        done = list(modules)
        sizes = [module.weight_footprint() for module in done]

        def moved(loaded: int, total: int) -> None:
            self._tell(sum(sizes[:loaded]), _layers(done[:loaded]))
            if loaded == total:
                self._bytes_before += sum(sizes)
                self._layers_before += _layers(done)

        return moved

    def _tell(self, size: int, layers: int) -> None:
        self._moved(
            LoadMoved(
                bytes_done=self._bytes_before + size,
                bytes_total=self._bytes_total,
                layers_done=self._layers_before + layers,
                layers_total=self._layers_total,
            )
        )


def _layers(modules: Sequence[Any]) -> int:
    """Whole layers among the first modules of a model: each begins with its attention."""
    return len({module.layer_idx for module in modules if getattr(module, "layer_idx", None) is not None})
