"""What is still missing is listed, and the list only shrinks."""

from __future__ import annotations

import importlib
from pathlib import Path

import grpc
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from orchestra_errors import NotYet, OrchestraError
from orchestra_rpc import error_from_rpc
from orchestra_testing import LocalMesh

LISTED = Path(__file__).with_name("not_yet.txt")

pytestmark = pytest.mark.timeout(180)


async def methods_of(channel: grpc.aio.Channel, service: str) -> descriptor_pb2.ServiceDescriptorProto:
    """The service as the server itself describes it."""
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    call = stub.ServerReflectionInfo(
        iter([reflection_pb2.ServerReflectionRequest(file_containing_symbol=service)]), timeout=10
    )
    async for answer in call:
        for data in answer.file_descriptor_response.file_descriptor_proto:
            file = descriptor_pb2.FileDescriptorProto.FromString(data)
            # puts its messages into the pool
            importlib.import_module(file.name.removesuffix(".proto").replace("/", ".") + "_pb2")
            for found in file.service:
                if f"{file.package}.{found.name}" == service:
                    return found
    raise AssertionError(f"reflection does not know {service}")


async def answers_not_yet(
    channel: grpc.aio.Channel, service: str, method: descriptor_pb2.MethodDescriptorProto
) -> bool:
    pool = descriptor_pool.Default()
    request = message_factory.GetMessageClass(pool.FindMessageTypeByName(method.input_type.lstrip(".")))()
    response = message_factory.GetMessageClass(pool.FindMessageTypeByName(method.output_type.lstrip(".")))
    kind = "_".join(
        "stream" if streams else "unary" for streams in (method.client_streaming, method.server_streaming)
    )
    multi = getattr(channel, kind)(
        f"/{service}/{method.name}",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=response.FromString,
    )
    call = multi(iter([request]) if method.client_streaming else request, timeout=3)
    try:
        if method.server_streaming:
            async for _ in call:
                break
        else:
            await call
    except grpc.aio.AioRpcError as error:
        kind_of_error: OrchestraError = error_from_rpc(error)
        return isinstance(kind_of_error, NotYet)
    finally:
        call.cancel()
    return False


async def test_the_list_of_what_is_missing_only_shrinks(bare_mesh: LocalMesh) -> None:
    found, asked = set(), 0
    for instance in bare_mesh.deployment.instances:
        if instance.name == "node-b":
            continue
        service = instance.service.health
        async with grpc.aio.insecure_channel(instance.address) as channel:
            for method in (await methods_of(channel, service)).method:
                asked += 1
                if await answers_not_yet(channel, service, method):
                    found.add(f"{service}/{method.name}")
    listed = set(LISTED.read_text(encoding="utf-8").split())
    assert asked > 60
    more, less = sorted(found - listed), sorted(listed - found)
    assert not more, "NOT_YET and not on the list:\n" + "\n".join(more)
    assert not less, "these work now, take them off tests/e2e/not_yet.txt:\n" + "\n".join(less)
