"""The paper's figures against ours: where they differ, a note must name the contradiction.

`at` addresses a figure as `kind:name.field`, for example `variant:codellama-7b-none.size` or
`constant:max_loaded`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Any

from .catalogue_types import CatalogueModel
from .frozen import Frozen, parse_nanos
from .lookup import Catalogue, UnknownName
from .paper_data import catalogue, data
from .quantities import bytes_of, hours_of, tokens_of, tokens_per_s_of
from .tree import Config

_PER_MILLION = re.compile(r"^\$(\d+(?:\.\d+)?)/M$")
_PERCENT = re.compile(r"^(\d+(?:\.\d+)?)%$")


class PaperFigure(Frozen):
    """A figure as the paper writes it, and where ours stands."""

    section: str
    what: str
    paper: str
    at: str
    note: str = ""


@dataclass(frozen=True)
class Difference:
    """`ours` is not what `figure` says; `explained` when its note names a contradiction of the catalogue."""

    figure: PaperFigure
    ours: Any
    explained: bool


@cache
def paper_figures() -> tuple[PaperFigure, ...]:
    """Every figure of the paper that the catalogue, or a default of the configuration, stands for."""
    return tuple(PaperFigure.model_validate(one) for one in data("paper_figures.yaml")["figures"])


def differences() -> tuple[Difference, ...]:
    """Every figure of ours that differs from the paper's. Raises UnknownName for a wrong address."""
    known = {f"contradiction: {one.what}" for one in catalogue().contradictions}
    found = ((figure, ours_of(figure.at)) for figure in paper_figures())
    return tuple(
        Difference(figure, ours, figure.note in known)
        for figure, ours in found
        if parsed(figure.paper) != ours
    )


def parsed(text: str) -> Any:
    """The value that the paper's words mean, in the catalogue's units; None for TBD; else the text itself."""
    if text == "TBD":
        return None
    if pair := re.fullmatch(r"(\$?)(\d[\d.]*%?)-(\d[\d.]*%?)", text):
        return (parsed(pair[1] + pair[2]), parsed(pair[1] + pair[3]))
    if match := _PER_MILLION.match(text):
        return int(Decimal(match[1]) * 1_000)
    if match := _PERCENT.match(text):
        return float(Decimal(match[1]) / 100)
    if text.startswith("$"):
        return parse_nanos(text)
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    for read in (bytes_of, tokens_of, hours_of, tokens_per_s_of):
        try:
            return read(text)
        except ValueError:
            continue
    return text


def ours_of(address: str) -> Any:
    """The catalogue's figure at an address. Raises UnknownName when nothing stands there."""
    kind, _, rest = address.partition(":")
    if kind not in _KINDS:
        raise UnknownName(kind, tuple(_KINDS), "kind of address")
    return _KINDS[kind](catalogue(), rest)


def _field(start: Any, path: str) -> Any:
    value = start
    for step in path.split(".") if path else ():
        if isinstance(value, tuple):
            value = value[int(step)]
        else:
            value = value[step] if isinstance(value, dict) else getattr(value, step)
    return (
        " ".join(value) if isinstance(value, tuple) and all(isinstance(one, str) for one in value) else value
    )


def _last_dot(rest: str) -> tuple[str, str]:
    name, _, field = rest.rpartition(".")
    return name, field


def _first_dot(rest: str) -> tuple[str, str]:
    name, _, path = rest.partition(".")
    return name, path


def _price(paper: Catalogue, rest: str) -> Any:
    name, field = _last_dot(rest)
    provider, _, model = name.partition("/")
    price = paper.price(provider, model)
    if price is None:
        raise UnknownName(rest, what="price")
    return _field(price, field)


def _days(paper: Catalogue, rest: str) -> Any:
    # Days become hours, as the paper's words do.
    value = _field(paper.constants, rest)
    return value * 24.0 if rest.endswith("_days") else value


def _sum(paper: Catalogue, rest: str) -> int:
    if rest == "library":
        return sum(variant.size or 0 for model in _local(paper) for variant in model.variants)
    needed = (paper.variant(name) for name in paper.plan(rest).always_loaded)
    return sum(variant.vram_required or 0 for variant in needed)


def _count(paper: Catalogue, rest: str) -> int:
    if rest == "names":
        return len(paper.models)
    if rest == "local_names":
        local = _local(paper)
        return len(local) + sum(variant.named_in_paper for model in local for variant in model.variants)
    return len(paper.models_of(rest))


def _local(paper: Catalogue) -> list[CatalogueModel]:
    """What the paper runs itself; a model that it only compares is not in its library."""
    compared = {model.name for model in paper.models for offer in model.offers if offer.verdict == "compared"}
    return [model for model in paper.models if model.variants and model.name not in compared]


def _one(entries: tuple[Any, ...], key: str, rest: str, path: str) -> Any:
    for entry in entries:
        if getattr(entry, key) == rest:
            return _field(entry, path)
    raise UnknownName(rest, what=key)


_KINDS: dict[str, Callable[[Catalogue, str], Any]] = {
    "variant": lambda paper, rest: _variant(paper, *_last_dot(rest)),
    "model": lambda paper, rest: _field(paper.resolve(_last_dot(rest)[0]), _last_dot(rest)[1]),
    "price": _price,
    "claim": lambda paper, rest: _one(paper.local_claims, "what", rest, "nanos_per_token"),
    "constant": _days,
    "default": lambda _, rest: _field(Config(), rest),
    "phase": lambda paper, rest: _field(paper.phase(_last_dot(rest)[0]), _last_dot(rest)[1]),
    "card": lambda paper, rest: _field(paper.card(_last_dot(rest)[0]), _last_dot(rest)[1]),
    "host": lambda paper, rest: _one(paper.hosts, "name", *_first_dot(rest)),
    "provider": lambda paper, rest: _one(paper.providers, "name", *_first_dot(rest)),
    "deployment": lambda paper, rest: _one(paper.deployment, "model", *_last_dot(rest)),
    "plan": lambda paper, rest: _field(paper.plan(_first_dot(rest)[0]), _first_dot(rest)[1]),
    "verdict": lambda paper, rest: _field(paper.verdict(_first_dot(rest)[0]), _first_dot(rest)[1]),
    "budget": lambda paper, rest: _one(paper.constants.budgets, "name", *_first_dot(rest)),
    "share": lambda paper, rest: _one(paper.policies.tier_shares, "tier", rest, "share"),
    "library": lambda paper, rest: len([model for model in paper.models if model.library == rest]),
    "sum": _sum,
    "count": _count,
}


def _variant(paper: Catalogue, name: str, field: str) -> Any:
    variant = paper.variant(name)
    if variant.name != name:
        raise UnknownName(name, (variant.name,), "variant")
    return _field(variant, field)
