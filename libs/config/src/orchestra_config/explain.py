"""Pydantic's findings as mistakes with a place, in words that name what was expected."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError

from .problems import Path, did_you_mean
from .yaml_source import Document

_WORDS = {
    "missing": "required, but absent",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "string_type": "must be text; quote it if it looks like a number",
    "tuple_type": "must be a list",
    "dict_type": "must be a mapping",
    "mapping_type": "must be a mapping",
    "model_type": "must be a mapping",
    "model_attributes_type": "must be a mapping",
    "too_short": "must not be empty",
}


def explain(error: ValidationError, root: type[BaseModel], document: Document) -> None:
    """Add one problem per finding to the document."""
    for finding in error.errors(include_url=False, include_input=True):
        path = _path_in(document.data, finding["loc"])
        if any(path[:end] in document.unreadable for end in range(len(path) + 1)):
            continue  # the reason was reported where the value was read
        kind = finding["type"]
        if kind == "too_short" and finding["input"]:
            continue  # its items are wrong and named one by one
        if kind == "extra_forbidden":
            known = _fields_at(root, path[:-1])
            hint = did_you_mean(str(path[-1]), known) or f"; known here: {', '.join(sorted(known))}"
            document.report(path, f"unknown key{hint}", at_key=True)
        elif kind == "literal_error":
            given, known = finding["input"], _literals_at(root, path)
            hint = did_you_mean(given, known) if isinstance(given, str) else ""
            document.report(path, f"must be one of {', '.join(known) or finding['ctx']['expected']}{hint}")
        elif kind == "missing":
            document.report(path[:-1], f"{path[-1]} is required, but absent")
        else:
            message = _WORDS.get(kind) or finding["msg"].removeprefix("Value error, ")
            message = message.replace("Input should", "must").replace("String should", "must")
            document.report(path, message)


def _path_in(data: Any, loc: tuple[int | str, ...]) -> Path:
    """The finding's location without the tags that pydantic adds for unions."""
    path: list[str | int] = []
    for position, step in enumerate(loc):
        inside = (isinstance(step, int) and step < len(data)) if isinstance(data, list) else False
        if inside or (isinstance(data, dict) and step in data):
            data = data[step]
        elif position < len(loc) - 1 or not isinstance(data, dict):
            continue  # a tag; a missing key is always last, and below a mapping
        path.append(step)
    return tuple(path)


def _fields_at(root: type[BaseModel], path: Path) -> tuple[str, ...]:
    annotation = _annotation_at(root, path)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return tuple(field.alias or name for name, field in annotation.model_fields.items())
    return ()


def _literals_at(root: type[BaseModel], path: Path) -> tuple[str, ...]:
    annotation = _annotation_at(root, path)
    return tuple(map(str, get_args(annotation))) if get_origin(annotation) is Literal else ()


def _annotation_at(annotation: Any, path: Path) -> Any:
    for step in path:
        annotation = _bare(annotation)
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            field = annotation.model_fields.get(str(step))
            annotation = field.annotation if field else None
        elif get_origin(annotation) is tuple:
            annotation = get_args(annotation)[0]
        elif isinstance(origin := get_origin(annotation), type) and issubclass(origin, Mapping):
            annotation = get_args(annotation)[1]
        else:
            return None
    return _bare(annotation)


def _bare(annotation: Any) -> Any:
    """Without `Annotated` and without `| None`."""
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    parts = [part for part in get_args(annotation) if part is not type(None)]
    if type(None) in get_args(annotation) and len(parts) == 1:
        return _bare(parts[0])
    return annotation
