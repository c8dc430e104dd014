from __future__ import annotations

from pathlib import Path

import pytest

from orchestra_stack import PortPlan, StackError, write_local
from orchestra_stack.deployment import local_template, usable_cores
from orchestra_stack.mesh import check_models


def test_the_local_deployment_stands_at_the_ports_of_the_table(tmp_path: Path) -> None:
    made = write_local("local", tmp_path, tmp_path / "models", PortPlan.fixed())
    assert made.router == made.config.addresses.router == "127.0.0.1:50050"
    assert made.address("node-b") == made.config.node("node-b").address == "127.0.0.1:50061"
    assert made.wanted == (
        ("smollm2-135m", "node-a"),
        ("gemma3-270m", "node-b"),
        ("minilm-l6", "node-a"),
    )
    assert made.generating == ("smollm2-135m", "gemma3-270m")
    assert "${" not in made.config_file.read_text()


def test_free_ports_are_all_different_and_reach_the_file(tmp_path: Path) -> None:
    made = write_local("demo", tmp_path, tmp_path / "models", PortPlan.free())
    ports = [instance.port for instance in made.instances]
    workers = [
        port
        for node in made.config.nodes
        for port in range(node.worker_ports.first, node.worker_ports.last + 1)
    ]
    assert len(set(ports + workers)) == len(ports) + len(workers) == 7 + 16
    assert made.config.addresses.cache == made.address("cache")
    assert all(instance.metrics_port == 0 for instance in made.instances)


def test_without_models_nothing_is_wanted(tmp_path: Path) -> None:
    made = write_local("bare", tmp_path, tmp_path / "models", PortPlan.free(), with_models=False)
    assert made.wanted == ()
    assert len(made.config.models) == 3
    check_models(made)


def test_every_process_is_told_where_it_is(tmp_path: Path) -> None:
    made = write_local("local", tmp_path, tmp_path / "models", PortPlan.fixed(), variables={"EXTRA": "1"})
    node = next(instance for instance in made.instances if instance.name == "node-a")
    assert node.variables["ORCHESTRA_NODE_ID"] == "node-a"
    assert node.variables["ORCHESTRA_LISTEN"] == "127.0.0.1:50060"
    assert node.variables["ORCHESTRA_METRICS_PORT"] == "51060"
    assert node.variables["EXTRA"] == "1"


def test_a_missing_model_file_is_named_with_the_cure(tmp_path: Path) -> None:
    made = write_local("local", tmp_path, tmp_path / "models", PortPlan.fixed())
    with pytest.raises(
        StackError, match=r"smollm2-135m\.gguf of smollm2-135m is missing: .*orchestra_stack models"
    ):
        check_models(made)


def test_what_is_stored_in_no_file_needs_none(tmp_path: Path) -> None:
    nodes = "".join(
        f"  - {{id: node-{one}, address: '${{ORCHESTRA_NODE_{one.upper()}_ADDR}}', "
        f"worker_ports: '${{ORCHESTRA_NODE_{one.upper()}_PORTS}}', devices: [{{id: cpu0, kind: cpu}}]}}\n"
        for one in "ab"
    )
    template = (
        f"nodes:\n{nodes}"
        "models:\n"
        "  - {name: declared, path: 'simulated:one'}\n"
        "  - {name: elsewhere, path: 'http://127.0.0.1:8080'}\n"
        "placements:\n"
        "  - {model: declared, node: node-a}\n"
        "  - {model: elsewhere, node: node-a}\n"
    )
    made = write_local("local", tmp_path, tmp_path / "models", PortPlan.free(), template=template)
    assert len(made.wanted) == 2
    check_models(made)


def test_a_mistake_in_the_template_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="nodez"):
        write_local("bad", tmp_path, tmp_path, PortPlan.free(), template="nodez: []\n")


def test_nodes_on_one_machine_share_its_cores(tmp_path: Path) -> None:
    both = write_local("local", tmp_path, tmp_path, PortPlan.free())
    share = max(1, usable_cores() // 2)
    assert [device.threads for node in both.config.nodes for device in node.devices] == [share, share]


def test_threads_that_are_named_stay(tmp_path: Path) -> None:
    template = local_template().replace("kind: cpu,", "kind: cpu, threads: 7,")
    made = write_local("local", tmp_path, tmp_path, PortPlan.free(), template=template)
    assert made.config.node("node-a").devices[0].threads == 7
