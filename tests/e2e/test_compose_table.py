"""The containers are the same mesh: same services, ports and Dockerfiles as the table says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestra_stack import SERVICES, Service

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def containers() -> dict[str, Any]:
    text = (ROOT / "compose" / "compose.yaml").read_text(encoding="utf-8")
    found: dict[str, Any] = yaml.safe_load(text)["services"]
    return found


@pytest.mark.parametrize("row", SERVICES, ids=lambda row: row.name)
def test_a_service_of_the_table_is_a_container(row: Service, containers: dict[str, Any]) -> None:
    mine = [found for found in containers.values() if row.folder + "/" in str(found.get("build", ""))]
    assert mine, f"no container is built from {row.folder}/Dockerfile"
    assert (ROOT / row.folder / "Dockerfile").is_file()
    assert any(str(row.port) in str(found) for found in mine), f"none listens on {row.port}"


def test_containers_wait_for_nothing_that_the_table_does_not_name(containers: dict[str, Any]) -> None:
    names = {row.name for row in SERVICES}
    for row in SERVICES:
        waits = containers.get(row.name, {}).get("depends_on", {})
        assert set(waits) & names <= set(row.needs), row.name
