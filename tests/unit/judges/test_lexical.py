"""Lexical judges: what counts as the same under each normaliser; nothing to compare with is missing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from theodolite.judges.lexical import normalised
from theodolite.judges.making import build
from theodolite.judges.verdict import Answer

NAMES = ["exact_match", "contains", "word_set"]


def grades(answer: str, *references: str, **options: str) -> list[float | None]:
    item = Answer.of("q", answer, references=references)
    return [build(n, **options).grade([item])[0].grade for n in NAMES]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("answer", "references", "expected"),
    [
        ("Paris", ["Paris"], [1, 1, 1]),
        (" paris ", ["Paris"], [1, 1, 1]),
        ("The answer is Paris.", ["Paris"], [0, 1, 1]),
        ("The answer is Paris.", ["London", "Paris"], [0, 1, 1]),
        ("I went to a party", ["art"], [0, 1, 0]),  # letters, not words
        ("Lincoln, Abraham", ["Abraham Lincoln"], [0, 0, 1]),  # words, not their order
        ("Rome", ["Paris"], [0, 0, 0]),
        ("ＰＡＲＩＳ", ["paris"], [1, 1, 1]),  # full-width letters
    ],
)
def test_the_three_readings_of_the_same(answer: str, references: list[str], expected: list[float]) -> None:
    assert grades(answer, *references) == expected


def test_the_normalisers() -> None:
    assert grades("paris", "Paris", normaliser="exact") == [0, 0, 0]
    assert grades(" Paris\n", "Paris", normaliser="exact") == [1, 1, 1]
    assert grades("The Paris!", "paris", normaliser="answer") == [1, 1, 1]
    assert normalised(" The  Cat. ", "answer") == "cat"


@pytest.mark.parametrize("references", [[], [""], ["  "]])
def test_without_a_reference_there_is_no_verdict(references: list[str]) -> None:
    found = build("contains").grade([Answer.of("q", "x", references=references)])[0]  # type: ignore[union-attr]
    assert found.grade is None
    assert found.why == "no reference answer"


def test_an_empty_reference_beside_a_real_one_does_not_match_everything() -> None:
    assert grades("Rome", "", "Paris") == [0, 0, 0]


@given(st.text(min_size=1, max_size=40), st.text(min_size=1, max_size=40), st.sampled_from(["exact", "case", "answer"]))
def test_an_exact_match_is_always_contained(answer: str, reference: str, how: str) -> None:
    exact, inside, _ = grades(answer, reference, normaliser=how)
    assert exact != 1 or inside == 1


@given(st.text("ab AB.", max_size=20), st.text("ab AB.", max_size=20))
def test_case_never_costs_a_match(answer: str, reference: str) -> None:
    strict, lenient = grades(answer, reference, normaliser="exact"), grades(answer, reference, normaliser="case")
    assert all(s != 1 or c == 1 for s, c in zip(strict, lenient, strict=True))
