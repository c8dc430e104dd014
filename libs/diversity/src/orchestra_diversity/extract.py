"""Takes the code out of an answer: what a trainer would run, without the prose and the reasoning around
it."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass

from .longest_part import longest_part
from .parsing import PYTHON
from .samples import Extract

_REASONING_TAG = re.compile(r"<(/?)(?:think|thinking|reasoning)>", re.IGNORECASE)
_FENCE = re.compile(r"^(?P<indent>[ \t>]*)(?P<mark>`{3,}|~{3,})[ \t]*(?P<info>[^\n`]*)$")
_DEFINES = re.compile(
    r"^\s*(?:async\s+def|def|class|function|fn|func|impl|struct|interface|public|private|static|export|template)\b",
    re.MULTILINE,
)
# A block in one of these shows how to call or what comes out; it is not the answer while another block is.
_SHOWN = "text txt plain plaintext output console bash sh shell zsh cmd powershell json yaml toml diff"
_NOT_CODE = frozenset(_SHOWN.split())


@dataclass(frozen=True, slots=True)
class _Block:
    language: str | None
    code: str


def extract_code(text: str, language: str | None = None) -> Extract:
    """The code of an answer and how it was found.

    Fenced blocks win: those of the asked language (else of the longest block's), and when one of them defines
    something the blocks that only call it are dropped. Without a fence the longest part that parses as Python
    is taken (only when the language may be Python), and otherwise the whole text. Never raises.
    """
    found = unparsed_code(text, language)
    if found.how == "whole" and (language is None or language.lower() in PYTHON):
        part = longest_part(found.code)
        if part is not None:
            return Extract(part, "parsed", "python")
    return found


def unparsed_code(text: str, language: str | None = None) -> Extract:
    """The same without trying what parses: fenced blocks, else the whole text without its reasoning."""
    text = _without_reasoning(text.replace("\r\n", "\n").replace("\r", "\n"))
    blocks = _answering(_fenced_blocks(text), language)
    if not blocks:
        return Extract(text.strip("\n"), "whole", language)
    code = "\n\n".join(block.code.strip("\n") for block in blocks)
    return Extract(code, "fenced", language or blocks[0].language)


def _without_reasoning(text: str) -> str:
    """Without what stands between reasoning tags; an opening tag that is never closed changes nothing."""
    kept, start, opened = list[str](), 0, -1
    for tag in _REASONING_TAG.finditer(text):
        if not tag[1]:
            opened = tag.start() if opened < 0 else opened
        elif opened >= 0 or not kept:
            # a closing tag alone ends reasoning whose opening tag was part of the prompt
            kept.append(text[start : max(opened, start)] if opened >= 0 else "")
            start, opened = tag.end(), -1
    return "".join([*kept, text[start:]])


def _fenced_blocks(text: str) -> list[_Block]:
    """Blocks in order; one that is still open at the end (an answer cut short) counts."""
    blocks: list[_Block] = []
    mark, info, lines = "", "", list[str]()
    for line in text.split("\n"):
        fence = _FENCE.match(line)
        if not mark:
            if fence:
                mark, info, lines = fence["mark"], fence["info"].strip(), []
        elif fence and fence["mark"].startswith(mark) and not fence["info"].strip():
            blocks.append(_block(info, lines))
            mark = ""
        else:
            lines.append(line)
    if mark:
        blocks.append(_block(info, lines))
    return [block for block in blocks if block.code.strip()]


def _block(info: str, lines: list[str]) -> _Block:
    name = re.split(r"[\s,{:]", info.lstrip("{. "), maxsplit=1)[0].lower()
    return _Block(name or None, textwrap.dedent("\n".join(lines)))


def _answering(blocks: list[_Block], language: str | None) -> list[_Block]:
    if not blocks:
        return []
    candidates = [block for block in blocks if block.language not in _NOT_CODE] or blocks
    wanted = language.lower() if language else max(candidates, key=lambda block: len(block.code)).language
    same = [block for block in candidates if _alike(block.language, wanted)] or candidates
    return [block for block in same if _DEFINES.search(block.code)] or same


def _alike(one: str | None, other: str | None) -> bool:
    return one is None or other is None or one == other or (one in PYTHON and other in PYTHON)
