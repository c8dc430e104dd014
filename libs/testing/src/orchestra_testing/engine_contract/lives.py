"""Loading, dying, coming back, going."""

from __future__ import annotations

import asyncio
import os
import signal

import psutil
import pytest

from orchestra.inference.v1 import inference_service_pb2 as pb
from orchestra.inference.v1 import node_pb2
from orchestra_errors import (
    FailedPrecondition,
    InvalidRequest,
    NotFound,
    OrchestraError,
    WorkerLost,
)
from orchestra_rpc import call_unary
from orchestra_testing.engine_contract.batches import item, run_batch
from orchestra_testing.engine_contract.given import Given
from orchestra_testing.nodes import NodeClient, NodeProcess


class LifeContract(Given):
    """A model's process is nobody else's trouble."""

    async def test_progress_moves_through_every_stage(self, node: NodeClient) -> None:
        moves = await node.load(model="watched", slots=1)
        await node.unload("watched")
        stages = [move.progress.stage for move in moves]
        assert stages == sorted(stages)
        assert node_pb2.LOAD_STAGE_LOADING_WEIGHTS in stages
        assert stages[-1] == node_pb2.LOAD_STAGE_READY
        moved = {(move.progress.bytes_done, move.progress.layers_done) for move in moves}
        assert len(moved) > 1 and len({move.progress.elapsed.ToNanoseconds() for move in moves}) > 2
        served = moves[-1].worker
        assert served.address and served.revision and served.capabilities.context_tokens > 0
        assert (served.slots_total, served.slots_free) == (1, 1)

    async def test_a_model_is_held_in_one_way(self, node: NodeClient) -> None:
        again = await node.load()
        assert again[-1].progress.stage == node_pb2.LOAD_STAGE_READY
        with pytest.raises(FailedPrecondition):
            await node.load(slots=1)

    async def test_an_option_that_the_engine_has_not_is_refused(self, node: NodeClient) -> None:
        with pytest.raises(InvalidRequest, match="no_such_option"):
            await node.load(model="other", engine_options={"no_such_option": "1"})

    async def test_a_killed_worker_fails_only_its_own_requests_and_comes_back(
        self, daemon: NodeProcess, node: NodeClient, alone: NodeClient, can: node_pb2.Capabilities
    ) -> None:
        victim = await alone.worker()
        spared = asyncio.create_task(node.events(node.ask(max_tokens=40)))
        running = asyncio.create_task(alone.events(self.endless(alone, can)))
        await alone.until_worker(lambda seen: seen.slots_free == 0)
        batch = pb.GenerateBatchRequest()
        item(batch, "b", alone.ask())
        in_batch = asyncio.create_task(run_batch(alone, batch))
        await alone.until_worker(lambda seen: seen.queued == 1)
        os.kill(daemon.worker_pid(victim.address), signal.SIGKILL)
        # promised within 1 s
        async with asyncio.timeout(5):
            with pytest.raises(WorkerLost) as lost:
                await running
            answers = await in_batch
        assert lost.value.status_code == "UNAVAILABLE" and lost.value.retry_after
        last = answers[-1].events[-1]
        assert last.correlation_id == "b" and last.event.HasField("sample_failed")
        assert (await spared)[-1].HasField("finished")
        # loading takes what it takes
        back = await alone.until_worker(lambda seen: seen.restarts == 1 and bool(seen.address), seconds=120.0)
        assert back.worker_id == victim.worker_id
        assert back.instance_id != victim.instance_id
        assert (await alone.events(alone.ask()))[-1].HasField("finished")
        assert (await node.worker()).restarts == 0

    async def test_an_unload_lets_finish_ends_the_process_and_says_what_it_freed(
        self, daemon: NodeProcess, alone: NodeClient, can: node_pb2.Capabilities
    ) -> None:
        pid = daemon.worker_pid((await alone.worker()).address)
        asked = self.endless(alone, can)
        asked.generation.sampling.max_tokens = 60
        running = asyncio.create_task(alone.events(asked))
        await alone.until_worker(lambda seen: seen.slots_free == 0)
        done = await alone.unload(drain_s=30)
        assert done.was_loaded and done.memory_freed_bytes > 10_000_000 and done.cancelled_requests == 0
        assert (await running)[-1].HasField("finished")
        assert not psutil.pid_exists(pid)
        with pytest.raises(NotFound):
            await alone.events(alone.ask())
        assert not (await alone.unload()).was_loaded

    async def test_an_unload_cuts_what_outlasts_the_drain(
        self, alone: NodeClient, can: node_pb2.Capabilities
    ) -> None:
        running = asyncio.create_task(alone.events(self.endless(alone, can)))
        await alone.until_worker(lambda seen: seen.slots_free == 0)
        done = await alone.unload(drain_s=0.1)
        assert done.cancelled_requests == 1
        with pytest.raises(OrchestraError) as cut:
            await running
        assert cut.value.status_code == "UNAVAILABLE"

    async def test_a_worker_leaves_to_its_daemon_what_is_the_hosts(self, worker: NodeClient) -> None:
        with pytest.raises(FailedPrecondition, match="daemon"):
            await call_unary(worker.stub.GetNode(pb.GetNodeRequest()))
