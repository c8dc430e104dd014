"""`load`: one file in, a whole `Config` out, or one error that names every mistake."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from .explain import explain
from .problems import ConfigError, Problem
from .references import check_references
from .tree import Config
from .yaml_source import Document, read

CONFIG_VARIABLE = "ORCHESTRA_CONFIG"


def load(
    path: str | os.PathLike[str] | None = None, *, environment: Mapping[str, str] | None = None
) -> Config:
    """Read and check a configuration. No path: the file that `ORCHESTRA_CONFIG` names, or the defaults.

    Raises ConfigError with every mistake at once, a file that cannot be read among them.
    """
    environment = os.environ if environment is None else environment
    if path is None:
        path = environment.get(CONFIG_VARIABLE) or None
        if path is None:
            return Config()
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ConfigError([Problem(str(path), 0, 0, "", f"cannot be read: {reason}")]) from error
    return loads(text, file=str(path), environment=environment)


def loads(text: str, *, file: str = "<text>", environment: Mapping[str, str] | None = None) -> Config:
    """As `load`, from text; `file` is the name that mistakes are reported under."""
    document = read(text, file, os.environ if environment is None else environment)
    config = _validate(document) if not _is_broken(document) else None
    _check_against_catalogue(document)
    if document.problems or config is None:
        raise ConfigError(document.problems)
    return config


def _is_broken(document: Document) -> bool:
    return document.data is None and bool(document.problems)


def _validate(document: Document) -> Config | None:
    data = {} if document.data is None else document.data
    try:
        # JSON's strict mode is the one that takes lists for tuples and text for dates, and "5" for no number.
        return Config.model_validate_json(json.dumps(data), strict=True)
    except ValidationError as error:
        explain(error, Config, document)
        return None


def _check_against_catalogue(document: Document) -> None:
    def resolves(name: str) -> bool:
        from .paper_data import catalogue

        return catalogue().knows(name)

    def names() -> tuple[str, ...]:
        from .paper_data import catalogue

        return catalogue().names

    def phases() -> tuple[str, ...]:
        from .paper_data import catalogue

        return catalogue().phase_names

    check_references(document, resolves=resolves, catalogue_names=names, catalogue_phases=phases)
