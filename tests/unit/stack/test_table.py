from __future__ import annotations

from pathlib import Path

from orchestra_stack import SERVICES, service
from orchestra_stack.table import stop_waves

ROOT = Path(__file__).parents[3]


def test_names_and_ports_are_unique() -> None:
    assert len({row.name for row in SERVICES}) == len(SERVICES) == 6
    assert len({row.port for row in SERVICES} | {row.metrics_port for row in SERVICES}) == 12


def test_health_names_are_services_of_the_contracts() -> None:
    protos = "\n".join(path.read_text() for path in (ROOT / "protos").rglob("*_service.proto"))
    for row in SERVICES:
        package, _, name = row.health.rpartition(".")
        assert f"package {package};" in protos
        assert f"service {name} {{" in protos


def test_callers_stop_before_those_whom_they_call() -> None:
    waves = stop_waves(row.name for row in SERVICES)
    at = {name: index for index, wave in enumerate(waves) for name in wave}
    for row in SERVICES:
        for need in row.needs:
            assert at[row.name] < at[need], (row.name, need)


def test_needs_are_services() -> None:
    for row in SERVICES:
        for need in row.needs:
            assert service(need)
