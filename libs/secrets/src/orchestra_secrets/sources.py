"""Where secrets come from: the environment, files, or the first of several."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from orchestra_secrets.secret import Secret, SecretInvalid

_NAME = re.compile(r"[A-Za-z0-9_.\-]+(/[A-Za-z0-9_.\-]+)*")
_MAX_FILE_BYTES = 64 * 1024


class SecretMissing(LookupError):
    """No source has this secret; the text names it and where it was looked for."""

    def __init__(self, name: str, looked_in: Sequence[str]) -> None:
        super().__init__(f"secret {name!r} is missing; looked in {', '.join(looked_in)}")
        self.name = name
        self.looked_in = tuple(looked_in)


class SecretSource(Protocol):
    """Reads a secret by name (`providers/openai`). Asked again, it reads again: a rotated key is seen."""

    async def get(self, name: str) -> Secret:
        """Raises SecretMissing when it is not there and SecretInvalid when it cannot be used."""
        ...


class EnvSecretSource:
    """Environment variables: `providers/openai` is `ORCHESTRA_SECRET_PROVIDERS_OPENAI`.

    A name that is a variable's own name already (`OPENAI_API_KEY`) is also read as it stands.
    """

    def __init__(self, environ: Mapping[str, str] | None = None, prefix: str = "ORCHESTRA_SECRET_") -> None:
        self._environ = os.environ if environ is None else environ
        self._prefix = prefix

    async def get(self, name: str) -> Secret:
        _check(name)
        variable = self._prefix + re.sub(r"[^A-Za-z0-9]", "_", name).upper()
        tried = [variable]
        if re.fullmatch(r"[A-Z][A-Z0-9_]*", name):
            tried.append(name)
        for candidate in tried:
            if (value := self._environ.get(candidate)) is not None:
                return Secret(value, name=f"environment variable {candidate}")
        raise SecretMissing(name, [f"environment variable {candidate}" for candidate in tried])


class FileSecretSource:
    """One file per secret under a folder, as container platforms mount them: `providers/openai` is that
    path."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def get(self, name: str) -> Secret:
        _check(name)
        path = self._folder / name
        try:
            text = await asyncio.to_thread(_read, path)
        except (FileNotFoundError, NotADirectoryError):
            raise SecretMissing(name, [f"file {path}"]) from None
        except OSError as exc:
            raise SecretInvalid(f"file {path} cannot be read: {exc.strerror}") from None
        return Secret(text, name=f"file {path}")


class ChainSecretSource:
    """The first source that has the secret. One that has it broken is not passed over."""

    def __init__(self, *sources: SecretSource) -> None:
        self._sources = sources

    async def get(self, name: str) -> Secret:
        looked_in: list[str] = []
        for source in self._sources:
            try:
                return await source.get(name)
            except SecretMissing as missing:
                looked_in += missing.looked_in
        raise SecretMissing(name, looked_in or ["no source"])


def _check(name: str) -> None:
    if not _NAME.fullmatch(name) or any(part in (".", "..") for part in name.split("/")):
        raise SecretInvalid("a secret's name has letters, digits, `_`, `-`, `.` and `/` only, without `..`")


def _read(path: Path) -> str:
    with path.open("rb") as file:
        raw = file.read(_MAX_FILE_BYTES + 1)
    if len(raw) > _MAX_FILE_BYTES:
        raise SecretInvalid(f"file {path} is larger than {_MAX_FILE_BYTES} bytes")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        # the original error would carry the value's bytes
        raise SecretInvalid(f"file {path} is not UTF-8 text") from None
