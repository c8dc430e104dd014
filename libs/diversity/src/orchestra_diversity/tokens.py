"""Tokens of source text in any of the usual languages, without a parser: it must read broken code too."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

_REST = r"""
  | (?P<number>\d(?:[\w.]|(?<=[eE])[+-])*)
  | (?P<name>[^\W\d]\w*)
  | (?P<op>\*\*=|//=|>>=|<<=|===|!==|\.\.\.|->|=>|:=|\*\*|//|<<|>>|<=|>=|==|!=|&&|\|\||\+\+|--|::
    |[-+*/%@&|^]=|[^\w\s])
"""
_STRING = r"""
    (?P<comment>%s)
  | (?P<block>[rRbBfFuU]{0,2}(?:\"\"\"(?:[^\\]|\\.)*?(?:\"\"\"|\Z)|'''(?:[^\\]|\\.)*?(?:'''|\Z)))
  | (?P<string>[rRbBfFuU]{0,2}(?:"(?:[^"\\\n]|\\.)*"?|'(?:[^'\\\n]|\\.)*'?))
"""
_FLAGS = re.VERBOSE | re.DOTALL
_HASHED = re.compile(_STRING % r"\#[^\n]*" + _REST, _FLAGS)
_SLASHED = re.compile(_STRING % r"//[^\n]*|/\*.*?(?:\*/|\Z)|^\#[^\n]*" + _REST, _FLAGS | re.MULTILINE)

HASH_COMMENTED = frozenset(
    {"python", "py", "python3", "ruby", "rb", "bash", "sh", "shell", "r", "perl", "yaml", "elixir"}
)
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)?")

_KEYWORDS = """
    False None True and as assert async await break class continue def del elif else except finally for from
    global if import in is lambda nonlocal not or pass raise return try while with yield match case function
    var let const new switch do public private static void int float double bool boolean char string long
    unsigned struct fn mut impl pub func go defer range package interface extends implements throw throws
    catch null nil true false this self super typedef template typename namespace using include end then begin
    elsif unless until
"""
KEYWORDS = frozenset(_KEYWORDS.split())
# Formatting, not meaning: a rewrapped call or a trailing comma must not look like another program.
_LAYOUT = frozenset("(),;\\")


def code_tokens(code: str, language: str | None = None) -> list[str]:
    """Names, numbers, strings and operators in order; comments and white space are dropped."""
    pattern = _HASHED if language is None or language.lower() in HASH_COMMENTED else _SLASHED
    return [match.group() for match in pattern.finditer(code) if match.lastgroup != "comment"]


def words(text: str) -> list[str]:
    """Lower-case words of a text that is not code."""
    return [word.lower() for word in _WORD.findall(text)]


def shape(tokens: Iterable[str]) -> list[str]:
    """Tokens with names, numbers and strings made equal, and without what only lays code out."""
    shaped: list[str] = []
    for token in tokens:
        first = token[0]
        if token in KEYWORDS:
            shaped.append(token)
        elif token.endswith(('"', "'")) or first in "\"'":
            if not token.endswith(('"""', "'''")):
                shaped.append("S")
        elif first.isdigit():
            shaped.append("0")
        elif first == "_" or first.isalpha():
            shaped.append("N")
        elif token not in _LAYOUT:
            shaped.append(token)
    return shaped


def ngrams(tokens: Sequence[str], n: int) -> Counter[tuple[str, ...]]:
    """Counts of the n-grams; empty when there are fewer than n tokens."""
    return Counter(zip(*(tokens[start:] for start in range(n)), strict=False))
