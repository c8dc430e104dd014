"""The host's devices: what the deployment declares, and what the driver shows of it."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from orchestra_inference_node.domain.devices import DeviceFacts


@dataclass(frozen=True, slots=True)
class Declared:
    """A device of the deployment. `model` is the card's name in the catalogue, `index` its place by PCI bus;
    `capability` what the catalogue knows of the card. `memory` in bytes is what models may use."""

    device_id: str
    kind: str
    model: str = ""
    index: int | None = None
    memory: int | None = None
    watts: float | None = None
    capability: tuple[int, int] | None = None
    reserved: bool = False


@dataclass(frozen=True, slots=True)
class Card:
    """A card that the driver shows. None: it does not say; `failure`: why it says nothing."""

    index: int
    name: str = ""
    uuid: str = ""
    capability: tuple[int, int] | None = None
    failure: str = ""


@dataclass(frozen=True, slots=True)
class CardReading:
    """Bytes and watts of a card now. `failure`: why it could not be read."""

    memory_total: int | None = None
    memory_free: int | None = None
    watts: float | None = None
    watts_limit: float | None = None
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Cpu:
    """The processor and the host's memory, in bytes; None where the system does not say."""

    name: str
    memory_total: int | None
    memory_free: int | None


@dataclass(frozen=True, slots=True)
class Cards:
    """Every card, by PCI bus. `absent` says why the driver cannot be asked; empty: it was."""

    cards: tuple[Card, ...] = ()
    driver: str = ""
    absent: str = ""


@dataclass(frozen=True, slots=True)
class DeviceNow:
    """A declared device as it was last seen. `index` is its place by PCI bus among the host's cards; `amiss`
    is empty when it is as declared; `lost` means that nothing can run on it."""

    declared: Declared
    name: str = ""
    uuid: str = ""
    index: int | None = None
    capability: tuple[int, int] | None = None
    reading: CardReading = field(default_factory=CardReading)
    amiss: str = ""
    lost: bool = False

    @property
    def memory_total(self) -> int | None:
        """What models may use of it, else all that it has."""
        return self.declared.memory or self.reading.memory_total


def match(declared: Sequence[Declared], seen: Cards) -> tuple[DeviceNow, ...]:
    """Which card each device of the deployment is: by index, else by name, else the next one.

    Nothing is read yet; a device that no card matches says so.
    """
    by_index = {card.index: card for card in seen.cards}
    fixed = {one.index for one in declared if one.kind == "cuda" and one.index is not None}
    free = [card for card in seen.cards if card.index not in fixed]
    out = []
    for place, one in enumerate(sorted(declared, key=lambda each: each.kind != "cuda")):
        if one.kind != "cuda":
            out.append(DeviceNow(one, one.model))
            continue
        card = by_index.get(one.index) if one.index is not None else _take(free, one.model)
        out.append(_matched(one, card, seen, place))
    order = {one.device_id: at for at, one in enumerate(declared)}
    return tuple(sorted(out, key=lambda now: order[now.declared.device_id]))


def undeclared(seen: Cards) -> tuple[Declared, ...]:
    """The cards of a host without a deployment, as devices."""
    return tuple(
        Declared(f"cuda{card.index}", "cuda", index=card.index) for card in seen.cards if not card.failure
    )


def same_card(model: str, name: str) -> bool:
    """Whether the catalogue's name of a card, rtx-3050, is the driver's, NVIDIA GeForce RTX 3050."""
    return _words(model) <= _words(name)


def amiss(devices: Collection[DeviceNow]) -> str:
    """What is not as declared, for people; empty when nothing is."""
    return "; ".join(f"{now.declared.device_id}: {now.amiss}" for now in devices if now.amiss)


def facts_of(now: DeviceNow) -> DeviceFacts:
    """What the choice of an engine goes by."""
    return DeviceFacts(
        now.declared.device_id,
        now.declared.kind,
        now.capability,
        now.amiss if now.lost else "",
        now.reading.memory_free,
    )


def usable_cards(devices: Collection[DeviceNow]) -> dict[str, str] | None:
    """The environment in which a process sees the cards that models may use; None where there are none."""
    usable = [now.declared.device_id for now in devices if now.uuid and not now.declared.reserved]
    return visible_cards(usable, devices) if usable else None


def visible_cards(device_ids: Sequence[str], devices: Collection[DeviceNow]) -> dict[str, str]:
    """The environment of a process that computes on these devices: it sees their cards in this order, and no
    others, so that nothing of it ends up on a card that is kept for something else."""
    known = {now.declared.device_id: now for now in devices}
    chosen = [known[one] for one in device_ids if one in known]
    indexes = [str(now.index) for now in chosen if now.declared.kind == "cuda"]
    # as the driver's inventory counts; the default is by speed
    return {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": ",".join(indexes) or "-1"}


def _take(free: list[Card], model: str) -> Card | None:
    for card in free:
        if not card.failure and (not model or same_card(model, card.name)):
            free.remove(card)
            return card
    return None


def _matched(one: Declared, card: Card | None, seen: Cards, place: int) -> DeviceNow:
    index = place if one.index is None else one.index
    if card is None:
        wanted = f"index {one.index}" if one.index is not None else one.model or "card"
        why = seen.absent or f"the driver shows no {wanted} among its {len(seen.cards)} cards"
        return DeviceNow(
            one, one.model, index=index, capability=one.capability, amiss=why, lost=not seen.absent
        )
    if card.failure:
        return DeviceNow(
            one, one.model, index=card.index, capability=one.capability, amiss=card.failure, lost=True
        )
    other = one.model and not same_card(one.model, card.name)
    return DeviceNow(
        one,
        card.name,
        card.uuid,
        card.index,
        card.capability or one.capability,
        amiss=f"declared as {one.model}, and the driver shows {card.name} there" if other else "",
    )


def _words(name: str) -> set[str]:
    return set(re.findall(r"[a-z0-9]+", name.lower()))
