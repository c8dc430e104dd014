"""Composition root of the daemon."""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path

from orchestra.inference.v1 import inference_service_pb2_grpc as pb_grpc
from orchestra_inference_node.adapters.engines import (
    PRETENDING_ENGINES,
    check_options,
    engine_uses,
    inspect_files,
    memory_needed,
)
from orchestra_inference_node.adapters.fast_tier import FastTier
from orchestra_inference_node.adapters.formats import stored_as
from orchestra_inference_node.adapters.host import read_cpu
from orchestra_inference_node.adapters.kept_speeds import KeptSpeeds
from orchestra_inference_node.adapters.manager_link import ManagerLink
from orchestra_inference_node.adapters.nvml import Nvml
from orchestra_inference_node.adapters.power import CpuPackages, DeviceMeters
from orchestra_inference_node.adapters.weights import CheckedFiles
from orchestra_inference_node.adapters.worker_channels import WorkerChannels
from orchestra_inference_node.adapters.worker_metrics import WorkerMetrics
from orchestra_inference_node.adapters.worker_probe import WorkerProbe
from orchestra_inference_node.adapters.worker_process import ChildProcesses
from orchestra_inference_node.config import Deployed, Settings, declared_devices
from orchestra_inference_node.domain.inventory import facts_of, usable_cards, visible_cards
from orchestra_inference_node.domain.resident import Resident
from orchestra_inference_node.flows.changes import Changes
from orchestra_inference_node.flows.gauges import Gauges
from orchestra_inference_node.flows.making_room import MakingRoom
from orchestra_inference_node.flows.measuring import Measuring
from orchestra_inference_node.flows.placing import Placing
from orchestra_inference_node.flows.prefetching import Prefetching
from orchestra_inference_node.flows.residency import Residency
from orchestra_inference_node.flows.watching import DeviceWatch
from orchestra_inference_node.rpc.daemon_servicer import DaemonServicer
from orchestra_inference_node.rpc.device_messages import device_message
from orchestra_inference_node.rpc.forwarding import Forwarding
from orchestra_inference_node.rpc.node_messages import NodeIdentity, NodeMessages
from orchestra_inference_node.worker.order import Order
from orchestra_rpc import Background, Service, Shutdown, serve
from orchestra_telemetry import Telemetry

SERVICE = "orchestra.inference.v1.InferenceService"
WATCH = f"/{SERVICE}/WatchNode"
LOAD = f"/{SERVICE}/LoadModel"
PREFETCH = f"/{SERVICE}/PrefetchModel"


