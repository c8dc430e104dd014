"""The proto's list of reasons, the kinds and their metadata keys say the same."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import pytest

import orchestra_errors as errors
from orchestra_errors import FieldViolation, OrchestraError, kinds

PROTO = Path(__file__).parents[3] / "protos/orchestra/errors/v1/reasons.proto"
CODES = set(
    [
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "ABORTED",
        "OUT_OF_RANGE",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNAUTHENTICATED",
    ]
)

EXAMPLES: list[OrchestraError] = [
    errors.InvalidRequest([FieldViolation("a", "b")]),
    errors.NotFound("model", "x", nearest=["y", "z"]),
    errors.AlreadyExists("budget", "lab"),
    errors.Unauthenticated("key expired"),
    errors.PermissionDenied("SetPrice", "not an operator"),
    errors.FailedPrecondition("node-a", "cordoned"),
    errors.Unsupported("grammar", "gemma"),
    errors.NoEligibleTarget("qwen", ["qwen: not placed"]),
    errors.SubstitutionRefused("qwen", ["gemma"]),
    errors.BudgetExceeded("lab", 500, 20, retry_after=60),
    errors.BudgetFrozen("lab"),
    errors.PriceUnknown("openai", "gpt", "lab"),
    errors.LeaseLost("flight/1"),
    errors.NotYet("LoRA adapters"),
    errors.NoCapacity("gemma", 2),
    errors.Unavailable("ledger", 1),
    errors.Draining("router", 1),
    errors.StreamSilent("Generate", 30),
    errors.WorkerLost("gemma", "exit code -9"),
    errors.WrongInstance("i-1", "i-2"),
    errors.DeadlineExceeded("Generate", 1.5),
    errors.Cancelled("Generate"),
    errors.RunCancelled("run-1"),
    errors.UpstreamFailed("openai", "rate_limited", "429", model="gpt", retry_after=7),
    errors.PeerFailed("OUT_OF_RANGE", "something"),
    errors.DataLoss("samples", "checksum"),
    errors.Internal("0" * 32),
    errors.InsufficientMemory("qwen", "P40_0", 9_000_000_000, 8_000_000_000),
]


def reasons() -> dict[str, tuple[str, set[str]]]:
    """Reason without prefix to its comment and its metadata keys."""
    found: dict[str, tuple[str, set[str]]] = {}
    comment: list[str] = []
    for line in PROTO.read_text().splitlines():
        line = line.strip()
        if line.startswith("//"):
            comment.append(line.removeprefix("//").strip())
        elif match := re.fullmatch(r"ERROR_REASON_(\w+) = (\d+);", line):
            text = " ".join(comment)
            keys = re.search(r"Metadata: (.*?)\. Caller:", text)
            named = re.sub(r"\([^)]*\)", "", keys[1]) if keys else ""
            found[match[1]] = (text, {key.strip() for key in named.split(",") if key.strip()})
            comment = []
        else:
            comment = []
    found.pop("UNSPECIFIED")
    return found


def test_every_reason_is_a_kind_and_every_kind_a_reason() -> None:
    assert reasons().keys() == kinds().keys()


@pytest.mark.parametrize("reason", sorted(reasons()))
def test_comment_and_kind_name_the_same_metadata(reason: str) -> None:
    comment, keys = reasons()[reason]
    assert keys == kinds()[reason].metadata_keys
    assert "Caller: " in comment


def test_there_is_an_example_of_every_kind() -> None:
    assert {type(error) for error in EXAMPLES} == set(kinds().values())


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: error.reason)
def test_metadata_holds_every_dynamic_word_of_the_message(error: OrchestraError) -> None:
    """So that a program never has to read the message."""
    assert error.metadata.keys() <= type(error).metadata_keys
    assert error.status_code in CODES
    for key, value in error.metadata.items():
        if key not in ("fields", "trace_id"):
            assert all(word in error.message for word in value.split(",")), (key, value, error.message)


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: error.reason)
def test_a_kind_survives_being_taken_apart(error: OrchestraError) -> None:
    """Across processes (workers) as well as across the wire."""
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert vars(again) == vars(error)
    assert str(again) == error.message


def test_an_unknown_reason_keeps_what_it_says() -> None:
    again = errors.rebuild("FROM_TOMORROW", "new", {"a": "b"}, None, (), "ABORTED")
    assert type(again) is OrchestraError
    assert (again.reason, again.status_code, again.metadata) == ("FROM_TOMORROW", "ABORTED", {"a": "b"})


def test_amounts_come_back_as_numbers() -> None:
    error = pickle.loads(pickle.dumps(errors.BudgetExceeded("lab", 500, 20)))
    assert (error.needed_nanos, error.left_nanos) == (500, 20)


def test_only_what_another_target_may_cure_lets_the_router_move_on() -> None:
    moving = {reason for reason, kind in kinds().items() if kind.may_move_on}
    assert sorted(moving) == [
        "DRAINING",
        "NO_CAPACITY",
        "STREAM_SILENT",
        "UNAVAILABLE",
        "UPSTREAM_FAILED",
        "WORKER_LOST",
        "WRONG_INSTANCE",
    ]


def test_upstream_codes_follow_the_kind() -> None:
    codes = {kind.value: errors.UpstreamFailed("p", kind).status_code for kind in errors.UpstreamKind}
    assert codes["auth"] == codes["filtered"] == "FAILED_PRECONDITION"
    assert codes["rate_limited"] == "RESOURCE_EXHAUSTED"
    assert codes["refused"] == "INVALID_ARGUMENT"
    assert codes["cut"] == codes["overloaded"] == "UNAVAILABLE"


def test_two_kinds_cannot_share_a_reason() -> None:
    with pytest.raises(TypeError, match="share the reason"):
        type("Twin", (OrchestraError,), {"reason_name": "NOT_FOUND"})


def test_violations_gather_and_nest() -> None:
    inner = errors.Violations("sampling.")
    assert not inner.require(False, "max_tokens", "must be positive, got -3")
    outer = errors.Violations()
    assert outer.require(True, "model", "must be set")
    outer.raise_if_any()
    outer.extend(inner, prefix="items[3].")
    with pytest.raises(errors.InvalidRequest) as raised:
        outer.raise_if_any()
    assert raised.value.violations == (
        FieldViolation("items[3].sampling.max_tokens", "must be positive, got -3"),
    )
