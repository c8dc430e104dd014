"""What the node's gRPC costs: its throughput and its first token against the engine alone.

The same model with the same settings is held by a node (daemon and worker) and by llama.cpp's binding in a
process of its own. Rounds alternate between the two, and which one begins alternates too, because a shared
machine swings; the medians of each are compared. The node's worker is called directly, as the router does.
The last line is JSON: node over raw in generated tokens per second at 1, 4 and 8 requests at once, and by how
many milliseconds the node's first token comes later.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from orchestra.inference.v1 import inference_service_pb2 as pb
from orchestra.inference.v1 import inference_service_pb2_grpc as pb_grpc
from orchestra_rpc import call_stream, open_channel
from orchestra_testing import model_file

MODEL = "smollm2-135m"
PROMPT = "Once upon a time there was a king who"
SLOTS, CONTEXT, THREADS = 8, 1024, 1
PARALLEL = (1, 4, 8)
TOKENS = {1: 96, 4: 64, 8: 48}
ROUNDS = 9
FIRST_TOKEN_ROUNDS = 25
LEAST_RATIO, MOST_LATER_MS = 0.95, 15.0


@dataclass
class Seen:
    """Tokens per second by parallel requests, and seconds to the first token."""

    speeds: dict[int, list[float]] = field(default_factory=lambda: {count: [] for count in PARALLEL})
    first_s: list[float] = field(default_factory=list)


class Raw:
    """The engine alone."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    async def ask(self, parallel: int, tokens: int) -> tuple[float, float]:
        """Tokens per second, and seconds to the first token."""
        answer = await asyncio.to_thread(self._ask, parallel, tokens)
        return answer["tokens"] / answer["seconds"], answer["first_token_s"]

    def _ask(self, parallel: int, tokens: int) -> dict[str, float]:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps({"parallel": parallel, "tokens": tokens}) + "\n")
        self._process.stdin.flush()
        answer: dict[str, float] = json.loads(self._process.stdout.readline())
        return answer


