"""The small real models, for tests that need a path and no mesh."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from orchestra_stack.home import models_folder
from orchestra_stack.model_files import GEMMA3, MODEL_FILES, SMOLLM2, place, sources


@cache
def model_file(name: str) -> Path:
    """The weights of `smollm2-135m` or `gemma3-270m`, whole and checked.

    KeyError for another name; StackError when the package that holds it is not installed.
    """
    file = {path.name.removesuffix(".gguf"): path for path in MODEL_FILES}[name]
    if file is SMOLLM2:
        # one whole file in its package: nothing to join, nothing to copy
        return sources(file)[0]
    return place(models_folder(), [GEMMA3])[0]
