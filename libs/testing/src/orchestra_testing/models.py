"""The small real models, for tests that need a path and no mesh."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from orchestra_stack.home import models_folder
from orchestra_stack.model_files import GEMMA3, MINILM, MINILM_TOKENS, SMOLLM2, place, sources


@cache
def model_file(name: str) -> Path:
    """The weights of `smollm2-135m` or `gemma3-270m`, or the folder of `minilm-l6`, whole and checked.

    KeyError for another name; StackError when a package that holds it is not installed.
    """
    files = {"smollm2-135m": [SMOLLM2], "gemma3-270m": [GEMMA3], "minilm-l6": [MINILM, MINILM_TOKENS]}[name]
    if files == [SMOLLM2]:
        # one whole file in its package: nothing to join, nothing to copy
        return sources(SMOLLM2)[0]
    folder = models_folder()
    return folder / place(folder, files)[0].relative_to(folder).parts[0]
