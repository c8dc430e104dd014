"""What the measures call alike, on programs that are and are not."""

from __future__ import annotations

import ast
import random
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestra_diversity import DiversityReport, Sample, measure

Programs = dict[str, dict[str, str]]
KERNELS = ("lexical", "syntactic", "approach", "combined")
texts = st.one_of(
    st.text(max_size=60),
    st.sampled_from(
        [
            "",
            "x = 1",
            "def f(a):\n    return a + 1",
            "def f(:\n  (",
            "```java\nint f() { return 1; }\n```",
            "I do not know.",
        ]
    ),
)
answers = st.lists(st.builds(Sample, text=texts, model=st.sampled_from(["m", "n"])), min_size=1, max_size=7)


def of(*codes: str, model: str = "m") -> DiversityReport:
    return measure([Sample(code, model) for code in codes])


class TestOfAnySet:
    @given(answers)
    @settings(deadline=None, max_examples=60)
    def test_every_kernel_is_a_similarity_matrix_with_a_score_within_its_bounds(
        self, samples: list[Sample]
    ) -> None:
        report, n = measure(samples), len(samples)
        for name in KERNELS:
            kernel = getattr(report, name)
            matrix = np.array(kernel.similarity)
            assert matrix.shape == (n, n)
            assert (matrix == matrix.T).all() and (np.diag(matrix) == 1.0).all()
            assert (matrix >= 0.0).all() and (matrix <= 1.0).all()
            assert np.linalg.eigvalsh(matrix)[0] > -1e-9
            assert 1.0 <= kernel.effective_number <= n
        for groups in (report.groups, report.equal_texts, report.equal_codes):
            assert sorted(index for group in groups for index in group) == list(range(n))

    @given(answers, st.randoms(use_true_random=False))
    @settings(deadline=None, max_examples=40)
    def test_the_order_of_the_samples_does_not_matter(
        self, samples: list[Sample], rng: random.Random
    ) -> None:
        order = rng.sample(range(len(samples)), len(samples))
        report, shuffled = measure(samples), measure([samples[index] for index in order])
        for name in KERNELS:
            there, here = getattr(report, name), getattr(shuffled, name)
            moved = np.array(there.similarity)[np.ix_(order, order)]
            np.testing.assert_allclose(np.array(here.similarity), moved, atol=1e-12)
            assert here.effective_number == pytest.approx(there.effective_number, abs=1e-9)
        assert shuffled.lexical_figures.compression == report.lexical_figures.compression
        assert shuffled.lexical_figures.self_bleu == pytest.approx(report.lexical_figures.self_bleu)

    @given(texts, st.integers(2, 6))
    @settings(deadline=None, max_examples=40)
    def test_copies_are_one_answer(self, text: str, n: int) -> None:
        report = measure([Sample(text, "m")] * n)
        for name in KERNELS:
            assert getattr(report, name).effective_number == pytest.approx(1.0, abs=1e-9)
        assert report.groups == report.equal_texts == report.equal_codes == (tuple(range(n)),)
        assert report.lexical_figures.self_bleu == pytest.approx(1.0)


def test_no_samples_have_no_diversity() -> None:
    with pytest.raises(ValueError, match="at least one"):
        measure([])


def test_one_sample_is_one_answer_and_has_no_distance() -> None:
    report = of("x = 1")
    for name in KERNELS:
        assert getattr(report, name).effective_number == 1.0
        assert getattr(report, name).mean_distance is None
    assert report.lexical_figures.self_bleu is None
    assert report.models[0].marginal == 1.0


def test_disguised_copies_are_the_same_program(programs: Programs, disguise: Callable[[str], str]) -> None:
    for algorithms in programs.values():
        for code in algorithms.values():
            report = of(code, disguise(code))
            assert report.syntactic.similarity[0][1] > 0.96
            assert report.approach.similarity[0][1] > 0.99
            assert report.groups == ((0, 1),)


def test_eight_disguised_copies_count_as_about_one(
    programs: Programs, disguises: list[Callable[[str], str]]
) -> None:
    for algorithms in programs.values():
        for code in algorithms.values():
            twice = [disguises[0](put_on(code)) for put_on in disguises[1:4]]
            copies = [code, *(put_on(code) for put_on in disguises[:4]), *twice]
            assert len(copies) == 8
            assert of(*copies).combined.effective_number < 1.1


def test_five_algorithms_count_as_more_than_four(programs: Programs) -> None:
    for algorithms in programs.values():
        report = of(*algorithms.values())
        assert report.combined.effective_number > 4.2
        assert len(report.groups) == 5


class _OneStepOff(ast.NodeTransformer):
    """Changes the nth number or comparison of a program: a plausible wrong answer."""

    def __init__(self, nth: int) -> None:
        self._left = nth
        self.changed = False

    def _now(self) -> bool:
        self._left -= 1
        self.changed |= self._left == 0
        return self._left == 0

    def visit_Constant(self, node: ast.Constant) -> ast.Constant:
        if type(node.value) is int and self._now():
            node.value += 1
        return node

    def visit_Compare(self, node: ast.Compare) -> ast.Compare:
        self.generic_visit(node)
        if type(node.ops[0]) is ast.Lt and self._now():
            node.ops[0] = ast.LtE()
        return node


