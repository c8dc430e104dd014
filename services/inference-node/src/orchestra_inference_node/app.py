"""Composition root of the daemon."""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from orchestra.inference.v1 import inference_service_pb2_grpc as pb_grpc
from orchestra.inference.v1 import node_pb2
from orchestra_config import Device, Node
from orchestra_inference_node.adapters.engines import check_options, inspect_files, installed_engines
from orchestra_inference_node.adapters.host import read_cpu
from orchestra_inference_node.adapters.kept_speeds import KeptSpeeds
from orchestra_inference_node.adapters.manager_link import ManagerLink
from orchestra_inference_node.adapters.power import CpuPackages, DeviceMeters
from orchestra_inference_node.adapters.weights import CheckedFiles
from orchestra_inference_node.adapters.worker_channels import WorkerChannels
from orchestra_inference_node.adapters.worker_probe import WorkerProbe
from orchestra_inference_node.adapters.worker_process import ChildProcesses
from orchestra_inference_node.config import Deployed, Settings
from orchestra_inference_node.domain.devices import DeviceFacts
from orchestra_inference_node.domain.resident import Resident
from orchestra_inference_node.flows.changes import Changes
from orchestra_inference_node.flows.gauges import Gauges
from orchestra_inference_node.flows.measuring import Measuring
from orchestra_inference_node.flows.placing import Placing
from orchestra_inference_node.flows.residency import Residency
from orchestra_inference_node.rpc.daemon_servicer import DaemonServicer
from orchestra_inference_node.rpc.forwarding import Forwarding
from orchestra_inference_node.rpc.node_messages import NodeIdentity, NodeMessages
from orchestra_inference_node.worker.order import Order
from orchestra_rpc import Background, Service, Shutdown, serve
from orchestra_telemetry import Telemetry

SERVICE = "orchestra.inference.v1.InferenceService"
WATCH = f"/{SERVICE}/WatchNode"
LOAD = f"/{SERVICE}/LoadModel"


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
    placing = Placing(
        {device.id: _facts(device) for device in here.node.devices},
        here.node.reserved,
        here.node.engine,
        installed_engines(),
        check_options,
    )
    residency = Residency(
        node_id=here.node.id,
        starter=ChildProcesses(lambda resident, scratch: _order(settings, here, resident, scratch)),
        weights=CheckedFiles(settings.state_dir / "digests.json", inspect_files),
        place=placing,
        changes=changes,
        load_timeout_s=here.load_timeout_s,
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
        gauges=Gauges(_meters(here.node), residency.memory_of),
        store=KeptSpeeds(settings.state_dir / "measured.json"),
        changes=changes,
    )
    messages = NodeMessages(
        identity,
        lambda: _devices(here.node, placing),
        lambda: residency.residents,
        residency.memory_of,
        here.queue_limit,
        measuring.known,
    )
    forwarding = Forwarding(instance, residency.find, channels.stub)
    servicer = DaemonServicer(residency, messages, forwarding, channels.stub, measuring, settings.drain_s)
    background = Background()
    background.spawn(ManagerLink(here.manager, telemetry, changes, messages.node).run(), name="manager link")
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
        open_ended=[WATCH, LOAD],
        shutdown=shutdown,
        on_bound=on_bound,
        stop=stop,
    )


def _facts(device: Device) -> DeviceFacts:
    return DeviceFacts(device.id, device.kind)


def _meters(node: Node) -> DeviceMeters:
    """What can be measured of the deployment's devices."""
    packages = CpuPackages()
    return DeviceMeters({device.id: packages.watts for device in node.devices if device.kind == "cpu"})


def _devices(node: Node, placing: Placing) -> list[node_pb2.Device]:
    """The deployment's devices with what the host says of them now."""
    cpu = read_cpu()
    out = []
    for device in node.devices:
        choice = placing.choice(device.id)
        on_cpu = device.kind == "cpu"
        out.append(
            node_pb2.Device(
                device_id=device.id,
                kind=node_pb2.DEVICE_KIND_CPU if on_cpu else node_pb2.DEVICE_KIND_CUDA,
                name=cpu.name if on_cpu else device.model,
                memory_total_bytes=device.memory or (cpu.memory_total if on_cpu else None),
                memory_free_bytes=cpu.memory_free if on_cpu else None,
                reserved=device.id in node.reserved,
                engine=choice.engine,
                engine_reason=choice.reason,
                watts_declared=device.watts,
            )
        )
    return out


def _order(settings: Settings, here: Deployed, resident: Resident, scratch: Path) -> Order:
    wanted = resident.wanted
    devices = [here.node.device(name) for name in resident.device_ids]
    ports = here.node.worker_ports
    return Order(
        model=wanted.model,
        path=wanted.path,
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
        slots=wanted.slots,
        queue_limit=here.queue_limit if wanted.queue_limit is None else wanted.queue_limit,
        chat=wanted.chat,
        device_threads=devices[0].threads if devices else None,
        devices=[(one.id, one.kind, one.index, one.memory) for one in devices],
        options=dict(wanted.options),
        heartbeat_s=here.heartbeat_s,
        otlp_endpoint=settings.otlp_endpoint,
        log_format=settings.log_format,
        log_level=settings.log_level,
    )
