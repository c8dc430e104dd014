"""Where models run: hosts, their devices, what is held back, and which model is wanted where."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from .frozen import Bytes, Frozen, FrozenMap

EngineKind = Literal["auto", "exllamav2", "llamacpp", "encoder", "ctranslate2", "openai-server", "simulated"]
DeviceKind = Literal["cpu", "cuda", "simulated"]

_ADDRESS = re.compile(r"^(?:[A-Za-z0-9_.-]+|\[[0-9a-fA-F:]+\]):(\d{1,5})$")


def _check_address(value: str) -> str:
    match = _ADDRESS.match(value)
    if not match or not 0 < int(match[1]) < 65536:
        raise ValueError(f"{value!r} is not host:port with a port of 1 to 65535")
    return value


Address = Annotated[str, AfterValidator(_check_address)]
"""`host:port`, or `[v6]:port`."""


class PortRange(Frozen):
    """Ports `first` to `last`, both included; YAML writes `50100-50119`."""

    first: Annotated[int, Field(ge=1, le=65535)]
    last: Annotated[int, Field(ge=1, le=65535)]

    def __contains__(self, port: int) -> bool:
        return self.first <= port <= self.last


def _read_ports(value: object) -> object:
    if isinstance(value, str):
        match = re.fullmatch(r"(\d{1,5})\s*-\s*(\d{1,5})", value.strip())
        if not match or not 0 < int(match[1]) <= int(match[2]) < 65536:
            raise ValueError(f"{value!r} is not a range of ports like 50100-50119")
        return PortRange(first=int(match[1]), last=int(match[2]))
    return value


Ports = Annotated[
    PortRange,
    BeforeValidator(_read_ports),
    WithJsonSchema({"type": "string", "pattern": r"^\d{1,5}\s*-\s*\d{1,5}$"}),
]


class Device(Frozen):
    """One GPU, or a host's CPU. `watts` is drawn while busy, `idle_watts` (not acted on yet) while not.

    `kind` simulated is for capacity planning: the simulated engine alone runs on it.
    """

    id: str = Field(min_length=1)
    kind: DeviceKind = "cuda"
    model: str = Field(default="", description="card name as the catalogue knows it, for example 'tesla-p40'")
    index: int | None = Field(
        default=None, ge=0, description="place on the host by PCI bus, as nvidia-smi counts; absent: by model"
    )
    memory: Bytes | None = Field(
        default=None, description="bytes usable for models; unknown is measured by the node"
    )
    threads: int | None = Field(default=None, ge=1, description="CPU threads to compute with")
    watts: float | None = Field(default=None, ge=0)
    idle_watts: float | None = Field(default=None, ge=0)


class Hold(Frozen):
    """Devices kept from every placement for a time; no devices means the whole node."""

    devices: tuple[str, ...] = ()
    reason: str = Field(min_length=1)
    start: datetime | None = Field(default=None, description="RFC 3339; absent: at once")
    end: datetime | None = Field(default=None, description="RFC 3339; absent: until it is removed")


class Node(Frozen):
    """A host with one inference-node daemon. Workers take ports from `worker_ports`.

    `engine` auto: each model gets the engine that loads what it is stored as and is fast on the device.

    Not acted on yet: `slow_tier`, `options`.
    """

    id: str = Field(min_length=1, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    address: Address
    engine: EngineKind = "auto"
    devices: tuple[Device, ...] = Field(min_length=1)
    reserved: tuple[str, ...] = Field(default=(), description="device ids never used for models")
    worker_ports: Ports = PortRange(first=50100, last=50199)
    holds: tuple[Hold, ...] = ()
    watts: float | None = Field(
        default=None, ge=0, description="busy draw of the whole host, where devices do not say"
    )
    fast_tier: str = Field(default="", description="folder that PrefetchModel copies models to")
    slow_tier: str = Field(default="", description="folder that models are copied from ahead of time")
    options: FrozenMap[str, str | int | float | bool] = Field(
        default_factory=dict, description="for the engine"
    )

    def device(self, device_id: str) -> Device:
        """The device of that id; KeyError when there is none."""
        for device in self.devices:
            if device.id == device_id:
                return device
        raise KeyError(device_id)

    @property
    def usable(self) -> tuple[Device, ...]:
        """The devices that are not reserved."""
        return tuple(device for device in self.devices if device.id not in self.reserved)


class Placement(Frozen):
    """A model wanted on a node. No devices: the node chooses among its usable ones."""

    model: str = Field(min_length=1)
    node: str = Field(min_length=1)
    devices: tuple[str, ...] = ()
    engine: EngineKind | None = Field(default=None, description="absent: the node's")
    max_batch_size: int | None = Field(
        default=None, ge=1, description="sequences at once; absent: the model's `parallel`"
    )
    max_sequence_length: int | None = Field(
        default=None, ge=1, description="tokens of one sequence; absent: the model's context"
    )
    pinned: bool = Field(default=False, description="never unloaded by rotation or scaling")
    options: FrozenMap[str, str | int | float | bool] = Field(
        default_factory=dict, description="for the engine"
    )