def test_a_wrong_program_is_less_alike_than_any_copy_is(
    programs: Programs, disguises: list[Callable[[str], str]]
) -> None:
    copies, wrongs = [], []
    for algorithms in programs.values():
        for code in algorithms.values():
            copies += [of(code, put_on(code)).combined.similarity[0][1] for put_on in disguises]
            for nth in (1, 2, 3):
                change = _OneStepOff(nth)
                wrong = ast.unparse(change.visit(ast.parse(code)))
                if change.changed:
                    wrongs.append(of(code, wrong).combined.similarity[0][1])
    assert len(wrongs) >= 40
    assert max(wrongs) < min(copies)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("def f(x):\n    x += 1\n    return x", "def f(x):\n    x = x + 1\n    return x"),
        ("def f(a, b):\n    return a > b", "def f(a, b):\n    return b < a"),
        (
            "def f(x):\n    if x:\n        return 1\n    else:\n        return 2",
            "def f(x):\n    if x:\n        return 1\n    return 2",
        ),
        ("def f(x: int) -> int:\n    y: int = x + 1\n    return y", "def f(x):\n    y = x+1\n    return y"),
        ("def f(x):\n    result = g(x)\n    return result", "def f(x):\n    return g(x)"),
        (
            "import heapq as h\ndef f(x):\n    return h.heappop(x)",
            "from heapq import heappop\ndef f(x):\n    return heappop(x)",
        ),
        ("def f(x):\n    return x\n\nif __name__ == '__main__':\n    print(f(2))", "def f(x):\n    return x"),
    ],
)  # fmt: skip
def test_another_spelling_is_not_another_program(one: str, other: str) -> None:
    report = of(one, other)
    assert report.approach.similarity[0][1] == pytest.approx(1.0)
    assert report.syntactic.similarity[0][1] > 0.85  # the token shape still sees the spelling


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("def f(a, b):\n    return g(a, b)", "def f(a, b):\n    return g(b, a)"),
        ("def f(a, b):\n    c = a - b\n    return c * a", "def f(a, b):\n    c = b - a\n    return c * a"),
    ],
)
def test_mixing_up_two_variables_shows(one: str, other: str) -> None:
    assert of(one, other).syntactic.similarity[0][1] < 0.95


class TestBrokenCode:
    CODE = "def total(xs):\n    result = 0\n    for x in xs:\n        result += x\n    return result"
    BROKEN = "```python\n" + CODE.replace("xs:", "xs") + "\n```"

    def test_it_is_measured_by_its_tokens_and_says_so(self) -> None:
        report = of(self.BROKEN, self.CODE)
        assert report.readings[0].form == "tokens"
        assert "syntax error in line 3" in (report.readings[0].problem or "")
        assert report.readings[1].form == "ast" and report.readings[1].problem is None

    def test_a_renamed_copy_of_it_is_the_same(self) -> None:
        renamed = self.BROKEN.replace("result", "s").replace("xs", "numbers")
        assert of(self.BROKEN, renamed).syntactic.similarity[0][1] == pytest.approx(1.0)

    def test_it_is_more_like_its_repaired_self_than_like_another_program(self, programs: Programs) -> None:
        report = of(self.BROKEN, self.CODE, programs["sort"]["heap"], programs["words"]["trie"])
        row = report.combined.similarity[0]
        assert row[1] > 0.4 > max(row[2], row[3])


class TestOtherTexts:
    JAVA = "```java\nint sum(int[] a) {\n  int s = 0; // add\n  for (int x : a) s += x;\n  return s;\n}\n```"

    def test_another_language_is_measured_by_its_tokens(self) -> None:
        renamed = self.JAVA.replace("int s", "int t").replace("s +=", "t +=").replace("return s", "return t")
        report = of(self.JAVA, renamed.replace("// add", "// sum up"))
        assert report.readings[0].form == "tokens"
        assert report.readings[0].problem == "no parser for java"
        assert report.syntactic.similarity[0][1] == pytest.approx(1.0)

    def test_prose_is_compared_by_its_words(self) -> None:
        report = of(
            "The river bends twice before the old mill appears behind some willows.",
            "The river bends twice before an old mill appears behind some willows.",
            "Interest rates rose again this quarter, so bond prices kept falling.",
        )
        assert {reading.form for reading in report.readings} == {"words"}
        row = report.combined.similarity[0]
        assert row[1] > 0.7 and row[2] < 0.1

    def test_an_empty_answer_is_like_another_empty_one_only(self) -> None:
        report = of("", "def f(x):\n    return x", "")
        assert report.groups == ((0, 2), (1,))
        assert report.readings[0].problem == "the answer holds no text"


def test_without_embeddings_the_semantic_measure_is_absent_not_zero() -> None:
    samples = [Sample("x = 1", "m"), Sample("y = 2", "m")]
    assert measure(samples).semantic is None
    given_some = measure(samples, [[1.0, 0.0], [0.0, 2.0]]).semantic
    assert given_some is not None
    assert given_some.effective_number == pytest.approx(2.0)


def test_lexical_sees_the_renaming_that_the_others_ignore(
    programs: Programs, disguises: list[Callable[[str], str]]
) -> None:
    code = programs["sort"]["merge"]
    report = of(code, disguises[0](code))
    assert report.lexical.similarity[0][1] < 0.8 < 0.96 < report.syntactic.similarity[0][1]


def test_lexical_figures_of_a_set_where_nothing_repeats() -> None:
    figures = of("alpha beta gamma delta epsilon", "one two three four five six").lexical_figures
    assert figures.distinct == (1.0, 1.0, 1.0, 1.0)
    assert figures.self_bleu == 0.0
    assert figures.compression > 0.9


def test_lexical_figures_of_copies() -> None:
    code = "def f(values):\n" + "".join(f"    step_{i} = values[{i}] * {i * i}\n" for i in range(40))
    figures = of(*[code] * 8).lexical_figures
    assert figures.compression < 0.2
    assert figures.distinct[3] is not None and figures.distinct[3] < 0.13
