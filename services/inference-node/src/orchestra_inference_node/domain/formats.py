"""What a model is stored as."""

from __future__ import annotations

from enum import Enum


class ModelFormat(Enum):
    """The value is for people."""

    GGUF = "a GGUF file"
    EXL2 = "a folder of safetensors with config.json"
    ONNX = "a folder with an ONNX model and tokenizer.json"
    CTRANSLATE2 = "a folder of CTranslate2"
    SERVER = "a server that runs already"
    NONE = "what is only declared"
