"""The model's tokens, by its tokenizer.json. May be used by several threads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from orchestra_errors import DataLoss, InvalidRequest
from orchestra_inference_node.adapters.exllamav2.folder import ModelFolder


class Vocabulary:
    """What texts and ids stand for each other, and which ids end an answer."""

    def __init__(self, tokenizer: Any, folder: ModelFolder, size: int) -> None:
        """`tokenizer` is a `tokenizers.Tokenizer`, `size` how many tokens the model draws from. Raises
        DataLoss when nothing says which token ends an answer."""
        self._tokenizer = tokenizer
        self.size = size
        named = folder.read_if_there("tokenizer_config.json")
        self.special = _special_tokens(named)
        self._begin = self._beginning(named)
        ends = {*_ids(folder.setting("eos_token_id"))}
        ends |= _ids(folder.read_if_there("generation_config.json").get("eos_token_id"))
        ends |= _ids(self._id_of(self.special.get("eos_token", "")))
        self.eos_tokens = frozenset(one for one in ends if 0 <= one < size)
        if not self.eos_tokens:
            raise DataLoss(str(folder.path), "nothing in it says which token ends an answer")

    def encode(self, text: str, *, special: bool) -> tuple[int, ...]:
        """`special`: with the token that begins every prompt of this model."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        begin = self._begin if special and (not ids or (ids[0],) != self._begin) else ()
        return (*begin, *ids)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids without special tokens."""
        text: str = self._tokenizer.decode(list(ids), skip_special_tokens=True)
        return text

    def text_of(self, token_id: int) -> str:
        """The text of one token, also of a special one."""
        text: str = self._tokenizer.decode([token_id], skip_special_tokens=False)
        return text

    def special_id(self, text: str) -> int | None:
        """The special token that a text is the name of: it makes no text, so that no text can match it."""
        token = self._id_of(text)
        return token if token is not None and text and not self.decode([token]) else None

    def check(self, ids: Iterable[int], field: str) -> None:
        """Raises InvalidRequest for an id that the model does not have: on the card it would break all."""
        beyond = next((one for one in ids if not 0 <= one < self.size), None)
        if beyond is not None:
            raise InvalidRequest.of(field, f"{beyond} is no token of this model")

    def to_json(self) -> str:
        """The tokenizer as its file has it."""
        shown: str = self._tokenizer.to_str()
        return shown

    def _id_of(self, text: str) -> int | None:
        found: int | None = self._tokenizer.token_to_id(text) if text else None
        return found

    def _beginning(self, named: Mapping[str, Any]) -> tuple[int, ...]:
        begin = self._id_of(self.special.get("bos_token", ""))
        if begin is None:
            return ()
        says = named.get("add_bos_token")
        if not isinstance(says, bool):
            says = begin in self._tokenizer.encode("").ids
        return (begin,) if says else ()


def _special_tokens(named: Mapping[str, Any]) -> dict[str, str]:
    """By the names of tokenizer_config.json, such as bos_token."""
    found = {}
    for name, value in named.items():
        text = value.get("content") if isinstance(value, dict) else value
        if name.endswith("_token") and isinstance(text, str):
            found[name] = text
    return found


def _ids(said: Any) -> set[int]:
    several = said if isinstance(said, list) else [said]
    return {one for one in several if isinstance(one, int) and not isinstance(one, bool)}