async def run(settings: Settings, here: Deployed, on_bound: Callable[[str, int], None] | None = None) -> None:
    """Serve until told to stop. Raises PortInUse and MetricsPortInUse."""
    instance = uuid.uuid4().hex
    listen = settings.listen or here.node.address
    telemetry = Telemetry.start(
        "inference-node",
        instance=instance,
        otlp_endpoint=settings.otlp_endpoint or None,
        metrics_port=settings.metrics_port,
        metrics_host=settings.metrics_host,
    )
    changes = Changes()
    watch = DeviceWatch(
        declared_devices(here.node),
        None if here.node.engine == "simulated" else Nvml(),
        read_cpu,
        changes,
    )
    await watch.refresh()
    tier = FastTier(here.node.fast_tier, settings.prefetch_mb_s * 1e6)
    placing = Placing(
        lambda: {now.declared.device_id: facts_of(now) for now in watch.devices},
        here.node.reserved,
        here.node.engine,
        await asyncio.to_thread(engine_uses, usable_cards(watch.devices)),
        lambda path: stored_as(tier.choose(path)),
        check_options,
    )
    residency = Residency(
        node_id=here.node.id,
        starter=ChildProcesses(
            lambda resident, scratch: _order(settings, here, tier, resident, scratch),
            lambda resident: visible_cards(resident.device_ids, watch.devices),
        ),
        weights=CheckedFiles(
            settings.state_dir / "digests.json",
            lambda engine, path, options: inspect_files(engine, tier.choose(path), options),
        ),
        place=placing,
        changes=changes,
        load_timeout_s=here.load_timeout_s,
        room=MakingRoom(
            watch, lambda resident: _memory_needed(settings, here, tier, resident), PRETENDING_ENGINES
        ),
    )
    identity = NodeIdentity(
        node_id=here.node.id,
        instance_id=instance,
        address=here.node.address,
        version=version("orchestra-inference-node"),
        started_at=time.time(),
    )
    channels = WorkerChannels(telemetry)
    measuring = Measuring(
        find=residency.find,
        probe_of=lambda one: WorkerProbe(
            channels.stub(one.address, one.instance_id), one.wanted.model, one.instance_id
        ),
        gauges=Gauges(_meters(watch), residency.memory_of),
        store=KeptSpeeds(settings.state_dir / "measured.json"),
        changes=changes,
    )
    messages = NodeMessages(
        identity,
        lambda: [device_message(now, placing.choice(now.declared.device_id)) for now in watch.devices],
        lambda: residency.residents,
        residency.memory_of,
        here.queue_limit,
        measuring.known,
        lambda: watch.amiss,
    )
    WorkerMetrics(lambda: residency.residents, asyncio.get_running_loop(), telemetry.metrics.registry)
    forwarding = Forwarding(instance, residency.find, channels.stub)
    servicer = DaemonServicer(
        residency,
        messages,
        forwarding,
        channels.stub,
        measuring,
        Prefetching(tier, placing, inspect_files),
        settings.drain_s,
    )
    background = Background()
    background.spawn(ManagerLink(here.manager, telemetry, changes, messages.node).run(), name="manager link")
    background.spawn(watch.run(), name="devices")
    stop = asyncio.Event()

    async def leave() -> None:
        """Say so at once, and let workers drain while the daemon does."""
        await stop.wait()
        messages.draining = True
        changes.touch()
        await residency.close(settings.drain_s)

    background.spawn(leave(), name="leave")

    shutdown = Shutdown(limit_s=settings.drain_s + 10.0)
    shutdown.add("models", lambda: residency.close(settings.drain_s))
    shutdown.add("manager link", background.close, after=["models"])
    shutdown.add("worker channels", channels.close, after=["models"])
    shutdown.add("telemetry", telemetry.close, after=["manager link", "worker channels"])
    await serve(
        [Service(SERVICE, pb_grpc.add_InferenceServiceServicer_to_server, servicer)],
        settings=settings.rpc(listen),
        telemetry=telemetry,
        open_ended=[WATCH, LOAD, PREFETCH],
        shutdown=shutdown,
        on_bound=on_bound,
        stop=stop,
    )


def _meters(watch: DeviceWatch) -> DeviceMeters:
    """What can be measured of the deployment's devices."""
    packages = CpuPackages()

    def card(device_id: str) -> float | None:
        return next(now.reading.watts for now in watch.devices if now.declared.device_id == device_id)

    return DeviceMeters(
        {
            now.declared.device_id: packages.watts
            if now.declared.kind == "cpu"
            else partial(card, now.declared.device_id)
            for now in watch.devices
        },
        watch.refresh,
    )


def _memory_needed(settings: Settings, here: Deployed, tier: FastTier, resident: Resident) -> int | None:
    order = _order(settings, here, tier, resident, Path())
    return memory_needed(resident.engine, order.load_settings(lambda moved: None))


def _order(settings: Settings, here: Deployed, tier: FastTier, resident: Resident, scratch: Path) -> Order:
    wanted = resident.wanted
    devices = [here.node.device(name) for name in resident.device_ids]
    ports = here.node.worker_ports
    return Order(
        model=wanted.model,
        path=tier.chosen(wanted.path),
        engine=resident.engine,
        node_id=here.node.id,
        worker_id=resident.worker_id,
        instance_id=resident.instance_id,
        revision=resident.revision,
        quantization=resident.quantization,
        host=here.node.address.rpartition(":")[0],
        listen_host=(settings.listen or here.node.address).rpartition(":")[0],
        ports=list(range(ports.first, ports.last + 1)),
        parent=os.getpid(),
        scratch=str(scratch),
        context_tokens=wanted.context_tokens,
        slots=resident.slots_wanted,
        queue_limit=here.queue_limit if wanted.queue_limit is None else wanted.queue_limit,
        chat=wanted.chat,
        device_threads=devices[0].threads if devices else None,
        # the process sees these cards alone, and counts them from 0
        devices=[
            (one.id, one.kind, place if one.kind == "cuda" else None, one.memory)
            for place, one in enumerate(devices)
        ],
        options=dict(wanted.options),
        heartbeat_s=here.heartbeat_s,
        otlp_endpoint=settings.otlp_endpoint,
        log_format=settings.log_format,
        log_level=settings.log_level,
    )
