"""What both kinds of models are loaded with."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from tokenizers import Tokenizer

from orchestra_errors import DataLoss
from orchestra_inference_node.adapters.cores import half_the_cores
from orchestra_inference_node.adapters.ctranslate2.folder import TranslatorFolder
from orchestra_inference_node.ports import LoadSettings

NAME = "ctranslate2"
DEFAULT_CONTEXT = 512


def build() -> str:
    return f"ctranslate2 {version('ctranslate2')}"


def loaded(kind: Any, folder: TranslatorFolder, settings: LoadSettings, slots: int) -> Any:
    """A Translator or an Encoder, with a thread for each slot. Raises DataLoss."""
    threads = int(settings.options.get("threads", 0)) or settings.device_threads or half_the_cores()
    try:
        return kind(
            str(folder.path),
            device="cpu",
            compute_type=settings.options.get("compute_type", "default"),
            inter_threads=slots,
            # the slots share the cores: each computes with its part
            intra_threads=max(1, threads // slots),
        )
    except (RuntimeError, ValueError) as error:
        raise DataLoss(str(folder.path), str(error)) from error


def tokenizer_of(folder: TranslatorFolder) -> Tokenizer:
    """Cuts and pads nothing, whatever its file says. Raises DataLoss."""
    path = folder.path / "tokenizer.json"
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:
        # the library raises no narrower kind
        raise DataLoss(str(path), str(error)) from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer
