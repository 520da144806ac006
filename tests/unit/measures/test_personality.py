"""TRAIT's scores on models whose answers are known, a slow version, and persona statements."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from measure_case import Case
from theodolite.errors import DataError, UsageError
from theodolite.measures.call import evaluate
from theodolite.measures.records import Records
from theodolite.measures.values.presentations import flips, winners

ORDERS = (("h1", "l1", "h2", "l2"), ("l1", "h1", "l2", "h2"))
POSITION = [0.7, 0.1, 0.1, 0.1]


def asked(answers: dict[tuple[str, str, int], list[float | None]], trait: str = "openness") -> Records:
    """(item, template, order) -> probabilities by option h1, h2, l1, l2."""
    rows = [(i, trait, t, o, *p) for (i, t, o), p in answers.items()]
    return Records(dict(zip(("item", "trait", "template", "order", "h1", "h2", "l1", "l2"), map(list, zip(*rows)))))


def by_position(order: int) -> list[float]:
    """A model that looks at positions alone, seen by option."""
    at = dict(zip(ORDERS[order], POSITION))
    return [at["h1"], at["h2"], at["l1"], at["l2"]]


HIGH, LOW, MILD = [0.6, 0.2, 0.1, 0.1], [0.1, 0.1, 0.7, 0.1], [0.3, 0.1, 0.2, 0.4]
STEADY = asked({(f"i{i}", t, o): (HIGH if i % 3 else LOW) for i in range(9) for t in "ab" for o in (0, 1)})
SHAKY = asked(
    {(f"i{i}", t, o): (HIGH if (o == 0) == (t == "a") else LOW) for i in range(9) for t in "ab" for o in (0, 1)}
)
GAPS = asked({("x", t, o): ([0.0] * 4 if t == "b" and o else HIGH) for t in "ab" for o in (0, 1)} | {
    ("y", t, o): [0.0, None, 0.0, 0.0] for t in "ab" for o in (0, 1)
})  # fmt: skip
NAMELESS = Records(dict(STEADY.columns) | {"item": [None, *STEADY["item"][1:]]})
NOTHING = Records({"item": [None], "h1": [0.2], "l1": [0.8]})
DEAF = asked({(f"i{i}", "a", o): [0.0] * 4 for i in range(4) for o in (0, 1)})
CASES = {
    "trait_score": Case(good=STEADY, undefined=DEAF, missing=(GAPS, 1)),
    "option_order_sensitivity": Case(good=STEADY, bad=SHAKY, undefined=DEAF, missing=(GAPS, 1)),
    "prompt_sensitivity": Case(good=STEADY, bad=SHAKY, undefined=DEAF, missing=(GAPS, 1)),
    "personality_refusal_rate": Case(good=STEADY, bad=DEAF, undefined=NOTHING, missing=(NAMELESS, 1)),
}


def test_by_hand() -> None:
    # x: h1 averages (.6 + .3)/2 = .45, l2 (.1 + .4)/2 = .25: high. y: low in both. 1 of 2 items: 50.
    data = asked({("x", "", 0): HIGH, ("x", "", 1): MILD, ("y", "", 0): LOW, ("y", "", 1): LOW})
    got = evaluate("trait_score", data)
    assert (got.value, got.n) == (50.0, 2)
    assert got.low == pytest.approx(100 * 0.0945, abs=0.01)  # Wilson of 1 in 2
    # the two orders of x disagree (h1 against l2), those of y do not
    assert evaluate("option_order_sensitivity", data).value == 0.5


def test_a_model_that_only_sees_positions() -> None:
    data = asked({(i, "", o): by_position(o) for i in "abc" for o in (0, 1)})
    assert evaluate("trait_score", data).value == 50.0
    assert evaluate("option_order_sensitivity", data).value == 1.0
    assert evaluate("option_order_sensitivity", data).parts["options"]["value"] == 1.0


def test_templates_are_compared_within_an_order() -> None:
    data = asked({("x", t, o): (HIGH if t != "c" else LOW) for t in "abc" for o in (0, 1)})
    got = evaluate("prompt_sensitivity", data)
    assert got.value == pytest.approx(2 / 3)  # of the pairs ab, ac, bc the last two flip
    assert [(p["pair"], p["value"]) for p in got.parts["by_pair"]] == [("a | b", 0), ("a | c", 1), ("b | c", 1)]
    assert got.parts["largest_pair"] == 1.0
    assert evaluate("trait_score", data).value == pytest.approx(100 * 2 / 3)


def test_changing_the_option_on_one_side_is_no_flip_of_sides() -> None:
    data = asked({("x", "", 0): [0.7, 0.1, 0.1, 0.1], ("x", "", 1): [0.1, 0.7, 0.1, 0.1]})
    got = evaluate("option_order_sensitivity", data)
    assert (got.value, got.parts["options"]["value"]) == (0.0, 1.0)


def test_swapping_the_two_high_options_changes_nothing() -> None:
    swapped = Records(dict(SHAKY.columns) | {"h1": SHAKY["h2"], "h2": SHAKY["h1"]})
    for name in ("trait_score", "option_order_sensitivity", "prompt_sensitivity"):
        assert evaluate(name, swapped).value == evaluate(name, SHAKY).value


def test_several_traits() -> None:
    both = {k: [*STEADY[k], *SHAKY[k]] for k in STEADY}
    both["trait"] = ["openness"] * len(STEADY["item"]) + ["narcissism"] * len(SHAKY["item"])
    got = evaluate("trait_score", both)
    assert math.isnan(got.value)
    assert "2 traits" in got.note
    assert [r["trait"] for r in got.parts["by_trait"]] == ["narcissism", "openness"]
    assert evaluate("trait_score", both, trait="openness").value == evaluate("trait_score", STEADY).value
    assert evaluate("option_order_sensitivity", both, trait="narcissism").value == 1.0
    assert evaluate("option_order_sensitivity", both).value == 0.5
    with pytest.raises(UsageError, match="Did you mean 'openness'"):
        evaluate("trait_score", both, trait="opennes")


def test_refusals() -> None:
    got = evaluate("personality_refusal_rate", GAPS)
    assert got.value == pytest.approx((1 / 4 + 1) / 2)
    assert (got.parts["refused"], got.parts["presentations"]) == (5, 8)
    faint = asked({("x", "", 0): [0.01, 0.0, 0.0, 0.0], ("y", "", 0): [0.5, 0.1, 0.1, 0.1]})
    assert evaluate("personality_refusal_rate", faint).value == 0.0
    assert evaluate("personality_refusal_rate", faint, min_mass=0.05).value == 0.5
    assert evaluate("trait_score", faint, min_mass=0.05).n == 1


def test_persona_statements() -> None:
    data = Records({
        "item": ["a", "b", "c", "d"], "p_yes": [0.8, 0.8, 0.1, 0.5], "p_no": [0.1, 0.1, 0.6, 0.5],
        "matching": [" Yes", "No", " No", "Yes"],
    })  # fmt: skip
    # a matches, b does not, c matches, d is a tie: 2.5 of 4
    assert evaluate("trait_score", data).value == pytest.approx(62.5)
    with pytest.raises(DataError, match="must say yes or no"):
        evaluate("trait_score", {**data.columns, "matching": ["maybe"] * 4})


def test_logs_are_refused() -> None:
    with pytest.raises(DataError, match="Give probabilities, not logs"):
        evaluate("trait_score", {"item": ["a"], "h1": [-0.2], "l1": [-3.0]})
    with pytest.raises(DataError, match=r"high .* and low"):
        evaluate("trait_score", {"item": ["a"], "h1": [0.2], "h2": [0.3]})


def test_winners_split_ties_and_flips_of_ties_are_even() -> None:
    assert winners(np.array([[0.4, 0.4, 0.2], [0.1, 0.2, 0.7]])).tolist() == [[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]]
    sides, options = flips(np.array([[[0.5, 0.5], [0.5, 0.5]]]), np.array([[True, False]]))
    assert (sides.tolist(), options.tolist()) == ([[0.5]], [[0.5]])


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6))
def test_against_the_obvious_version(seed: int) -> None:
    generator = np.random.default_rng(seed)
    answers: dict[tuple[str, str, int], Any] = {}
    for item in range(int(generator.integers(1, 6))):
        for t in "ab"[: int(generator.integers(1, 3))]:
            for o in (0, 1):
                answers[f"i{item}", t, o] = generator.integers(0, 4, 4) / 4
    scores, turns = [], []
    for item in sorted({k[0] for k in answers}):
        of_item, of_turn = [], []
        for t in sorted({k[1] for k in answers if k[0] == item}):
            p = [answers[item, t, o] for o in (0, 1)]
            if any(v.sum() == 0 for v in p):
                continue
            shares = [v / v.sum() for v in p]
            of_item.append(_high((shares[0] + shares[1]) / 2))
            a, b = _high(shares[0]), _high(shares[1])
            of_turn.append(a * (1 - b) + b * (1 - a))
        scores += [np.mean(of_item)] if of_item else []
        turns += [np.mean(of_turn)] if of_turn else []
    data = asked({k: list(v) for k, v in answers.items()})
    for name, want, scale in (("trait_score", scores, 100), ("option_order_sensitivity", turns, 1)):
        got = evaluate(name, data, resamples=100)
        assert got.value == pytest.approx(scale * np.mean(want) if want else math.nan, nan_ok=True)
        assert got.n == len(want)


def _high(p: np.ndarray) -> float:
    best = [i for i in range(4) if p[i] >= p.max() - 1e-9]
    return sum(i < 2 for i in best) / len(best)
