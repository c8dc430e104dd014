"""`Catalogue`: the models, phases, prices and policies of the paper, found by any of their names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from typing import TypeVar

from .catalogue_types import (
    Card,
    CatalogueModel,
    Constants,
    Contradiction,
    Host,
    LocalClaim,
    MatrixColumn,
    MatrixRow,
    PaperDeployment,
    Plan,
    PolicyData,
    Variant,
    Verdict,
)
from .money import Price
from .phases import Phase
from .problems import nearest
from .providers import Provider

Entry = TypeVar("Entry", Verdict, Plan, Card)


class UnknownName(LookupError):
    """A name that leads nowhere. `nearest` holds the names most like it, best first."""

    def __init__(self, name: str, nearest: tuple[str, ...] = (), what: str = "model") -> None:
        self.name = name
        self.nearest = nearest
        self.what = what
        hint = f" (did you mean {' or '.join(nearest)}?)" if nearest else ""
        super().__init__(f"there is no {what} {name!r}{hint}")


@dataclass(frozen=True)
class Catalogue:
    """Everything is frozen; `merged` makes another one."""

    models: tuple[CatalogueModel, ...]
    aliases: Mapping[str, str]
    groups: Mapping[str, tuple[str, ...]]
    phase_words: Mapping[str, tuple[str, ...]]
    local_quantization: str
    phases: tuple[Phase, ...]
    prices: tuple[Price, ...]
    local_claims: tuple[LocalClaim, ...]
    providers: tuple[Provider, ...]
    policies: PolicyData
    plans: tuple[Plan, ...]
    cards: tuple[Card, ...]
    hosts: tuple[Host, ...]
    deployment: tuple[PaperDeployment, ...]
    columns: tuple[MatrixColumn, ...]
    matrix: tuple[MatrixRow, ...]
    constants: Constants
    contradictions: tuple[Contradiction, ...] = ()

    @cached_property
    def _by_name(self) -> Mapping[str, CatalogueModel]:
        named = {variant.name: model for model in self.models for variant in model.variants}
        return {**named, **{model.name: model for model in self.models}}

    @cached_property
    def _by_variant(self) -> Mapping[str, Variant]:
        return {variant.name: variant for model in self.models for variant in model.variants}

    @property
    def names(self) -> tuple[str, ...]:
        """Every name that leads somewhere: models, variants, aliases, groups."""
        return tuple(dict.fromkeys((*self._by_name, *self.aliases, *self.groups)))

    @property
    def phase_names(self) -> tuple[str, ...]:
        """The names of the phases, without the words that stand for them."""
        return tuple(phase.name for phase in self.phases)

    @property
    def families(self) -> tuple[str, ...]:
        """Every family once, in the order of the models."""
        return tuple(dict.fromkeys(model.family for model in self.models))

    def knows(self, name: str) -> bool:
        """Whether `expand(name)` would find something."""
        try:
            return bool(self.expand(name))
        except UnknownName:
            return False

    def resolve(self, name: str) -> CatalogueModel:
        """The one model behind a name, an alias or a variant. Raises UnknownName, for a group too."""
        found = self._by_name.get(self.aliases.get(name, name))
        if found is None:
            raise UnknownName(name, nearest(name, self.names))
        return found

    def variant(self, name: str) -> Variant:
        """The weights that a name means on local cards: that variant, else the 4-bit one, else the first.

        Raises UnknownName when the name leads nowhere, or to a model without weights to load.
        """
        model = self.resolve(name)
        if exact := self._by_variant.get(self.aliases.get(name, name)):
            return exact
        if not model.variants:
            raise UnknownName(name, nearest(name, self._by_variant), "local variant of a model")
        four_bit = (one for one in model.variants if one.quantization == self.local_quantization)
        return next(four_bit, model.variants[0])

    def expand(self, name: str) -> tuple[CatalogueModel, ...]:
        """Every model that a name stands for: one model, a group, a family, or a pattern like `qwen2.5-*`."""
        if members := self.groups.get(name):
            return tuple(self.resolve(member) for member in members)
        if self.aliases.get(name, name) in self._by_name:
            return (self.resolve(name),)
        if "*" in name or "?" in name:
            found = tuple(model for model in self.models if fnmatchcase(model.name, name))
        else:
            found = tuple(model for model in self.models if model.family == name)
        if not found:
            raise UnknownName(name, nearest(name, (*self.names, *self.families)))
        return found

    def phase(self, name: str) -> Phase:
        """The one phase of that name, or of a word that stands for one. Raises UnknownName."""
        found = self.phases_of(name)
        if len(found) != 1:
            raise UnknownName(name, tuple(phase.name for phase in found), "single phase")
        return found[0]

    def phases_of(self, word: str) -> tuple[Phase, ...]:
        """The phases behind a word of section 8.2; none for `validation`. Raises UnknownName."""
        by_name = {phase.name: phase for phase in self.phases}
        if word in by_name:
            return (by_name[word],)
        if word not in self.phase_words:
            raise UnknownName(word, nearest(word, (*by_name, *self.phase_words)), "phase")
        return tuple(by_name[name] for name in self.phase_words[word] if name in by_name)

    def models_of(self, phase: str) -> tuple[CatalogueModel, ...]:
        """Every model of a phase (or of all phases behind a word), once, groups expanded."""
        found = (model for one in self.phases_of(phase) for name in one.models for model in self.expand(name))
        return tuple({model.name: model for model in found}.values())

    def price(self, provider: str, model: str) -> Price | None:
        """The price of a model at a provider; None when the book has no line, which is unknown, not free."""
        name = self.resolve(model).name
        return next((one for one in self.prices if one.provider == provider and one.model == name), None)

    def verdict(self, name: str) -> Verdict:
        """The rule behind a verdict. Raises UnknownName."""
        return _named(self.policies.verdicts, name, "verdict")

    def plan(self, name: str) -> Plan:
        """A named placement plan. Raises UnknownName."""
        return _named(self.plans, name, "plan")

    def card(self, name: str) -> Card:
        """A GPU model. Raises UnknownName."""
        return _named(self.cards, name, "card")

    def grade(self, model: str, row: str) -> int | None:
        """The ordinal of section 8.0 for a model (rows: reasoning, coding, context, …); None is unknown."""
        cells = next((one.cells for one in self.matrix if one.key == row), None)
        if cells is None:
            raise UnknownName(row, nearest(row, (one.key for one in self.matrix)), "row of the matrix")
        name = self.resolve(model).name
        column = next((one for one in self.columns if name in one.models), None)
        return cells[column.key].ordinal if column else None


def _named(entries: tuple[Entry, ...], name: str, what: str) -> Entry:
    names = [entry.name for entry in entries]
    if name not in names:
        raise UnknownName(name, nearest(name, names), what)
    return entries[names.index(name)]
