"""Which engine and devices a model gets."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from orchestra_errors import FailedPrecondition, InvalidRequest, NotFound
from orchestra_inference_node.domain.choosing import choose_engine, describe_device
from orchestra_inference_node.domain.devices import AUTO, DeviceFacts, EngineChoice, EngineUse
from orchestra_inference_node.domain.formats import ModelFormat
from orchestra_inference_node.domain.resident import Placed, Wanted


class Placing:
    """Decides from the host's devices; `reserved` ones are never used."""

    def __init__(
        self,
        devices: Callable[[], Mapping[str, DeviceFacts]],
        reserved: Collection[str],
        default_engine: str,
        engines: Mapping[str, EngineUse],
        stored_as: Callable[[str], ModelFormat | None],
        check_options: Callable[[str, Mapping[str, str]], None],
    ) -> None:
        """`stored_as` looks at a spec's path, and may block; it gives None for what it does not know."""
        self._devices = devices
        self._reserved = frozenset(reserved)
        self._default_engine = default_engine
        self._engines = engines
        self._stored_as = stored_as
        self._check_options = check_options

    def choice(self, device_id: str) -> EngineChoice:
        """What models get on a device when they name no engine."""
        return describe_device(self._devices()[device_id], self._default_engine, self._engines)

    def __call__(self, wanted: Wanted) -> Placed:
        """Looks at files, so it blocks.

        Raises InvalidRequest for unknown devices or options and for a path that nobody loads, NotFound for
        one that is not there, FailedPrecondition when no engine can load the model on the devices.
        """
        devices = self._devices()
        ids = self._allowed(wanted, devices)
        asked = wanted.engine if wanted.engine not in ("", AUTO) else self._default_engine
        stored = self._stored(wanted.path, asked)
        named = [devices[one] for one in ids]
        if not wanted.device_ids:
            named = _emptiest_first(named)
        groups = [named] if wanted.device_ids else [[one] for one in named]
        refusals: dict[str, None] = {}
        for group in groups:
            choice = choose_engine(_weakest(group), asked, stored, self._engines)
            if choice.engine:
                self._check_split(wanted, choice.engine, group)
                self._check_options(choice.engine, dict(wanted.options))
                return Placed(
                    choice.engine,
                    tuple(one.device_id for one in group),
                    choice.degraded,
                    choice.expected_speed,
                    choice.most_slots,
                )
            refusals[choice.reason] = None
        if stored is None and asked == AUTO:
            raise InvalidRequest.of(
                "spec.path", f"{wanted.path} is nothing that an engine loads: {self._loadable()}"
            )
        raise FailedPrecondition(f"model {wanted.model}", "; ".join(refusals))

    def _allowed(self, wanted: Wanted, devices: Mapping[str, DeviceFacts]) -> tuple[str, ...]:
        unknown = [one for one in wanted.device_ids if one not in devices]
        if unknown:
            raise InvalidRequest.of(
                "spec.device_ids", f"{', '.join(unknown)}: this host has {', '.join(devices)}"
            )
        if len(set(wanted.device_ids)) < len(wanted.device_ids):
            raise InvalidRequest.of("spec.device_ids", "names a device twice")
        reserved = [one for one in wanted.device_ids if one in self._reserved]
        if reserved:
            raise FailedPrecondition(f"device {', '.join(reserved)}", "is reserved and never used for models")
        kinds = {devices[one].kind for one in wanted.device_ids}
        if len(kinds) > 1:
            raise InvalidRequest.of(
                "spec.device_ids",
                f"are of different kinds ({', '.join(sorted(kinds))}): a model is on one kind",
            )
        ids = wanted.device_ids or tuple(one for one in devices if one not in self._reserved)
        if not ids:
            raise FailedPrecondition(f"model {wanted.model}", "every device of this host is reserved")
        return ids

    def _stored(self, path: str, asked: str) -> ModelFormat | None:
        try:
            return self._stored_as(path)
        except NotFound:
            # an engine that was named may need no file
            if asked == AUTO:
                raise
            return None

    def _check_split(self, wanted: Wanted, engine: str, group: list[DeviceFacts]) -> None:
        if len(group) > 1 and not (self._engines[engine].splits and group[0].kind == "cuda"):
            raise InvalidRequest.of(
                "spec.device_ids",
                f"{engine} does not spread {wanted.model} over several {group[0].kind} devices",
            )

    def _loadable(self) -> str:
        return ", ".join(
            f"{' or '.join(sorted(one.value for one in use.formats))} by {name}"
            for name, use in self._engines.items()
        )


def _weakest(group: list[DeviceFacts]) -> DeviceFacts:
    """The device that decides for all: one that is lost, else that of the least or unknown capability."""
    return min(group, key=lambda one: (not one.lost, one.capability or (0, 0)))


def _emptiest_first(devices: list[DeviceFacts]) -> list[DeviceFacts]:
    """Kinds in the order of the deployment; of each kind the device with the most free memory first."""
    kinds = list(dict.fromkeys(one.kind for one in devices))
    return sorted(devices, key=lambda one: (kinds.index(one.kind), -(one.free or 0)))
