"""Answers as models write them, and the option each of them chose."""

from __future__ import annotations

import pytest

from theodolite.errors import UsageError
from theodolite.measures.values.option_parser import parse_option

COLOURS = ["Red", "Blue", "Light blue", "Green"]


@pytest.mark.parametrize(
    ("answer", "index"),
    [
        ("B", 1), ("b", 1), (" B. ", 1), ("(B)", 1), ("B)", 1), ("B: Blue", 1), ("B. Blue, since the sky is.", 1),
        ("**B**", 1), ("B\nBecause of the sky.", 1), ("D, green", 3),
        ("The answer is B.", 1), ("I think the correct Answer is (D).", 3), ("I would choose option C", 2),
        ("My choice: A", 0),
        ("I like red best.", 0), ("It's light blue", 2), ("Blue.", 1),
        ("A colour I like is green.", 3), ("I prefer green", 3),
        ("", -1), ("None of them.", -1), ("Either A or B.", -1), ("Red or green", -1), ("Option A or option B", -1),
        ("E", -1), ("Bluebell", -1),
    ],
)  # fmt: skip
def test_answers(answer: str, index: int) -> None:
    assert parse_option(answer, COLOURS) == index


def test_one_text_inside_another() -> None:
    scale = ["likely", "not likely", "very likely"]
    assert [parse_option(f"That is {w}.", scale) for w in scale] == [0, 1, 2]
    assert parse_option("Likely, or not likely?", scale) == -1


def test_digits() -> None:
    assert parse_option("3", COLOURS, "1234") == 2
    assert parse_option("The answer is 2", COLOURS, "1234") == 1
    assert parse_option("Answer: 12", COLOURS, "1234") == -1


def test_too_few_labels() -> None:
    with pytest.raises(UsageError, match="4 options need as many labels, got 2"):
        parse_option("A", COLOURS, "AB")
