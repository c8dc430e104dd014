"""How soon an engine's slot is free again once its caller has gone.

A stream through the router is cancelled after its first token, or runs into its deadline; the node is then
asked until its worker has every slot free. So each figure holds one or more looks of a few milliseconds. The
last line is JSON in milliseconds: the median and the longest of the cancelled, the median of the expired.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time

from orchestra.inference.v1 import inference_service_pb2 as node_pb
from orchestra.inference.v1 import inference_service_pb2_grpc as node_grpc
from orchestra.router.v1 import router_service_pb2_grpc as pb_grpc
from orchestra_errors import OrchestraError
from orchestra_rpc import call_stream, open_channel
from orchestra_stack import StackError
from orchestra_testing import SMOL, LocalMesh, generate_request

ROUNDS = 20
BOUND_MS = 200.0
LONG_TOKENS = 1500
DEADLINE_S = 1.0


async def freed_ms(node: node_grpc.InferenceServiceAsyncStub) -> float:
    """Milliseconds from now until no slot is taken."""
    began = time.perf_counter()
    while True:
        answer = await node.GetNode(node_pb.GetNodeRequest(), timeout=5)
        worker = next(one for one in answer.node.workers if one.model == SMOL)
        if worker.slots_free == worker.slots_total:
            return (time.perf_counter() - began) * 1000


async def cancelled(
    router: pb_grpc.RouterServiceAsyncStub, node: node_grpc.InferenceServiceAsyncStub
) -> float:
    async with call_stream(router.Generate(generate_request(max_tokens=LONG_TOKENS))) as answers:
        async for answer in answers:
            if answer.event.HasField("text_delta"):
                break
    return await freed_ms(node)


async def expired(router: pb_grpc.RouterServiceAsyncStub, node: node_grpc.InferenceServiceAsyncStub) -> float:
    try:
        request = generate_request(max_tokens=LONG_TOKENS)
        async with call_stream(router.Generate(request, timeout=DEADLINE_S)) as answers:
            async for _ in answers:
                pass
    except OrchestraError:
        return await freed_ms(node)
    raise RuntimeError("the answer was whole before its deadline: nothing was measured")


async def measure(mesh: LocalMesh) -> dict[str, float]:
    to_router, to_node = open_channel(mesh.router), open_channel(mesh.address("node-a"))
    router: pb_grpc.RouterServiceAsyncStub = pb_grpc.RouterServiceStub(to_router)
    node: node_grpc.InferenceServiceAsyncStub = node_grpc.InferenceServiceStub(to_node)
    try:
        gone = [await cancelled(router, node) for _ in range(ROUNDS)]
        print(f"  cancelled after the first token: {', '.join(f'{ms:.0f}' for ms in gone)} ms")
        late = [await expired(router, node) for _ in range(ROUNDS // 4)]
        print(f"  deadline expired:                {', '.join(f'{ms:.0f}' for ms in late)} ms")
    finally:
        await asyncio.gather(to_router.close(), to_node.close())
    middle = statistics.median(gone)
    print(
        f"  median {middle:.0f} ms of at most {BOUND_MS:.0f}: {'well' if middle <= BOUND_MS else 'TOO MUCH'}"
    )
    return {
        "cancel_p50_ms": round(middle, 1),
        "cancel_max_ms": round(max(gone), 1),
        "deadline_p50_ms": round(statistics.median(late), 1),
    }


def main() -> int:
    try:
        with LocalMesh() as mesh:
            print(f"{ROUNDS} rounds through router and worker, {SMOL}")
            print(json.dumps(asyncio.run(measure(mesh))))
    except StackError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
