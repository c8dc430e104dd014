"""What tests of the mesh stand on: the real mesh on free ports, a trace receiver, clocks, model files."""

from .clock import FakeClock
from .llama_servers import LlamaServerProcess
from .local_mesh import LocalMesh
from .models import model_file
from .otlp import OtlpReceiver, SeenSpan
from .requests import GEMMA, MINILM, SMOL, generate_request

__all__ = [
    "GEMMA",
    "MINILM",
    "SMOL",
    "FakeClock",
    "LlamaServerProcess",
    "LocalMesh",
    "OtlpReceiver",
    "SeenSpan",
    "generate_request",
    "model_file",
]
