"""Every wrong field is named at once, and the mesh stays up."""

from __future__ import annotations

import pytest

from orchestra.generation.v1 import request_pb2
from orchestra.router.v1 import router_service_pb2 as pb
from orchestra.router.v1 import router_service_pb2_grpc as pb_grpc
from orchestra_errors import OrchestraError
from orchestra_rpc import call_stream
from orchestra_stack.readiness import is_serving
from orchestra_testing import LocalMesh

pytestmark = pytest.mark.timeout(180)

CASES = {
    "no prompt": ({}, "INVALID_ARGUMENT", {"prompt"}),
    "empty prompt": ({"text": ""}, "INVALID_ARGUMENT", {"text"}),
    "negative max_tokens": (
        {"text": "x", "sampling": {"max_tokens": -3}},
        "INVALID_ARGUMENT",
        {"max_tokens"},
    ),
    "unknown model": ({"text": "x", "routing": {"model": "smolm2-135"}}, "NOT_FOUND", set()),
    "made-up phase": ({"text": "x", "phase": "phase_9_dreams"}, "NOT_FOUND", set()),
    "20 MB prompt": ({"text": "x" * 20_000_000}, "INVALID_ARGUMENT", {"text"}),
    "several at once": (
        {
            "text": "",
            "sampling": {"max_tokens": -3, "temperature": 9.0},
            "routing": {"model": "smolm2-135"},
            "phase": "phase_9_dreams",
        },
        "INVALID_ARGUMENT",
        {"text", "max_tokens", "temperature", "model", "phase"},
    ),
}


@pytest.mark.parametrize("case", CASES)
async def test_bad_input_names_every_wrong_field(
    case: str, mesh: LocalMesh, router: pb_grpc.RouterServiceAsyncStub
) -> None:
    fields, code, named = CASES[case]
    generation = request_pb2.GenerationRequest(**fields)
    if not generation.routing.model:
        generation.routing.model = "smollm2-135m"
    if fields.get("text") == "":
        generation.text = ""
    with pytest.raises(OrchestraError) as caught:
        async with call_stream(
            router.Generate(pb.GenerateRequest(generation=generation), timeout=20)
        ) as answers:
            async for _ in answers:
                pass
    assert caught.value.status_code == code, caught.value
    violated = " ".join(violation.field for violation in caught.value.violations)
    for field in named:
        assert field in violated, (field, violated)
    for instance in mesh.deployment.instances:
        assert await is_serving(instance.address, instance.service.health), instance.name


async def test_a_near_name_is_offered(router: pb_grpc.RouterServiceAsyncStub) -> None:
    request = pb.GenerateRequest(generation={"text": "x", "routing": {"model": "smollm2-135"}})
    with pytest.raises(OrchestraError) as caught:
        async with call_stream(router.Generate(request, timeout=20)) as answers:
            async for _ in answers:
                pass
    assert "smollm2-135m" in str(caught.value) + str(caught.value.metadata)
