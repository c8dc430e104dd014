"""How soon the six services are ready, and how much memory they hold, without a model.

`ready_s` is the median of three cold starts, from the first process to the last health check. `rss_mb` is the
sum of the resident memory of all processes and their children, in MB as `free -m` counts them (2^20 bytes):
libraries that they share count once for each. What they take together, each shared page once, is printed.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

import psutil

from orchestra_stack import Mesh, PortPlan, StackError, write_local
from orchestra_stack.deployment import local_template
from orchestra_stack.progress import Lines

RUNS = 3
MB = 2**20
SETTLE_S = 2.0
READY_BOUND_S, RSS_BOUND_MB = 5.0, 400.0


def template_of_one_node() -> str:
    """The local deployment with its first node alone."""
    lines, kept, inside = local_template().splitlines(keepends=True), [], False
    for line in lines:
        if line.startswith("  - id: "):
            inside = "node-b" in line
        elif inside and not line.startswith("    "):
            inside = False
        if not inside and "node: node-b" not in line:
            kept.append(line)
    return "".join(kept)


def shared_once(mesh: Mesh) -> int:
    """Bytes of all processes together, each shared page divided among those who share it."""
    total = 0
    for instance in mesh.deployment.instances:
        process = psutil.Process(mesh.process(instance.name).pid)
        for one in (process, *process.children(recursive=True)):
            total += getattr(one.memory_full_info(), "pss", 0)
    return total


async def one_run(folder: Path) -> tuple[float, dict[str, int], int]:
    """Start, let settle, measure, stop."""
    plan = PortPlan.free(("node-a",))
    deployment = write_local(
        "footprint", folder, folder / "models", plan, with_models=False, template=template_of_one_node()
    )
    mesh = Mesh(deployment, tied=True, progress=Lines(len(deployment.instances)))
    try:
        await mesh.start()
        await asyncio.sleep(SETTLE_S)
        memory = mesh.memory()
        shared = shared_once(mesh)
    finally:
        mesh.stop_now()
    assert mesh.ready_s is not None
    return mesh.ready_s, memory, shared


def main() -> int:
    ready, memories, shared = [], [], 0
    for run in range(RUNS):
        folder = Path(tempfile.mkdtemp(prefix="orch-foot-"))
        began = time.monotonic()
        try:
            ready_s, memory, shared = asyncio.run(one_run(folder))
        except StackError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        ready.append(ready_s)
        memories.append(memory)
        print(
            f"run {run + 1} of {RUNS}: ready after {ready_s:.2f} s, "
            f"whole run {time.monotonic() - began:.1f} s"
        )
    totals = [sum(memory.values()) for memory in memories]
    middle = memories[totals.index(sorted(totals)[RUNS // 2])]
    for name, size in sorted(middle.items(), key=lambda pair: -pair[1]):
        print(f"  {name:<16} {size / MB:6.1f} MB")
    print(f"  together, shared pages counted once: {shared / MB:.1f} MB")
    ready_s, rss_mb = statistics.median(ready), sum(middle.values()) / MB
    for what, value, bound in (("ready_s", ready_s, READY_BOUND_S), ("rss_mb", rss_mb, RSS_BOUND_MB)):
        print(f"  {what} {value:.1f} of at most {bound:g}: {'well' if value <= bound else 'TOO MUCH'}")
    print(json.dumps({"ready_s": round(ready_s, 2), "rss_mb": round(rss_mb, 1)}))
    return 0 if ready_s <= READY_BOUND_S and rss_mb <= RSS_BOUND_MB else 1


if __name__ == "__main__":
    sys.exit(main())
