"""Where local meshes keep their state: one folder per mesh under a home, models beside them."""

from __future__ import annotations

import os
from pathlib import Path

HOME_VARIABLE = "ORCHESTRA_HOME"
MODELS_VARIABLE = "ORCHESTRA_MODELS_DIR"


def home() -> Path:
    """`$ORCHESTRA_HOME`, or `.orchestra` in the current folder; made if need be, hidden from git."""
    path = Path(os.environ.get(HOME_VARIABLE) or ".orchestra").absolute()
    path.mkdir(parents=True, exist_ok=True)
    ignore = path / ".gitignore"
    if not ignore.exists():
        ignore.write_text("*\n", encoding="utf-8")
    return path


def models_folder() -> Path:
    """`$ORCHESTRA_MODELS_DIR`, or `models` in the home."""
    named = os.environ.get(MODELS_VARIABLE)
    return Path(named).absolute() if named else home() / "models"
