"""A real llama-server as a process of its own: an engine's package opens one, and its HTTP is what counts."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from orchestra_testing.nodes import free_port

# not imported here: the engine's package belongs to the node alone
_SERVE = """
import json, sys
import xllamacpp
asked = json.loads(sys.argv[1])
params = xllamacpp.CommonParams()
params.model.path = asked["path"]
params.hostnames = ["127.0.0.1"]
params.port = asked["port"]
params.n_ctx = asked["context_tokens"] * asked["slots"]
params.n_parallel = asked["slots"]
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
params.n_batch = params.n_ubatch = 128
params.cache_ram_mib = 0
params.ui = False
params.warmup = False
params.embedding = asked["embeddings"]
if asked["embeddings"]:
    params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
params.api_keys = asked["keys"]
server = xllamacpp.Server(params)
print("listening", flush=True)
sys.stdin.read()
"""


@dataclass
class LlamaServerProcess:
    """Listens on `port` of 127.0.0.1 from `start` on, each slot with `context_tokens`."""

    path: Path
    slots: int = 4
    context_tokens: int = 512
    embeddings: bool = False
    keys: list[str] = field(default_factory=list)
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> LlamaServerProcess:
        """Return once it answers. It ends with this process at the latest."""
        asked = {
            "path": str(self.path),
            "port": self.port,
            "slots": self.slots,
            "context_tokens": self.context_tokens,
            "embeddings": self.embeddings,
            "keys": self.keys,
        }
        self.process = subprocess.Popen(
            [sys.executable, "-c", _SERVE, json.dumps(asked)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line == b"listening\n":
                return self
        raise AssertionError(f"no llama-server: it ended with {self.process.wait()}")

    def kill(self) -> None:
        """As a crash would."""
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None
