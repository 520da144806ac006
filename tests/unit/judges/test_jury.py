"""Juries: majority, weights, quorum, dissent; grading judges as pairwise ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from theodolite.errors import UsageError
from theodolite.judges import Answer, BothOrders, Comparison, Jury, Verdict, compare_both
from theodolite.judges.jury import ByGrade, GradingJury, jury_both, majority, mean_grade

ITEM = Comparison.of("q", "aaa", "b", id="1")


class Always:
    sees_order = True
    middle = 5.5

    def __init__(self, winner: Any = None, grade: float | None = None) -> None:
        self.told = Verdict(winner, grade, why="" if winner or grade is not None else "unparsed")

    def compare(self, items: Sequence[Comparison], *, progress: Any = None) -> list[Verdict]:
        return [self.told] * len(items)

    def grade(self, items: Sequence[Answer], *, progress: Any = None) -> list[Verdict]:
        return [self.told] * len(items)


def votes(*winners: Any) -> dict[str, Verdict]:
    return {f"j{i}": Verdict(w) for i, w in enumerate(winners)}


@pytest.mark.parametrize(
    ("given", "winner", "dissent", "probability"),
    [
        (("A", "A", "B"), "A", 1 / 3, 2 / 3),
        (("A", "B", "tie"), "tie", 2 / 3, 1 / 2),  # no majority
        (("A", "A", "B", "B"), "tie", 1.0, 1 / 2),
        (("tie", "tie", "A"), "tie", 1 / 3, 2 / 3),
        (("B", "B", None), "B", 0.0, 0.0),  # who is silent abstains
        (("B", None, None), None, None, None),  # no quorum
        ((None, None), None, None, None),
        (("A",), "A", 0.0, 1.0),
    ],
)
def test_majorities(given: Any, winner: Any, dissent: Any, probability: Any) -> None:
    found = majority(votes(*given))
    assert found.winner == winner
    assert found.probability == (None if probability is None else pytest.approx(probability))
    if winner is None:
        assert f"of {len(given)} jurors" in found.why
    else:
        assert found.meta["dissent"] == pytest.approx(dissent)
    assert list(found.meta["votes"].values()) == list(given)


def test_weights_decide() -> None:
    assert majority(votes("A", "B", "B"), {"j0": 5, "j1": 2, "j2": 2}).winner == "A"
    with pytest.raises(UsageError, match="above 0"):
        majority(votes("A"), {"j0": 0})


def test_known_probabilities_are_averaged() -> None:
    found = majority({"x": Verdict("A", probability=0.6), "y": Verdict("B", probability=0.1), "z": Verdict("A")})
    assert (found.winner, found.probability) == ("A", pytest.approx(1.7 / 3))


@given(st.lists(st.sampled_from(["A", "B", "tie", None]), min_size=1, max_size=7))
def test_a_jury_mirrors_when_its_jurors_do(given: list[Any]) -> None:
    here = majority(votes(*given))
    there = majority({n: v.swapped() for n, v in votes(*given).items()})
    assert there.winner == here.swapped().winner
    assert (there.probability is None) == (here.probability is None)


def test_grades_are_averaged_and_their_spread_told() -> None:
    found = mean_grade({"x": Verdict(grade=4.0), "y": Verdict(grade=8.0), "z": Verdict()})
    assert (found.grade, found.meta["dissent"]) == (6.0, 2.0)
    assert mean_grade({"x": Verdict(grade=4.0), "y": Verdict(), "z": Verdict()}).grade is None
    assert mean_grade({"x": Verdict(grade=4.0), "y": Verdict(grade=8.0)}, {"x": 3, "y": 1}).grade == 5.0


def test_a_jury_is_a_judge() -> None:
    jury = Jury({"place": Always("A"), "b": Always("B"), "c": Always("A")})
    (both,) = compare_both(jury, [ITEM])
    assert (both.first.winner, both.agreed) == ("A", "tie")
    with pytest.raises(UsageError, match="at least one"):
        Jury({})


def test_a_jury_from_verdicts_given_before() -> None:
    yes, no = Verdict("A"), Verdict("B")
    judged = {"x": [BothOrders(yes, yes)], "y": [BothOrders(yes, no)], "z": [BothOrders(no, no)]}
    (both,) = jury_both(judged)
    assert (both.first.winner, both.swapped.winner, both.agreed) == ("A", "B", "tie")
    (alone,) = jury_both({"x": judged["x"]})
    assert alone.one_look


def test_a_grading_jury_needs_one_range() -> None:
    assert GradingJury({"x": Always(grade=2), "y": Always(grade=4)}).grade([Answer.of("q", "a")])[0].grade == 3
    other = Always(grade=1)
    other.middle = 0.5
    with pytest.raises(UsageError, match="one range"):
        GradingJury({"x": Always(grade=2), "y": other})


class Length:
    middle = 2.0

    def grade(self, items: Sequence[Answer], *, progress: Any = None) -> list[Verdict]:
        return [Verdict(grade=float(len(i.text))) if i.text != "?" else Verdict.missing("unparsed") for i in items]


def test_comparing_by_grade() -> None:
    (both,) = compare_both(ByGrade(Length()), [ITEM])
    assert (both.agreed, both.one_look, both.first.meta["grades"]) == ("A", True, [3.0, 1.0])
    assert ByGrade(Length(), margin=2).compare([ITEM])[0].winner == "tie"
    assert ByGrade(Length()).compare([ITEM.swapped()])[0].winner == "B"
    missing = ByGrade(Length()).compare([Comparison.of("q", "?", "b")])[0]
    assert (missing.winner, missing.why) == (None, "unparsed")
    with pytest.raises(UsageError, match="negative"):
        ByGrade(Length(), margin=-1)
