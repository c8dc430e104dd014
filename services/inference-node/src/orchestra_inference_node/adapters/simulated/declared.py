"""What the options of a simulated model declare."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from orchestra_errors import Violations
from orchestra_inference_node.domain.pace import Pace
from orchestra_inference_node.ports import LoadSettings, ModelFiles

PREFIX = "simulated:"


@dataclass(frozen=True, slots=True)
class Failure:
    """How the model fails: `kind` is one of entry.FAILURES, empty for never.

    Of the answers that are longer than `after` tokens every `every`th fails there, so that the one token
    which warms a model up does not count. `text` is what it says then.
    """

    kind: str = ""
    after: int = 8
    every: int = 1
    text: str = "as declared"


@dataclass(frozen=True, slots=True)
class Answers:
    """What there is to say. `distinct` None: without bound.

    `skew` 0: all are as likely; more of it favours some. `share` of the answers are those of the `family`.
    """

    own: str
    tokens: int = 64
    distinct: int | None = None
    skew: float = 0.5
    family: str = ""
    share: float = 0.0


@dataclass(frozen=True, slots=True)
class Declared:
    """A simulated model. `memory` in bytes, None: not declared."""

    pace: Pace
    answers: Answers
    failure: Failure
    load_s: float
    memory: int | None
    embedding_size: int

    @classmethod
    def read(cls, path: str, options: Mapping[str, str]) -> Declared:
        """Raises InvalidRequest naming everything that is wrong."""
        found = Violations()
        found.require(path.startswith(PREFIX), "spec.path", f"must begin with {PREFIX!r}, is {path!r}")
        for name, most in (("batch_gain", 1), ("family_share", 1), ("skew", 100)):
            value = options.get(name, "0")
            field = f"spec.engine_options[{name!r}]"
            found.require(float(value) <= most, field, f"must be from 0 to {most}, is {value!r}")
        if "family_share" in options:
            field = "spec.engine_options['family']"
            found.require("family" in options, field, "must be set where family_share is")
        found.raise_if_any()

        def number(name: str, absent: float = 0.0) -> float:
            return float(options.get(name, absent))

        return cls(
            pace=Pace(
                number("tokens_per_second"),
                number("prefill_per_second"),
                number("first_token_s"),
                number("batch_gain", 0.5),
            ),
            answers=Answers(
                own=path.removeprefix(PREFIX),
                tokens=int(options.get("answer_tokens", 64)),
                distinct=int(options["answers"]) if "answers" in options else None,
                skew=number("skew", 0.5),
                family=options.get("family", ""),
                share=number("family_share", 1.0 if "family" in options else 0.0),
            ),
            failure=Failure(
                options.get("fails", ""),
                int(options.get("fails_after", 8)),
                int(options.get("fails_every", 1)),
                options.get("failure", "as declared"),
            ),
            load_s=number("load_s"),
            memory=int(options["memory"]) if "memory" in options else None,
            embedding_size=int(options.get("embedding_size", 384)),
        )


def inspect(path: str, options: Mapping[str, str]) -> ModelFiles:
    """There are no files: what is declared is what the revision names. Raises InvalidRequest."""
    Declared.read(path, options)
    listed = "".join(f"{name}={value}\n" for name, value in sorted(options.items()))
    digest = hashlib.sha256(f"{path}\n{listed}".encode()).hexdigest()
    return ModelFiles((), "", chat=True, identity=f"simulated:{digest}")


def memory(settings: LoadSettings) -> int | None:
    """The declared bytes; None where nothing is declared."""
    return Declared.read(settings.path, settings.options).memory
