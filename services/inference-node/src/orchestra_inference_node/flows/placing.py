"""Which engine and devices a model gets."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from orchestra_errors import FailedPrecondition, InvalidRequest
from orchestra_inference_node.domain.devices import AUTO, DeviceFacts, EngineChoice, choose_engine
from orchestra_inference_node.domain.resident import Wanted


@dataclass(frozen=True, slots=True)
class Placed:
    """`degraded` says what is amiss with the engine on that device; empty: nothing."""

    engine: str
    device_ids: tuple[str, ...]
    degraded: str


class Placing:
    """Decides from the host's devices; `reserved` ones are never used."""

    def __init__(
        self,
        devices: Mapping[str, DeviceFacts],
        reserved: Collection[str],
        default_engine: str,
        installed: Collection[str],
        check_options: Callable[[str, Mapping[str, str]], None],
    ) -> None:
        self._devices = devices
        self._reserved = frozenset(reserved)
        self._default_engine = default_engine
        self._installed = frozenset(installed)
        self._check_options = check_options

    def choice(self, device_id: str, asked: str = "") -> EngineChoice:
        """The engine of a device: what was asked for, or what the deployment says."""
        return choose_engine(self._devices[device_id], asked or self._default_engine, self._installed)

    def __call__(self, wanted: Wanted) -> Placed:
        """Raises InvalidRequest for unknown devices or options, FailedPrecondition when none can be used."""
        unknown = [device for device in wanted.device_ids if device not in self._devices]
        if unknown:
            known = ", ".join(self._devices)
            raise InvalidRequest.of("spec.device_ids", f"{', '.join(unknown)}: this host has {known}")
        reserved = [device for device in wanted.device_ids if device in self._reserved]
        if reserved:
            raise FailedPrecondition(f"device {', '.join(reserved)}", "is reserved and never used for models")
        ids = wanted.device_ids or tuple(one for one in self._devices if one not in self._reserved)[:1]
        if not ids:
            raise FailedPrecondition(f"model {wanted.model}", "every device of this host is reserved")
        asked = wanted.engine if wanted.engine not in ("", AUTO) else ""
        choice = self.choice(ids[0], asked)
        if not choice.engine:
            raise FailedPrecondition(f"model {wanted.model}", choice.reason)
        self._check_options(choice.engine, dict(wanted.options))
        return Placed(choice.engine, ids, choice.degraded)
