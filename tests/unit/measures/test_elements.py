"""Elements by hand: weights, questions asked both ways, and people's verdicts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from measure_case import Case
from theodolite.errors import DataError
from theodolite.measures.call import evaluate
from theodolite.measures.records import Records


def table(rows: list[tuple], **more: list) -> Records:
    return Records(dict(zip(("item", "element", "p_yes"), map(list, zip(*rows)))) | more)


GOOD = table([("a", "cat", 0.9), ("a", "hat", 0.8), ("b", "dog", 0.9), ("c", "sun", 1.0)])
BAD = table([("a", "cat", 0.1), ("a", "hat", 0.3), ("b", "dog", 0.2), ("c", "sun", 0.0)])
GAPS = table([("a", "cat", 0.9), ("a", "hat", None), ("b", "dog", 0.9), ("b", None, 0.5)])
CASES = {
    "element_alignment": Case(good=GOOD, bad=BAD, undefined=table([("a", "cat", None)]), missing=(GAPS, 2)),
}


def test_by_hand() -> None:
    # a: (.9 + .5)/2 = .7, b: .2; mean .45, not the mean over elements (1.6/3)
    data = table([("a", "cat", 0.9), ("a", "hat", 0.5), ("b", "dog", 0.2)])
    assert evaluate("element_alignment", data).value == pytest.approx(0.45)
    weighted = Records(dict(data.columns) | {"weight": [3, 1, 2]})
    assert evaluate("element_alignment", weighted).value == pytest.approx(((2.7 + 0.5) / 4 + 0.2) / 2)


def test_asking_both_ways_cancels_a_liking_for_yes() -> None:
    data = table([("a", "cat", 1.0), ("b", "dog", 1.0)], p_no=[1.0, 0.0])
    assert evaluate("element_alignment", data).value == pytest.approx((1 + 0.5) / 2)


def test_people() -> None:
    data = table(
        [("a", "x", 0.9), ("a", "y", 0.7), ("b", "x", 0.4), ("c", "x", 0.1)],
        human=[5, 5, 2, 3], present=[1, 0, 0.2, None], category=["thing", "colour", "thing", "thing"],
    )  # fmt: skip
    got = evaluate("element_alignment", data)
    # found: yes, yes, no; people: yes, no, no
    assert got.parts["elements"]["value"] == pytest.approx(2 / 3)
    assert got.parts["elements"]["without_verdict"] == 1
    assert evaluate("element_alignment", data, threshold=0.8).parts["elements"]["value"] == 1.0
    assert got.parts["human"]["spearman"] == pytest.approx(0.5)  # .8 .4 .1 against 5 2 3
    assert [r["category"] for r in got.parts["by_category"]] == ["colour", "thing"]


@given(st.integers(0, 10**6))
def test_correlations_are_over_items(seed: int) -> None:
    generator = np.random.default_rng(seed)
    items = np.repeat(np.arange(8), generator.integers(1, 4, 8))
    p, human = generator.random(len(items)), generator.integers(1, 6, 8)
    data = table([(f"i{i}", f"e{k}", v) for k, (i, v) in enumerate(zip(items, p))], human=human[items].tolist())
    got = evaluate("element_alignment", data, resamples=100)
    means = [p[items == i].mean() for i in range(8)]
    assert got.value == pytest.approx(np.mean(means))
    if np.ptp(human) > 0:
        assert got.parts["human"]["pearson"] == pytest.approx(scipy_stats.pearsonr(means, human).statistic)
        assert got.parts["human"]["kendall"] == pytest.approx(scipy_stats.kendalltau(means, human).statistic)


def test_no_weight_at_all() -> None:
    data = table([("a", "x", 0.9), ("b", "y", 0.7)], weight=[0, 1])
    got = evaluate("element_alignment", data)
    assert (got.value, got.why) == (0.7, {"the weights sum to 0": 1})


def test_letters() -> None:
    with pytest.raises(DataError, match="'p_yes' must lie in"):
        evaluate("element_alignment", table([("a", "x", 1.5)]))
    with pytest.raises(DataError, match="'weight' must be at least 0"):
        evaluate("element_alignment", table([("a", "x", 0.5)], weight=[-1]))
