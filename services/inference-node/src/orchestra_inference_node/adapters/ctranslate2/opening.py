"""Which of the two kinds a folder holds, and what both are loaded with."""

from __future__ import annotations

from pathlib import Path

from orchestra_inference_node.adapters.ctranslate2.folder import WRITES, TranslatorFolder
from orchestra_inference_node.adapters.ctranslate2.reading import ReadingEngine
from orchestra_inference_node.adapters.ctranslate2.writing import WritingEngine
from orchestra_inference_node.ports import Engine, LoadSettings


def open_model(settings: LoadSettings) -> Engine:
    """Raises what `TranslatorFolder.read` does, and DataLoss for files that the library cannot load."""
    folder = TranslatorFolder.read(Path(settings.path))
    return WritingEngine(folder, settings) if folder.model.kind == WRITES else ReadingEngine(folder, settings)
