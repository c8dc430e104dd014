"""llama.cpp by its binding alone, in a process of its own: what the node's throughput is measured against.

Reads one JSON object a line from stdin ({"parallel", "tokens"}), answers each with one on stdout ({"tokens",
"seconds", "first_token_s"}).
"""

from __future__ import annotations

import json
import sys
import tempfile
import threading
import time
from typing import Any

import xllamacpp


def load(path: str, folder: str, slots: int, context: int, threads: int) -> Any:
    """A server with the settings that the node gives it."""
    params = xllamacpp.CommonParams()
    params.model.path = path
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.n_ctx = context * slots
    params.n_parallel = slots
    params.n_batch = params.n_ubatch = 128
    params.cache_ram_mib = 0
    params.hostnames = [f"{folder}/raw.sock"]
    params.ui = False
    params.warmup = False
    params.verbosity = -1
    return xllamacpp.Server(params)


class Request:
    """One streamed request, read as a program would that wants the text."""

    def __init__(self, prompt: str, tokens: int) -> None:
        self._payload = json.dumps(
            {"prompt": prompt, "stream": True, "n_predict": tokens, "temperature": 0.0, "top_k": 1}
        ).encode()
        self.text = ""
        self.tokens = 0
        self.first_s: float | None = None

    def run(self, server: Any) -> None:
        begin = time.perf_counter()

        def on_chunk(chunk: bytes) -> bool:
            if self.first_s is None:
                self.first_s = time.perf_counter() - begin
            said = json.loads(chunk)
            self.text += said["choices"][0]["text"]
            if (usage := said.get("usage")) is not None:
                self.tokens = usage["completion_tokens"]
            return False

        server.handle_completions(self._payload, on_chunk)


def main() -> None:
    path, prompt, slots, context, threads = sys.argv[1:6]
    with tempfile.TemporaryDirectory(prefix="raw-engine-") as folder:
        serve(load(path, folder, int(slots), int(context), int(threads)), prompt)


def serve(server: Any, prompt: str) -> None:
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        requests = [Request(prompt, asked["tokens"]) for _ in range(asked["parallel"])]
        workers = [threading.Thread(target=request.run, args=(server,)) for request in requests]
        begin = time.perf_counter()
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        seconds = time.perf_counter() - begin
        answer = {
            "tokens": sum(request.tokens for request in requests),
            "seconds": seconds,
            "first_token_s": requests[0].first_s,
        }
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
