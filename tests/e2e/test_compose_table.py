"""The containers are the same mesh: same services, ports and images as the table says."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from orchestra_stack import SERVICES

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "compose" / "compose.yaml").read_text(encoding="utf-8"))["services"]


@pytest.mark.parametrize("row", SERVICES, ids=lambda row: row.name)
def test_a_service_of_the_table_is_a_container(row: object) -> None:
    from orchestra_stack import Service

    assert isinstance(row, Service)
    container = next(
        found
        for name, found in COMPOSE.items()
        if name == row.name or name.startswith(row.name) or row.folder in str(found)
    )
    assert (ROOT / row.folder / "Dockerfile").is_file()
    assert row.folder in str(container.get("build", "")), "built from the service's own Dockerfile"
    assert str(row.port) in str(container), f"listens on {row.port}"