@contextmanager
def raw_engine() -> Iterator[Raw]:
    command = [sys.executable, str(Path(__file__).with_name("raw_engine.py")), str(model_file(MODEL)), PROMPT]
    command += [str(SLOTS), str(CONTEXT), str(THREADS)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None and process.stdout is not None
    process.stdout.readline()
    try:
        yield Raw(process)
    finally:
        process.stdin.close()
        process.wait(10)


class Node:
    """The worker of a node."""

    def __init__(self, stub: pb_grpc.InferenceServiceAsyncStub) -> None:
        self._stub = stub

    async def ask(self, parallel: int, tokens: int) -> tuple[float, float]:
        """Tokens per second, and seconds to the first token."""
        begin = time.perf_counter()
        drawn = await asyncio.gather(*(self._one(tokens) for _ in range(parallel)))
        seconds = time.perf_counter() - begin
        return sum(count for count, _ in drawn) / seconds, drawn[0][1]

    async def _one(self, tokens: int) -> tuple[int, float]:
        request = pb.GenerateRequest()
        request.generation.text = PROMPT
        request.generation.routing.model = MODEL
        sampling = request.generation.sampling
        sampling.temperature, sampling.top_k, sampling.max_tokens = 0.0, 1, tokens
        begin, first, text, count = time.perf_counter(), None, "", 0
        async with call_stream(self._stub.Generate(request)) as answers:
            async for answer in answers:
                event = answer.event
                match event.WhichOneof("event"):
                    case "text_delta":
                        first = first or time.perf_counter() - begin
                        text += event.text_delta.text
                    case "finished":
                        count = event.finished.usage.completion_tokens
        if first is None or not text:
            raise RuntimeError("the node answered nothing")
        return count, first


def free_ports(count: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


@asynccontextmanager
async def node() -> AsyncIterator[Node]:
    own, worker = free_ports(2)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        config = Path(folder, "orchestra.yaml")
        config.write_text(
            f"nodes:\n  - {{id: bench, address: '127.0.0.1:{own}', worker_ports: {worker}-{worker},\n"
            f"     devices: [{{id: cpu0, kind: cpu, threads: {THREADS}}}]}}\n"
            "addresses: {model_manager: '127.0.0.1:1'}\n"
        )
        env = os.environ | {
            "ORCHESTRA_CONFIG": str(config),
            "ORCHESTRA_STATE_DIR": f"{folder}/state",
            "ORCHESTRA_METRICS_PORT": "0",
            "ORCHESTRA_LOG_LEVEL": "error",
        }
        process = subprocess.Popen([sys.executable, "-m", "orchestra_inference_node"], env=env)
        try:
            async with open_channel(f"127.0.0.1:{own}") as channel:
                await channel.channel_ready()
                address = await load(pb_grpc.InferenceServiceStub(channel))
            async with open_channel(address) as channel:
                yield Node(pb_grpc.InferenceServiceStub(channel))
        finally:
            process.terminate()
            process.wait(30)


async def load(stub: pb_grpc.InferenceServiceAsyncStub) -> str:
    """The worker's address."""
    spec = pb.ModelSpec(
        model=MODEL, path=str(model_file(MODEL)), context_tokens=CONTEXT, slots=SLOTS, chat=True
    )
    async with call_stream(stub.LoadModel(pb.LoadModelRequest(spec=spec))) as moves:
        moves_seen = [move async for move in moves]
    return str(moves_seen[-1].worker.address)


async def measure() -> dict[int | str, tuple[float, float]]:
    """Medians by parallel requests, and of the first token: raw, node."""
    seen = {"raw": Seen(), "node": Seen()}
    with raw_engine() as raw:
        async with node() as served:
            asked = {"raw": raw.ask, "node": served.ask}
            for ask in asked.values():
                await ask(SLOTS, 8)
            for turn in range(ROUNDS):
                order = ["raw", "node"] if turn % 2 == 0 else ["node", "raw"]
                for count in PARALLEL:
                    for who in order:
                        speed, _ = await asked[who](count, TOKENS[count])
                        seen[who].speeds[count].append(speed)
                print(f"  round {turn + 1} of {ROUNDS}", end="\r", file=sys.stderr, flush=True)
            for turn in range(FIRST_TOKEN_ROUNDS):
                for who in ["raw", "node"] if turn % 2 == 0 else ["node", "raw"]:
                    seen[who].first_s.append((await asked[who](1, 2))[1])
    found: dict[int | str, tuple[float, float]] = {}
    print(f"{'':>12}{'raw':>22}{'node':>22}{'node/raw':>10}   median (least to most) of {ROUNDS}")
    for count in PARALLEL:
        lists = [seen[who].speeds[count] for who in ("raw", "node")]
        raw_m, node_m = map(statistics.median, lists)
        found[count] = raw_m, node_m
        shown = [f"{statistics.median(one):.1f} ({min(one):.0f} to {max(one):.0f})" for one in lists]
        print(f"{count:>3} at once {shown[0]:>22}{shown[1]:>22}{node_m / raw_m:>10.3f}   tokens/s")
    firsts = [[second * 1000 for second in seen[who].first_s] for who in ("raw", "node")]
    found["first"] = statistics.median(firsts[0]), statistics.median(firsts[1])
    shown = [f"{statistics.median(one):.1f} ({min(one):.0f} to {max(one):.0f})" for one in firsts]
    later = found["first"][1] - found["first"][0]
    print(f"first token {shown[0]:>22}{shown[1]:>22}{later:>+10.1f}   ms, median of {FIRST_TOKEN_ROUNDS}")
    return found


def main() -> int:
    print(f"{MODEL}, {SLOTS} slots of {CONTEXT} tokens, {THREADS} thread each, greedy")
    found = asyncio.run(measure())
    ratios = {f"ratio_{count}": round(found[count][1] / found[count][0], 3) for count in PARALLEL}
    later = round(found["first"][1] - found["first"][0], 1)
    well = all(ratio >= LEAST_RATIO for ratio in ratios.values()) and later <= MOST_LATER_MS
    if not well:
        print(f"beyond the bounds: every ratio at least {LEAST_RATIO}, at most {MOST_LATER_MS:g} ms later")
    print(json.dumps(ratios | {"ttft_over_raw_ms": later}))
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
