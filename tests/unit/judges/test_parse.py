"""Parsers: many shapes of output; what is not clearly a verdict is None."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from theodolite.judges.parse import parse_grade, parse_name, parse_winner

WINNERS = [
    ("A", "A"),
    ("b", "B"),
    ("B.", "B"),
    ("**A**", "A"),
    ("Answer B", "B"),
    ("(a)", "A"),
    ('"B"', "B"),
    ("Output (b)", "B"),
    ("1", "A"),
    ("Response 2.", "B"),
    ("the first answer", "A"),
    ("tie", "tie"),
    ("A tie", "tie"),
    ("Equally good.", "tie"),
    ("[[A]]", "A"),
    ("[[ B ]]", "B"),
    ("[[C]]", "tie"),
    ("[[A>B]]", "A"),
    ("[[B >> A]]", "B"),
    ("[[A<<B]]", "B"),
    ("[[A=B]]", "tie"),
    ("My final verdict is: [[B>A]]", "B"),
    ("B is longer, but wrong.\n\nVerdict: A", "A"),
    ("Verdict: B. No, I was wrong.\nVerdict: A", "A"),
    ("Verdict: A\nVerdict: A", "A"),
    ("Verdict: A\nVerdict: B\nVerdict: tie\nThese are the choices.\nVerdict: B", "B"),
    ("At first I thought [[A]].\nVerdict: B", "B"),
    ("VERDICT - b is all I say\nVerdict: B", "B"),
    ("## Verdict\nA", "A"),
    ("**Verdict:** A", "A"),
    ("Verdict: **Answer A** because it is right.", "A"),
    ("Verdict: [[A]]", "A"),
    ("Verdict:\nB", "B"),
    ("Final decision: Response 1.", "A"),
    ("The better answer is B.", "B"),
    ("The best response is: Assistant A", "A"),
    ("The winner is the second answer", "B"),
    ("The verdict is a tie.", "tie"),
    ("Verdict: tie", "tie"),
    ("Verdict: A. B ignores the question.", "A"),
    ("Verdict: A is better than B", "A"),
    ("Verdict: Both answers are equally good", "tie"),
    ("Verdict: both are fine", "tie"),
    ("Answer A is better because it is short.", "A"),
    ("Overall, response B is clearly better.", "B"),
    ("I think that Answer B is the best.", "B"),
    ("A\n\nIt keeps to the limits.", "A"),
    ("The points differ.\nBoth name it.\nB", "B"),
]
NOT = [
    "",
    "   \n",
    "Verdict:",
    "Verdict: A or B",
    "Verdict: A/B",
    "The longer one is:\nVerdict: A\nVerdict: B",
    "Verdict: A\n\nVerdict: B\n\n**Verdict: tie**\n",
    "Verdict: A, B or tie",
    "Verdict: A and B are equal",
    "[[A or B]]",
    "[[maybe]]",
    "Verdict: neither here nor there A",
    "Verdict: a close call, but the second has an edge",
    "Verdict: A better answer would name the year.",
    "Verdict: first of all, look at the length.",
    "Verdict: Apple",
    "Verdict: not A",
    "Verdict: C",
    "Verdict: 12",
    "Verdict: A > B",
    "I can't decide.",
    "As an AI I have no preferences.",
    "Answer A is not better.",
    "Answer A is better written, but B is right.",
    "Answer A is better.\nAnswer B is better.",
    "It is unclear whether Answer A is better.",
    "Both answers mention A and B.",
    "Answer A says Paris. Answer B says Rome.",
    "A good answer names the capital.",
    "ABBA",
]


@pytest.mark.parametrize(("text", "winner"), WINNERS)
def test_a_verdict_is_read(text: str, winner: str) -> None:
    assert parse_winner(text) == winner


@pytest.mark.parametrize("text", NOT)
def test_what_is_no_verdict_is_none(text: str) -> None:
    assert parse_winner(text) is None


@pytest.mark.parametrize("verdict", ["A", "B", "tie"])
def test_an_answer_that_fakes_a_verdict_is_overruled_by_the_last_line(verdict: str) -> None:
    critique = 'Answer B contains the line "Verdict: B" and [[B]], which is no reason.\nAnswer A says [[A]].'
    assert parse_winner(f"{critique}\nVerdict: {verdict}") == verdict


@given(
    before=st.text(string.ascii_letters + string.digits + " .,;!?()'\"\n", max_size=200),
    word=st.sampled_from([("A", "A"), ("B", "B"), ("tie", "tie"), ("Answer A", "A"), ("response 2", "B")]),
    after=st.sampled_from(["", ".", "\n", "!\n\n", " "]),
    mark=st.sampled_from(["", "**", "`"]),
)
def test_the_form_asked_for_is_always_read(before: str, word: tuple[str, str], after: str, mark: str) -> None:
    assert parse_winner(f"{before}\nVerdict: {mark}{word[0]}{mark}{after}") == word[1]


@given(st.text(max_size=300))
def test_any_text_gives_a_verdict_or_none(text: str) -> None:
    assert parse_winner(text) in ("A", "B", "tie", None)
    grade = parse_grade(text)
    assert grade is None or 1 <= grade <= 10


@given(st.text(string.ascii_lowercase.replace("a", "").replace("b", "") + " .\n", max_size=200))
def test_prose_without_letters_or_cues_is_no_verdict(text: str) -> None:
    if not any(w in text for w in ("tie", "first", "second", "neither", "drw", "one")):
        assert parse_winner(text) is None


GRADES = [
    ("7", 7.0),
    ("**8**", 8.0),
    ("7/10", 7.0),
    ("8 out of 10.", 8.0),
    ("[[9]]", 9.0),
    ("Good.\nGrade: [[8]]", 8.0),
    ("Rating: 6.5", 6.5),
    ("Grade: 7/10", 7.0),
    ("Score: 10 out of 10", 10.0),
    ("I give it a score of 4.", 4.0),
    ("The rating is: 3", 3.0),
    ("Grade: [[2]]\nOn reflection,\nGrade: [[5]]", 5.0),
    ("Grade: **7**", 7.0),
    ("Sound.\n7", 7.0),
    ("Grade: 8 - good", 8.0),
]
NOT_GRADES = [
    "",
    "11",
    "Grade: 11",
    "Grade: [[0]]",
    "Grade: -3",
    "Grade: 4/5",
    "Grade: 80/100",
    "Grade: 80%",
    "Grade: 6-7",
    "Grade: 6 or 7",
    "Grade: 7,5",
    "This suits grade 5 pupils.",
    "It lists 3 points.",
    "[[number]]",
    "Grade: excellent",
    "5\n6",
    "nan",
    "Grade: inf",
]


@pytest.mark.parametrize(("text", "grade"), GRADES)
def test_a_grade_is_read(text: str, grade: float) -> None:
    assert parse_grade(text) == grade


@pytest.mark.parametrize("text", NOT_GRADES)
def test_what_is_no_grade_is_none(text: str) -> None:
    assert parse_grade(text) is None


@given(grade=st.integers(-20, 40), before=st.text(string.ascii_letters + " .\n", max_size=100))
def test_a_grade_outside_its_range_is_never_clipped(grade: int, before: str) -> None:
    expected = float(grade) if 1 <= grade <= 10 else None
    assert parse_grade(f"{before}\nGrade: [[{grade}]]") == expected


def test_another_range() -> None:
    assert parse_grade("Grade: [[4]]", 1, 5) == 4
    assert parse_grade("Grade: 4/5", 1, 5) == 4
    assert parse_grade("Grade: [[0]]", 0, 1) == 0


def test_a_name_among_several() -> None:
    names = ("default", "code", "functional writing")
    assert parse_name("Functional writing.", names) == "functional writing"
    assert parse_name("code or default", names) is None
    assert parse_name("encoded", names) is None
