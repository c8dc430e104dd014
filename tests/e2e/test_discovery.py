"""What people script with: health by name, grpcurl and buf curl over reflection, tokens one by one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from orchestra_stack.readiness import is_serving
from orchestra_testing import LocalMesh

BIN = Path(sys.executable).parent
REQUEST = json.dumps(
    {
        "generation": {
            "text": "def multiply(a, b):\n   ",
            "sampling": {"maxTokens": 12},
            "routing": {"model": "smollm2-135m"},
            "cache": {"mode": "CACHE_MODE_BYPASS"},
        }
    }
)

pytestmark = pytest.mark.timeout(180)


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout


async def test_health_answers_for_each_service_by_name(mesh: LocalMesh) -> None:
    for instance in mesh.deployment.instances:
        assert await is_serving(instance.address, instance.service.health), instance.name
        assert await is_serving(instance.address, "")


def test_grpcurl_lists_and_describes_every_service(mesh: LocalMesh) -> None:
    for instance in mesh.deployment.instances:
        listed = run(str(BIN / "grpcurl"), "-plaintext", instance.address, "list").split()
        assert instance.service.health in listed
        assert "grpc.health.v1.Health" in listed
        methods = run(
            str(BIN / "grpcurl"), "-plaintext", instance.address, "describe", instance.service.health
        )
        assert "rpc " in methods


def test_grpcurl_streams_tokens_one_by_one(mesh: LocalMesh) -> None:
    out = run(
        str(BIN / "grpcurl"),
        "-plaintext",
        "-d",
        REQUEST,
        mesh.router,
        "orchestra.router.v1.RouterService/Generate",
    )
    kinds = kinds_of(out)
    assert kinds[0] == "started"
    assert kinds[-1] == "finished"
    assert kinds.count("textdelta") >= 4, kinds


def test_buf_curl_lists_services_and_streams(mesh: LocalMesh) -> None:
    # without this protocol it speaks Connect, which no gRPC server of Python does
    curl = (str(BIN / "buf"), "curl", "--http2-prior-knowledge", "--protocol", "grpc")
    for instance in mesh.deployment.instances:
        listed = run(*curl, "--list-services", f"http://{instance.address}")
        assert instance.service.health in listed
    method = f"http://{mesh.router}/orchestra.router.v1.RouterService/Generate"
    kinds = kinds_of(run(*curl, "--data", REQUEST, method))
    assert kinds[0] == "started"
    assert kinds[-1] == "finished"
    assert kinds.count("textdelta") >= 4, kinds


def kinds_of(text: str) -> list[str]:
    """The kinds of the events in a sequence of JSON objects."""
    decoder, kinds, at = json.JSONDecoder(), [], 0
    text = text.strip()
    while at < len(text):
        message, at = decoder.raw_decode(text, at)
        # one tool writes names as in the contract, the other in JSON's camel case
        keys = [key.replace("_", "").lower() for key in message["event"]]
        kinds += [key for key in keys if key != "sampleindex"]
        while at < len(text) and text[at].isspace():
            at += 1
    return [kind for kind in kinds if kind != "heartbeat"]
