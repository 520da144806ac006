from __future__ import annotations

import math

import numpy as np
import pytest

from measure_case import Case
from theodolite.measures.arenas.elo import Elo, replay, replay_orders, resampled_orders
from theodolite.measures.arenas.matches import read_matches
from theodolite.measures.call import evaluate
from theodolite.measures.records import Records


def table(rows: list[tuple[object, object, object]]) -> Records:
    a, b, outcome = (list(c) for c in zip(*rows))
    return Records({"model_a": a, "model_b": b, "outcome": outcome})


def arena(n: int, seed: int, models: int = 4) -> Records:
    """Random matches between models with true strengths from 1 to -1, a fifth of them ties, three a prompt."""
    rng = np.random.default_rng(seed)
    truth = np.linspace(1, -1, models)
    a = rng.integers(0, models, n)
    b = (a + rng.integers(1, models, n)) % models
    outcome = (rng.random(n) < 1 / (1 + np.exp(truth[b] - truth[a]))).astype(float)
    outcome[rng.random(n) < 0.2] = 0.5
    names, prompt = np.array([f"m{i}" for i in range(models)]), rng.integers(0, n // 3, n).astype(str)
    return Records({"model_a": names[a], "model_b": names[b], "outcome": outcome, "prompt": prompt})


CASES = {
    "elo": Case(
        good=arena(120, 0),
        undefined=table([("x", "x", 1)]),
        missing=(table([("x", "y", 1), ("x", "y", None), (None, "y", 1)]), 2),
        shuffle=None,
    )
}


def test_two_matches_by_hand() -> None:
    # 1000 against 1000: expected 0.5, winner +2. Then 1002 against 998: expected 1/(1+10^(-4/400)) = 0.50576
    after = 1002 + 4 * (1 - 1 / (1 + 10 ** (-4 / 400)))
    got = evaluate("elo", table([("x", "y", 1), ("y", "x", 0)]))
    rating = {r["model"]: r["rating"] for r in got.parts["table"]}
    assert rating["x"] == pytest.approx(after)
    assert rating["y"] == pytest.approx(2000 - after)
    assert got.value == pytest.approx(2 * (after - 1000))


def test_order_matters_and_permutations_average_it_out() -> None:
    rows = [("x", "y", 1)] * 40 + [("x", "y", 0)] * 40
    there = evaluate("elo", table(rows)).parts["table"][0]["model"]
    back = evaluate("elo", table(rows[::-1])).parts["table"][0]["model"]
    assert (there, back) == ("y", "x")  # the later wins count more
    mean = evaluate("elo", table(rows), permutations=400)
    assert mean.value == pytest.approx(0, abs=2.5)
    assert set(mean.parts["order_sd"]) == {"x", "y"}
    assert mean.parts["order_sd"]["x"] > 1


@pytest.mark.parametrize(("k", "base", "scale", "init"), [(4, 10, 400, 1000), (32, 2, 100, 0)])
def test_side_by_side_equals_one_by_one(k: float, base: float, scale: float, init: float) -> None:
    m, cfg = read_matches(arena(90, 2)), Elo(k=k, base=base, scale=scale, init=init)
    orders = resampled_orders(m, 100, np.random.default_rng(0), shuffle=True)
    made = replay_orders(m.a, m.b, m.outcome, orders, len(m.models), cfg)
    for order, rating in zip(orders, made):
        at = order[order >= 0]
        assert replay(m.a[at], m.b[at], m.outcome[at], len(m.models), cfg) == pytest.approx(rating, abs=1e-9)
    assert made.sum(1) == pytest.approx(np.full(100, init * len(m.models)))  # points are only moved


def test_resamples_keep_prompts_whole_and_order() -> None:
    m = read_matches(arena(90, 3))
    orders = resampled_orders(m, 100, np.random.default_rng(0), shuffle=False)
    size = np.bincount(m.unit)
    for order in orders[:20]:
        at = order[order >= 0]
        assert np.all(np.diff(at) >= 0)
        times = np.bincount(m.unit[at], minlength=m.units) / size
        assert np.all(times == np.round(times))
        assert times.sum() == m.units


def test_long_run_agrees_with_bradley_terry() -> None:
    data = arena(6000, 4)
    quick = {r["model"]: r["rating"] for r in evaluate("elo", data, k=2, permutations=20).parts["table"]}
    exact = {r["model"]: r["rating"] for r in evaluate("bradley_terry", data, resamples=100).parts["table"]}
    assert [quick[m] for m in sorted(quick)] == pytest.approx([exact[m] for m in sorted(exact)], abs=25)


def test_extreme_gap_does_not_overflow() -> None:
    sure = Elo(k=1e6)
    rating = replay(np.zeros(50, int), np.ones(50, int), np.ones(50), 2, sure)
    back = replay(np.array([0, 0]), np.array([1, 1]), np.array([1.0, 0.0]), 2, sure)
    assert np.all(np.isfinite(rating))
    assert np.all(np.isfinite(back))


def test_methods_are_named() -> None:
    data = arena(60, 5)
    assert evaluate("elo", data).method == "bootstrap over prompts, order kept"
    bare = Records({k: v for k, v in data.columns.items() if k != "prompt"})
    assert evaluate("elo", bare, permutations=5).method == "bootstrap over matches, random order"
    one = evaluate("elo", table([("x", "y", 1)]))
    assert math.isnan(one.low)
    assert one.method == ""
    assert one.value == pytest.approx(4)
