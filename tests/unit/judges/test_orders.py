"""Both orders: agreement, disagreement, a missing look, and how often a judge is asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from theodolite.errors import UsageError
from theodolite.judges import BothOrders, Comparison, Verdict, compare_both
from theodolite.judges.lexical import ExactMatch

WINNERS = ["A", "B", "tie", None]
ITEM = Comparison.of("Name a colour.", "Blue.", "Seven.", id="1")


class Says:
    """Gives verdicts from a list, in the order in which it is asked."""

    def __init__(self, *told: Verdict, sees_order: bool = True) -> None:
        self.told, self.sees_order, self.asked = list(told), sees_order, []

    def compare(self, items: Sequence[Comparison], *, progress: Any = None) -> list[Verdict]:
        self.asked += items
        return [self.told.pop(0) for _ in items]


@pytest.mark.parametrize(
    ("first", "as_shown", "agreed", "consistent"),
    [
        ("A", "B", "A", True),  # shown the other way round, 'B' is the item's A
        ("B", "A", "B", True),
        ("tie", "tie", "tie", True),
        ("A", "A", "tie", False),  # always the first place
        ("B", "B", "tie", False),
        ("A", "tie", "tie", False),
        ("A", None, None, None),
        (None, "A", None, None),
        (None, None, None, None),
    ],
)
def test_what_both_orders_say(first: Any, as_shown: Any, agreed: Any, consistent: Any) -> None:
    judge = Says(Verdict(first, why="" if first else "x"), Verdict(as_shown, why="" if as_shown else "unparsed"))
    (both,) = compare_both(judge, [ITEM])
    assert (both.agreed, both.consistent) == (agreed, consistent)
    assert judge.asked == [ITEM, ITEM.swapped()]
    assert both.missing == (agreed is None)
    assert bool(both.why) == both.missing


def test_the_probability_is_the_mean_of_both_orders() -> None:
    (both,) = compare_both(Says(Verdict("A", probability=0.9), Verdict("A", probability=0.7)), [ITEM])
    assert both.probability == pytest.approx(
        (0.9 + 0.3) / 2
    )  # the second 0.7 is for the answer shown first, the item's B
    (half,) = compare_both(Says(Verdict("A", probability=0.9), Verdict("A")), [ITEM])
    assert half.probability is None


@given(st.floats(0, 1), st.floats(0, 1))
def test_the_averaged_probability_is_swap_symmetric(p: float, q: float) -> None:
    one = BothOrders(Verdict("A", probability=p), Verdict("A", probability=q))
    other = BothOrders(one.swapped.swapped(), one.first.swapped())
    assert one.probability is not None
    assert other.probability is not None
    assert other.probability == pytest.approx(1 - one.probability)


def test_a_judge_that_cannot_see_the_order_is_asked_once() -> None:
    judge = Says(Verdict("B"), sees_order=False)
    (both,) = compare_both(judge, [ITEM])
    assert both.agreed == "B"
    assert both.one_look
    assert judge.asked == [ITEM]


def test_many_items_keep_their_verdicts() -> None:
    items = [Comparison.of("q", f"a{i}", f"b{i}") for i in range(3)]
    told = [Verdict(w) for w in ("A", "B", "tie", "B", "A", "A")]
    assert [b.agreed for b in compare_both(Says(*told), items)] == ["A", "B", "tie"]


def test_a_grading_judge_is_refused_with_a_remedy() -> None:
    with pytest.raises(UsageError, match="ByGrade"):
        compare_both(ExactMatch(), [ITEM])


@pytest.mark.parametrize("winner", WINNERS)
def test_a_verdict_survives_the_disk_and_two_swaps(winner: Any) -> None:
    v = Verdict(winner, probability=0.25, raw="text", why="" if winner else "unparsed", meta={"rubric": "code"})
    assert Verdict.from_json(v.to_json()) == v
    assert v.swapped().swapped() == v
    assert Verdict.from_json(Verdict(grade=0.0).to_json()).grade == 0.0
