"""Finds the longest run of lines that is Python, inside a text that mixes it with prose."""

from __future__ import annotations

import ast
import re

from .parsing import Unparsable, parse

_CONTINUES = re.compile(r"(?:else|elif|except|finally)\b|[)\]}]")
_OPENS = re.compile(
    r"@|(?:async\s+)?(?:def|for|with)\b|(?:class|if|while|try|match|from|import|return)\b"
    r"|.*[(\[{][ \t]*$|.*(?:\"\"\"|''')",
    re.MULTILINE,
)
_BARE = re.compile(r"#[^\n]*|\s+")
_MOST_JOINED = 60
_MOST_CUTS = 12
_PARSED_PER_CHAR = 20  # an ordinary answer needs 1 to 3; hostile ones are left early
_PARSED_ANYWAY = 20_000
_CALL = 60  # what a call costs beside its characters, in characters


def longest_part(text: str) -> str | None:
    """The longest stretch of whole top-level statements, or None when nothing in the text is code.

    Lone words and strings are not code though they parse. A last statement that was cut short counts as far
    as it still parses. The characters parsed are bounded by a multiple of the text's; at the bound the best
    so far wins.
    """
    return _Finder(text).longest()


class _Finder:
    def __init__(self, text: str) -> None:
        self._segments = _segments(text.split("\n"))
        self._left = _PARSED_PER_CHAR * len(text) + _PARSED_ANYWAY

    def longest(self) -> str | None:
        whole = "\n".join(self._segments)
        try:
            return whole.strip("\n") if _does_something(parse(whole)) else None
        except Unparsable:
            return self._longest_run()

    def _longest_run(self) -> str | None:
        runs: list[list[str]] = [[]]
        at = 0
        while at < len(self._segments) and self._left > 0:
            code, taken = self._statement(at)
            if code is not None:
                runs[-1].append(code)
            elif runs[-1]:
                runs.append([])
            at += taken
        joined = ["\n".join(run).strip("\n") for run in runs if run]
        for code in sorted(joined, key=lambda code: -len(_BARE.sub("", code))):
            if _is_code(code):
                return code
        return None

    def _statement(self, at: int) -> tuple[str | None, int]:
        """The statement that starts at a segment and how many segments it takes; (None, 1) when it is not
        code."""
        code, whole, taken = self._segments[at], None, 1
        joins = _OPENS.match(code.lstrip("\n")) is not None
        first_error: Unparsable | None = None
        for count in range(1, min(_MOST_JOINED, len(self._segments) - at) + 1):
            if count > 1:
                following = self._segments[at + count - 1]
                if not (joins if whole is None else _CONTINUES.match(following)):
                    break
                code += "\n" + following
            error = self._error(code)
            if error is None:
                whole, taken = code, count
                continue
            first_error = first_error or error
            if whole is not None or not _incomplete(error, code):
                break
        if whole is None and first_error is not None:
            return self._cut(self._segments[at], first_error), 1
        return whole, taken

    def _error(self, code: str) -> Unparsable | None:
        self._left -= len(code) + _CALL
        if self._left < 0:
            return Unparsable("too much to try")
        try:
            parse(code)
        except Unparsable as error:
            return error
        return None

    def _cut(self, segment: str, error: Unparsable) -> str | None:
        """The longest beginning of a broken statement that parses, if it is more than its first line."""
        lines = segment.rstrip("\n").split("\n")
        known = error.line is not None and "never closed" not in error.reason
        end = min(len(lines), error.line or 0) - 1 if known else len(lines) - 1
        for size in range(end, max(1, end - _MOST_CUTS), -1):
            code = "\n".join(lines[:size])
            if self._error(code) is None:
                return code
        return None


def _segments(lines: list[str]) -> list[str]:
    """Lines grouped so that each group starts in the first column; blank, indented and comment lines follow
    on."""
    indent = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
    groups: list[list[str]] = []
    for line in lines:
        line = line[indent:] if line.strip() else ""
        if not groups or (line and not line[0].isspace() and not line.startswith("#")):
            groups.append([])
        groups[-1].append(line)
    return ["\n".join(group) for group in groups]


def _incomplete(error: Unparsable, code: str) -> bool:
    """Whether more lines could still heal the error."""
    if "never closed" in error.reason or "unterminated triple" in error.reason:
        return True
    return error.line is not None and error.line >= code.rstrip("\n").count("\n") + 1


def _is_code(code: str) -> bool:
    """More than names, strings and numbers standing alone, which is how prose happens to parse."""
    try:
        return _does_something(parse(code))
    except Unparsable:
        return False


def _does_something(tree: ast.Module) -> bool:
    return any(not _idle(statement) for statement in tree.body)


def _idle(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.AnnAssign) and statement.value is None:
        return True  # "Note: remember" reads as an annotation
    if not isinstance(statement, ast.Expr):
        return False
    return not any(isinstance(node, ast.Call | ast.NamedExpr | ast.Await) for node in ast.walk(statement))
