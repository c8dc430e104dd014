"""Reads the catalogue's data files, once, when somebody asks for them."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any, TypeVar

import yaml
from pydantic import TypeAdapter

from . import catalogue_types as types
from .frozen import Frozen, FrozenDict
from .lookup import Catalogue
from .model_entry import TrainingUse
from .money import Price
from .phases import Phase
from .providers import Provider

Part = TypeVar("Part", bound=Frozen)
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def data_text(name: str) -> str:
    """The text of a data file, for example `local.yaml`."""
    return (files(__package__) / "data" / name).read_text(encoding="utf-8")


@cache
def data(name: str) -> Any:
    """A data file of the catalogue as plain values."""
    return yaml.load(data_text(name), Loader=_LOADER)  # a safe loader, by name


@cache
def catalogue() -> Catalogue:
    """The paper's catalogue. Read at the first call, the same object afterwards."""
    names, hardware, prices = data("names.yaml"), data("hardware.yaml"), data("prices.yaml")
    matrix = data("matrix.yaml")
    return Catalogue(
        models=tuple(_model(one) for one in data("models.yaml")["models"]),
        aliases=FrozenDict(names["aliases"]),
        groups=FrozenDict({key: tuple(members) for key, members in names["groups"].items()}),
        phase_words=FrozenDict({key: tuple(phases) for key, phases in names["phase_names"].items()}),
        local_quantization=names["local_quantization"],
        phases=_parts(Phase, data("phases.yaml")["phases"]),
        prices=_parts(Price, prices["prices"]),
        local_claims=_parts(types.LocalClaim, prices["local_claims"]),
        providers=_parts(Provider, data("providers.yaml")["providers"]),
        policies=types.PolicyData.model_validate(data("policies.yaml")),
        plans=_parts(types.Plan, data("plans.yaml")["plans"]),
        cards=_parts(types.Card, hardware["cards"]),
        hosts=_parts(types.Host, hardware["hosts"]),
        deployment=_parts(types.PaperDeployment, hardware["deployment"]),
        columns=_parts(types.MatrixColumn, matrix["columns"]),
        matrix=_parts(types.MatrixRow, matrix["rows"]),
        constants=types.Constants.model_validate(data("constants.yaml")),
        contradictions=_parts(types.Contradiction, data("contradictions.yaml")["contradictions"]),
    )


def _parts(kind: type[Part], entries: list[Any]) -> tuple[Part, ...]:
    return TypeAdapter(tuple[kind, ...]).validate_python(entries)  # type: ignore[valid-type]


def _model(entry: dict[str, Any]) -> types.CatalogueModel:
    model = types.CatalogueModel.model_validate(entry)
    return (
        model if "training_use" in entry else model.model_copy(update={"training_use": _training_use(model)})
    )


def _training_use(model: types.CatalogueModel) -> TrainingUse:
    """The first rule that speaks of the model: of premium, its family, its tier."""
    rules = {rule["when"]: rule for rule in data("models.yaml")["training_use_rules"]}
    wanted = ("premium" if "premium" in model.tiers else model.family, *model.tiers)
    when = next(name for name in wanted if name in rules)
    return TrainingUse.model_validate({key: value for key, value in rules[when].items() if key != "when"})
