"""What nodes told of their models: measured costs stay while a model is away, and are no other spec's."""

from __future__ import annotations

from orchestra.inference.v1 import node_pb2
from orchestra_model_manager.domain.seen import Costs
from orchestra_model_manager.flows.registry import Registry


def report(*workers: node_pb2.Worker, kind: int = node_pb2.DEVICE_KIND_CPU) -> node_pb2.Node:
    device = node_pb2.Device(device_id="d0", kind=kind)
    return node_pb2.Node(node_id="n", instance_id="i", address="h:1", devices=[device], workers=workers)


def worker(*, measured: bool) -> node_pb2.Worker:
    made = node_pb2.Worker(
        model="m", device_ids=["d0"], capabilities=node_pb2.Capabilities(context_tokens=64)
    )
    if measured:
        made.measured.memory_bytes = 300
        made.measured.load.FromMilliseconds(2500)
    return made


def test_what_was_measured_stays_known_while_the_model_is_not_loaded() -> None:
    registry = Registry(15.0, lambda: 0.0)
    registry.report(report(worker(measured=True)))
    assert registry.measured == {("n", "m"): Costs(300, 2.5)}
    registry.report(report())
    registry.report(report(node_pb2.Worker(model="m", state=node_pb2.STATE_STARTING)))
    assert registry.measured == {("n", "m"): Costs(300, 2.5)}
    registry.report(report(worker(measured=False)))
    assert registry.measured == {}, "loaded in a way that nobody measured"


def test_a_process_on_a_gpu_does_not_tell_what_the_card_holds() -> None:
    registry = Registry(15.0, lambda: 0.0)
    registry.report(report(worker(measured=True), kind=node_pb2.DEVICE_KIND_CUDA))
    assert registry.measured == {("n", "m"): Costs(None, 2.5)}
