"""Model files: looked at, digested, copied to a fast disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Protocol

from orchestra_inference_node.domain.copies import Copied
from orchestra_inference_node.domain.resident import Wanted


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """What an engine would load. `quantization` is empty where the files do not say."""

    files: tuple[Path, ...]
    """Their digest is the revision of the weights; all under one folder."""
    quantization: str
    chat: bool
    """Whether there is a chat template."""
    identity: str = ""
    """Where there are no files: what stands for the revision, with its kind in front, for example
    "reported:qwen-7b". It never begins with "sha256:"."""


Inspect = Callable[[str, Mapping[str, str]], ModelFiles]
"""Looks at what a spec's path and options name, without an engine's package. It blocks.

Raises DataLoss for what is not whole, InvalidRequest for a path that is none of this engine's, OSError when
it cannot be read.
"""


@dataclass(frozen=True, slots=True)
class Weights:
    """A model's files, checked. `revision` is "sha256:" and their digest, or what stands for it where there
    are no files; `size` in bytes."""

    revision: str
    size: int
    quantization: str


class WeightsFile(Protocol):
    """Looks at model files before anything is started for them."""

    async def check(self, wanted: Wanted, engine: str, moved: Callable[[int, int], None]) -> Weights:
        """`engine` will load them. `moved` is told bytes done and in all.

        Raises NotFound, DataLoss, or FailedPrecondition for another revision.
        """
        ...


class Tier(Protocol):
    """A fast disk for copies of model files. It blocks."""

    def copy(self, path: str, files: tuple[Path, ...], stop: Event) -> Copied:
        """Copy `files`, or all of the folder that `path` is, going on from what an interrupted copy left;
        end soon after `stop` is set.

        Raises FailedPrecondition without a fast tier or room on it, DataLoss when the disk gives back
        something else, OSError.
        """
        ...

    def forget(self, path: str) -> None:
        """Remove the copy."""
        ...
