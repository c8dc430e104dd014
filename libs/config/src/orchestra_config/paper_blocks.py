"""The paper's own configuration blocks, read as they are printed.

Accepts YAML (`deployment:`, `metrics:`) and the Python literals of the paper (`model_library = {…}`,
`phase_model_sets = {…}`, `local_model_specs = {…}`, `cost_per_1m_tokens = {…}`, `self.rate_limits = {…}`,
`self.available_models = {…}`). Nothing is executed: Python text is parsed, only literals and `RateLimit(…)`
are read.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import yaml
from pydantic import Field

from .catalogue_types import Variant
from .frozen import Frozen, FrozenDict, FrozenMap, Nanos
from .phases import Phase, PhaseGroup, PhaseRole
from .problems import ConfigError, Problem, did_you_mean
from .providers import Limits
from .quantities import bytes_of, hours_of, tokens_of, tokens_per_s_of


class BlockPlacement(Frozen):
    """An entry of `deployment:`. One with a purpose and no batch size reserves its devices."""

    model: str
    devices: tuple[str, ...]
    max_batch_size: int | None = None
    max_sequence_length: int | None = None
    purpose: str = ""

    @property
    def reserves(self) -> bool:
        """Whether the devices are kept for something other than a model."""
        return self.max_batch_size is None


class BlockModel(Frozen):
    """An entry of `model_library`, `available_models` or `local_model_specs`."""

    name: str
    group: str = ""
    variants: tuple[Variant, ...] = ()
    context: int | None = None
    strength: str = ""


class PaperBlocks(Frozen):
    """What was found in a text. A block that is absent leaves its field empty."""

    placements: tuple[BlockPlacement, ...] = ()
    models: tuple[BlockModel, ...] = ()
    phases: tuple[Phase, ...] = ()
    limits: FrozenMap[str, Limits] = Field(default_factory=FrozenDict)
    fallback_chain: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    prices: FrozenMap[str, Nanos | None] = Field(
        default_factory=FrozenDict, description="nano-dollars per input token; None is the paper's TBD"
    )
    monthly: FrozenMap[str, FrozenMap[str, float]] = Field(
        default_factory=FrozenDict, description="dollars and months, as printed, by block"
    )
    storage: FrozenMap[str, str] = Field(default_factory=FrozenDict, description="tier to folder")


def read_paper_blocks(text: str, file: str = "<paper>") -> PaperBlocks:
    """Read every block in a text of YAML or Python. Raises ConfigError naming what is not known."""
    found: dict[str, Any] = {}
    problems: list[Problem] = []
    for name, value, line in _blocks(text, file):
        if name not in _READERS:
            known = did_you_mean(name, _READERS) or f"; known: {', '.join(_READERS)}"
            problems.append(Problem(file, line, 1, name, f"unknown block{known}"))
            continue
        field, reader = _READERS[name]
        try:
            read = reader(value())
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            problems.append(Problem(file, line, 1, name, f"cannot be read: {error}"))
            continue
        held = found.get(field)
        found[field] = (
            read if held is None else {**held, **read} if isinstance(read, dict) else (*held, *read)
        )
    if problems:
        raise ConfigError(problems)
    return PaperBlocks(**found)


def _blocks(text: str, file: str) -> Iterator[tuple[str, Callable[[], Any], int]]:
    try:
        tree = ast.parse(text)
    except SyntaxError:
        yield from _yaml_blocks(text, file)
        return
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Assign)
            and len(node.targets) == 1
            and isinstance(node.value, ast.Dict | ast.List)
        ):
            target = node.targets[0]
            name = target.id if isinstance(target, ast.Name) else getattr(target, "attr", "")
            if isinstance(node.value, ast.List) and name not in _READERS:
                continue
            if isinstance(target, ast.Attribute) and name not in _READERS:
                continue  # objects of the paper's classes, not configuration
            yield name, partial(_literal, node.value), node.lineno


def _yaml_blocks(text: str, file: str) -> Iterator[tuple[str, Callable[[], Any], int]]:
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError([Problem(file, 1, 1, "", f"neither YAML nor Python: {error}")]) from error
    for name, value in (document if isinstance(document, dict) else {}).items():
        yield str(name), partial(_same, value), 1


def _same(value: Any) -> Any:
    return value


def _literal(node: ast.expr) -> Any:
    if isinstance(node, ast.Dict):
        return {
            ast.literal_eval(key): _literal(value)
            for key, value in zip(node.keys, node.values, strict=True)
            if key is not None
        }
    if isinstance(node, ast.List):
        return [_literal(item) for item in node.elts]
    if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "RateLimit":
        return {str(word.arg): ast.literal_eval(word.value) for word in node.keywords}
    return ast.literal_eval(node)


def _deployment(block: Mapping[str, Any]) -> tuple[BlockPlacement, ...]:
    return tuple(
        BlockPlacement(
            model=name,
            devices=tuple(entry["gpus"]),
            **{key: value for key, value in entry.items() if key != "gpus"},
        )
        for name, entry in block.items()
    )


def _library(block: Mapping[str, Any]) -> tuple[BlockModel, ...]:
    return tuple(
        _entry(name, entry, group) for group, models in block.items() for name, entry in models.items()
    )


def _flat(block: Mapping[str, Any]) -> tuple[BlockModel, ...]:
    return tuple(_entry(name, entry, "") for name, entry in block.items())


def _entry(name: str, entry: Mapping[str, str], group: str) -> BlockModel:
    variants = [
        Variant(
            name=name,
            quantization=entry.get("quantization", "unstated"),
            size=bytes_of(entry["size"]) if "size" in entry else None,
            vram_required=bytes_of(entry["vram_required"]) if "vram_required" in entry else None,
            storage_tier="fast" if entry.get("tier") == "fast" else "slow",
            tokens_per_s=tokens_per_s_of(entry["inference_speed"]) if "inference_speed" in entry else None,
            hardware=entry.get("hardware", ""),
        )
    ]
    if "quantized_4bit" in entry:
        size = bytes_of(entry["quantized_4bit"])
        variants.append(Variant(name=f"{name}-q4", quantization="4-bit", vram_required=size))
    return BlockModel(
        name=name,
        group=group,
        variants=tuple(variants),
        context=tokens_of(entry["context"]) if "context" in entry else None,
        strength=entry.get("strength", entry.get("specialization", "")),
    )


_ALWAYS = ("primary", "always_loaded", "fixed_set")
_ROLES: tuple[PhaseRole, ...] = ("code_generators", "testing_evaluators")


def _phases(block: Mapping[str, Any]) -> tuple[Phase, ...]:
    return tuple(
        Phase(
            name=name,
            groups=tuple(_group(role, entry[role]) for role in _ROLES if role in entry)
            or (_group("models", entry),),
            rotation_hours=hours_of(entry["rotation_frequency"]) if "rotation_frequency" in entry else None,
            purpose=entry.get("purpose", ""),
        )
        for name, entry in block.items()
    )


def _group(role: PhaseRole, entry: Mapping[str, Any]) -> PhaseGroup:
    word = next((word for word in _ALWAYS if word in entry), "always_loaded")
    return PhaseGroup(
        role=role,
        always_loaded=tuple(entry.get(word, ())),
        rotation_pool=tuple(entry.get("rotation_pool", ())),
        always_loaded_as=word,
    )


def _limits(block: Mapping[str, Any]) -> dict[str, Limits]:
    return {name: Limits(**limit) for name, limit in block.items()}


def _prices(block: Mapping[str, Any]) -> dict[str, int | None]:
    # Dollars per million tokens are thousands of nano-dollars per token.
    return {
        name: round(price * 1_000) if isinstance(price, int | float) else None
        for name, price in block.items()
    }


_READERS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "deployment": ("placements", _deployment),
    "model_library": ("models", _library),
    "available_models": ("models", _flat),
    "local_model_specs": ("models", _flat),
    "phase_model_sets": ("phases", _phases),
    "rate_limits": ("limits", _limits),
    "fallback_chain": ("fallback_chain", tuple),
    "metrics": ("metrics", tuple),
    "cost_per_1m_tokens": ("prices", _prices),
    "monthly_100m_tokens": ("monthly", lambda block: {"monthly_100m_tokens": block}),
    "monthly_200m_tokens": ("monthly", lambda block: {"monthly_200m_tokens": block}),
    "model_storage": ("storage", dict),
}
