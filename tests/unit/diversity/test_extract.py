"""Taking the code out of an answer."""

from __future__ import annotations

import ast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestra_diversity import extract_code

SOLUTION = "def double(x):\n    return 2 * x"
OTHER = "import math\n\n\ndef area(r):\n    return math.pi * r ** 2"


def test_a_fenced_block_is_taken_out_of_its_prose() -> None:
    found = extract_code(f"Sure! Here it is:\n\n```python\n{SOLUTION}\n```\nThis runs in O(1).")
    assert (found.code, found.how, found.language) == (SOLUTION, "fenced", "python")


def test_a_block_still_open_at_the_end_counts() -> None:
    assert extract_code(f"```python\n{SOLUTION}").code == SOLUTION


def test_blocks_that_only_call_or_show_output_are_dropped() -> None:
    text = f"```python\n{SOLUTION}\n```\nUse it:\n```python\nprint(double(3))\n```\nOutput:\n```text\n6\n```"
    assert extract_code(text).code == SOLUTION


def test_definitions_in_several_blocks_are_joined() -> None:
    found = extract_code(f"First\n```py\n{SOLUTION}\n```\nthen\n```py\n{OTHER}\n```")
    assert found.code == f"{SOLUTION}\n\n{OTHER}"


def test_the_asked_language_is_taken() -> None:
    java = "class A { int f(int x) { return 2 * x; } }\n// much longer than the other"
    text = f"```java\n{java}\n```\n```python\n{SOLUTION}\n```"
    assert extract_code(text, "python").code == SOLUTION
    assert extract_code(text).language == "java"


def test_an_indented_fence_is_dedented() -> None:
    text = "1. Write\n\n   ```python\n   def f():\n       return 1\n   ```"
    assert extract_code(text).code == "def f():\n    return 1"


def test_reasoning_is_dropped() -> None:
    draft = "```python\ndef wrong(): pass\n```"
    assert extract_code(f"<think>maybe {draft}</think>\n```python\n{SOLUTION}\n```").code == SOLUTION
    assert extract_code(f"maybe {draft}</think>\n```python\n{SOLUTION}\n```").code == SOLUTION


def test_reasoning_that_never_ends_is_kept() -> None:
    assert extract_code(f"<think>\n{SOLUTION}").code == SOLUTION


@pytest.mark.parametrize("code", [SOLUTION, OTHER, "x = [\n    1,\n    2,\n]\nprint(x)"])
def test_code_without_a_fence_is_found_between_prose(code: str) -> None:
    found = extract_code(
        f"Here is the function you asked for:\n\n{code}\n\nIt doesn't need any imports, I think."
    )
    assert (found.code, found.how) == (code, "parsed")


def test_branches_and_decorators_stay_with_their_statement() -> None:
    code = (
        "@cache\ndef f(n):\n    return n\n\ntry:\n    f(1)\nexcept ValueError:\n    f(2)\n\n"
        "if f(3):\n    f(4)\nelse:\n    f(5)"
    )
    assert extract_code(f"I would write this:\n{code}\nGood luck with it!").code == code


def test_the_longest_of_several_parts_wins() -> None:
    found = extract_code(f"call f(1) like so:\nf(1)\nand it is defined as\n{SOLUTION}\nthat is all.")
    assert found.code == SOLUTION


def test_an_answer_cut_in_the_middle_of_a_line_keeps_what_parses() -> None:
    code = "def f(xs):\n    total = 0\n    for x in xs:\n        total += x"
    found = extract_code(f"Well then:\n{code}\n    return (tot")
    assert found.how == "parsed"
    assert found.code == code


@pytest.mark.parametrize("text", ["I don't know.", "Hello", "Note: remember\nWarning", "yes\nno", ""])
def test_prose_is_taken_whole(text: str) -> None:
    found = extract_code(text)
    assert (found.code, found.how) == (text, "whole")


def test_another_language_is_never_tried_as_python() -> None:
    assert extract_code("x = 1", "ruby").how == "whole"


@given(st.text())
@settings(deadline=None, max_examples=50)
def test_any_text_is_read(text: str) -> None:
    found = extract_code(text)
    if found.how == "parsed":
        ast.parse(found.code)


@pytest.mark.parametrize(
    "text",
    ["(" * 100_000, "(\n" * 30_000, "<think>" * 14_000, "```\n" * 25_000, "x = '''\n" * 12_000,
     "if x:\n" * 15_000, "import\n" * 14_000, "@a\n" * 30_000, "\\\n" * 50_000,
     " " * 100_000, '"' * 100_000, "a" * 100_000],
)  # fmt: skip
@pytest.mark.timeout(20)
def test_hostile_text_is_read_in_bounded_time(text: str) -> None:
    """The bound is the test's timeout: without the budgets these take minutes."""
    extract_code(text)
