"""A key can be used and can not be seen: not in logs, tracebacks, JSON, pickles or error messages."""

from __future__ import annotations

import copy
import json
import pickle
import traceback
from pathlib import Path

import pytest
from pydantic import BaseModel, ValidationError

from orchestra_secrets import (
    ChainSecretSource,
    EnvSecretSource,
    FileSecretSource,
    Secret,
    SecretInvalid,
    SecretMissing,
)

KEY = "sk-hunter2-hunter2"


class Settings(BaseModel, frozen=True):
    key: Secret


@pytest.mark.parametrize(
    "show",
    [
        repr,
        str,
        "{}".format,
        "{:>40}".format,
        lambda s: f"{s!r}{s}{[s]}{ {'k': s} }",
        lambda s: "%s %r" % (s, s),  # noqa: UP031
        lambda s: json.dumps({"k": s}, default=str),
        lambda s: (
            repr(Settings(key=s)) + Settings(key=s).model_dump_json() + str(Settings(key=s).model_dump())
        ),
        lambda s: s.fingerprint,
    ],
)
def test_it_never_shows_itself(show: object) -> None:
    assert callable(show)
    assert "hunter2" not in show(Secret(KEY))


def test_it_is_not_pickled_and_has_no_dict() -> None:
    with pytest.raises(TypeError):
        pickle.dumps(Secret(KEY))
    with pytest.raises(TypeError):
        vars(Secret(KEY))
    with pytest.raises(TypeError):
        json.dumps(Secret(KEY))


def test_it_can_be_used() -> None:
    secret = Secret(f"  {KEY}\n")
    assert secret.reveal() == KEY
    assert secret == Secret(KEY) == copy.deepcopy(secret)
    assert secret != Secret("other")
    assert secret != KEY
    assert secret.fingerprint == Secret(KEY).fingerprint != Secret("other").fingerprint
    assert Settings.model_validate({"key": KEY}).key.reveal() == KEY


@pytest.mark.parametrize(
    "value", ["", " \n", "sk-hunter2\nX-Header: 1", "sk-hunter2\r", "a\x00hunter2", "hunter2\x7fa"]
)
def test_a_broken_value_is_refused_without_being_told(value: str) -> None:
    if value.strip() == "sk-hunter2":
        assert Secret(value).reveal() == "sk-hunter2"
        return
    with pytest.raises(SecretInvalid) as raised:
        Secret(value, name="the key")
    assert "hunter2" not in "".join(traceback.format_exception(raised.value))
    assert "the key" in str(raised.value)
    with pytest.raises(ValidationError) as invalid:
        Settings.model_validate({"key": Secret(KEY)} | {"key": 5})
    assert "hunter2" not in str(invalid.value.errors(include_input=False))


async def test_environment_variables() -> None:
    source = EnvSecretSource({"ORCHESTRA_SECRET_PROVIDERS_OPENAI": KEY, "TOGETHER_API_KEY": "t"})
    assert (await source.get("providers/openai")).reveal() == KEY
    assert (await source.get("TOGETHER_API_KEY")).reveal() == "t"
    with pytest.raises(SecretMissing, match="ORCHESTRA_SECRET_PROVIDERS_GOOGLE"):
        await source.get("providers/google")


async def test_files(tmp_path: Path) -> None:
    (tmp_path / "providers").mkdir()
    (tmp_path / "providers/openai").write_text(KEY + "\n")
    (tmp_path / "binary").write_bytes(b"hunter2\xff")
    (tmp_path / "large").write_bytes(b"hunter2" * 20_000)
    source = FileSecretSource(tmp_path)
    assert (await source.get("providers/openai")).reveal() == KEY
    (tmp_path / "providers/openai").write_text("rotated")
    assert (await source.get("providers/openai")).reveal() == "rotated"
    with pytest.raises(SecretMissing):
        await source.get("providers/google")
    for name in ("binary", "large", "providers"):
        with pytest.raises(SecretInvalid) as raised:
            await source.get(name)
        assert "hunter2" not in "".join(traceback.format_exception(raised.value))


@pytest.mark.parametrize("name", ["../etc/passwd", "/etc/passwd", "a//b", "", "a/../../b", "a b"])
async def test_a_name_cannot_leave_the_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(SecretInvalid):
        await FileSecretSource(tmp_path).get(name)


async def test_the_first_that_has_it(tmp_path: Path) -> None:
    (tmp_path / "B").write_text("from file")
    chain = ChainSecretSource(EnvSecretSource({"A": "from env"}), FileSecretSource(tmp_path))
    assert (await chain.get("A")).reveal() == "from env"
    assert (await chain.get("B")).reveal() == "from file"
    with pytest.raises(SecretMissing) as raised:
        await chain.get("C")
    assert "environment variable C" in str(raised.value)
    assert str(tmp_path / "C") in str(raised.value)


async def test_a_broken_one_is_not_passed_over(tmp_path: Path) -> None:
    """Falling back to another key than the one configured would hide the mistake."""
    (tmp_path / "A").write_text("from file")
    with pytest.raises(SecretInvalid):
        await ChainSecretSource(EnvSecretSource({"A": "x\ny"}), FileSecretSource(tmp_path)).get("A")
