from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from measure_case import Case
from theodolite.errors import DataError, UsageError
from theodolite.measures.arenas.bradley_terry import ELO, bootstrap, fit, strongly_connected
from theodolite.measures.arenas.matches import lead, read_matches, resampled_wins, spearman_rows, verdict
from theodolite.measures.call import evaluate
from theodolite.measures.records import Records

try:
    import choix
except ImportError:
    choix = None


def table(rows: list[tuple[str, str, object]], **more: list[object]) -> Records:
    a, b, outcome = (list(c) for c in zip(*rows))
    return Records({"model_a": a, "model_b": b, "outcome": outcome, **more})


def arena(n: int, seed: int, models: int = 4, ties: float = 0.2) -> Records:
    rng = np.random.default_rng(seed)
    truth = np.linspace(1, -1, models)
    a = rng.integers(0, models, n)
    b = (a + rng.integers(1, models, n)) % models
    outcome = (rng.random(n) < expit(truth[a] - truth[b])).astype(float)
    outcome[rng.random(n) < ties] = 0.5
    names = np.array([f"m{i}" for i in range(models)])
    return Records(
        {"model_a": names[a], "model_b": names[b], "outcome": outcome, "prompt": rng.integers(0, n // 3, n).astype(str)}
    )


GAPS = table([("x", "y", 1), ("x", "y", "model_a"), ("y", "x", "b"), ("x", "y", 0), ("x", "y", None), ("x", "x", 1)])
CASES = {
    "bradley_terry": Case(
        good=arena(120, 0),
        undefined=table([("x", "x", 1), ("x", "y", None)]),
        missing=(GAPS, 2),
        options={"resamples": 200},
    )
}


def test_two_models_by_hand() -> None:
    # three wins to one: odds 3, theta = ln(3) / 2, gap = 400 log10(3) = 190.85 points
    found = fit([[0, 3], [1, 0]])
    assert found.theta == pytest.approx([math.log(3) / 2, -math.log(3) / 2])
    got = evaluate("bradley_terry", GAPS)
    assert got.value == pytest.approx(400 * math.log10(3))
    assert [r["model"] for r in got.parts["table"]] == ["x", "y"]
    assert got.parts["table"][0]["rating"] == pytest.approx(1000 + 200 * math.log10(3))
    assert got.parts["table"][0]["win_rate"] == pytest.approx(0.75)
    assert got.why == {"a model against itself": 1, "no outcome": 1}


def test_transitive_chain_by_hand() -> None:
    # x-y met 4 times (3:1), y-z 4 times (3:1), x-z never: the tree is fitted exactly, gaps ln 3 each
    wins = [[0, 3, 0], [1, 0, 3], [0, 1, 0]]
    assert fit(wins).theta == pytest.approx([math.log(3), 0, -math.log(3)])


def test_a_tie_is_half_a_win_for_both() -> None:
    halves = table([("x", "y", 1), ("x", "y", 0.5), ("y", "x", "tie"), ("x", "y", "tie (bothbad)")])
    assert evaluate("bradley_terry", halves).value == pytest.approx(400 * math.log10(2.5 / 1.5))


def test_words_of_neighbours() -> None:
    assert [verdict(w) for w in ("A", "model_b", "tie", 1, "0.0", 0.3, True)] == [1, 0, 0.5, 1, 0, 0.3, 1]
    assert math.isnan(verdict(None))
    assert math.isnan(verdict(""))
    assert verdict("banana") == verdict(2) == -1
    winner = Records({"model_a": ["x", "x"], "model_b": ["y", "y"], "winner": ["model_a", "model_b"]})
    assert evaluate("bradley_terry", winner).value == pytest.approx(0, abs=1e-9)
    odd = evaluate("bradley_terry", table([("x", "y", "banana"), ("x", "y", 1), ("x", "y", 0)]))
    assert odd.why == {"outcome not understood": 1}


wins_strategy = st.integers(2, 6).flatmap(
    lambda m: st.lists(st.integers(0, 8), min_size=m * m, max_size=m * m).map(
        lambda v: np.array(v, float).reshape(m, m) / 2
    )
)


@settings(max_examples=60, deadline=None)
@given(wins_strategy, st.sampled_from([1e-3, 0.1, 1.0]))
def test_equals_scikit_learn_with_a_ridge(wins: np.ndarray, ridge: float) -> None:
    np.fill_diagonal(wins, 0)
    i, j = np.nonzero(wins)
    if not len(i):
        return
    rows = np.eye(len(wins))[i] - np.eye(len(wins))[j]
    x, y = np.concatenate([rows, -rows]), np.repeat([1, 0], len(i))
    weight = np.tile(wins[i, j], 2) / 2
    model = LogisticRegression(C=1 / ridge, fit_intercept=False, solver="newton-cg", tol=1e-12, max_iter=10000).fit(
        x, y, weight
    )
    assert fit(wins, ridge).theta == pytest.approx(model.coef_[0], abs=2e-4)


@settings(max_examples=60, deadline=None)
@given(wins_strategy)
def test_maximises_the_likelihood(wins: np.ndarray) -> None:
    np.fill_diagonal(wins, 0)
    found = fit(wins)
    if not found.connected or not wins.any():
        return

    def loss(theta: np.ndarray) -> float:
        return float((wins * np.logaddexp(0, theta[None, :] - theta[:, None])).sum())

    other = minimize(loss, np.zeros(len(wins)), method="BFGS", options={"gtol": 1e-9}).x
    assert loss(found.theta) <= loss(other) + 1e-9
    assert found.theta == pytest.approx(other - other.mean(), abs=1e-4)
    assert found.theta.sum() == pytest.approx(0, abs=1e-10)
    # at the maximum every model has won as often as the model says
    p = expit(found.theta[:, None] - found.theta[None, :])
    assert ((wins + wins.T) * p).sum(1) == pytest.approx(wins.sum(1), abs=1e-7)


@pytest.mark.skipif(choix is None, reason="choix is not installed")
@settings(max_examples=30, deadline=None)
@given(st.integers(2, 6), st.integers(0, 10**6))
def test_equals_choix(models: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    wins = rng.integers(1, 9, (models, models)).astype(float)
    np.fill_diagonal(wins, 0)
    assert fit(wins).theta == pytest.approx(choix.ilsr_pairwise_dense(wins, tol=1e-12), abs=1e-6)


def reachable(wins: np.ndarray) -> bool:
    def seen(start: int, edges: np.ndarray) -> int:
        found, todo = {start}, [start]
        while todo:
            for other in np.flatnonzero(edges[todo.pop()] > 0):
                if other not in found:
                    found.add(int(other))
                    todo.append(int(other))
        return len(found)

    return all(seen(i, wins) == len(wins) for i in range(len(wins)))


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 7), st.integers(0, 10**6), st.floats(0.05, 0.6))
def test_connectivity_by_walking(models: int, seed: int, density: float) -> None:
    wins = (np.random.default_rng(seed).random((3, models, models)) < density).astype(float)
    assert strongly_connected(wins).tolist() == [reachable(w) for w in wins]


def test_separated_models() -> None:
    # a always wins, d always loses, b and c are even
    wins = np.array([[0, 2, 1, 3], [0, 0, 2, 1], [0, 2, 0, 1], [0, 0, 0, 0]], float)
    plain = fit(wins)
    assert not plain.connected
    assert np.all(np.isfinite(plain.theta))
    assert np.argsort(-plain.theta)[[0, 3]].tolist() == [0, 3]
    ends = fit(wins, separated="infinite").theta
    assert ends[0] == np.inf
    assert ends[3] == -np.inf
    assert ends[1:3] == pytest.approx([0, 0], abs=1e-6)
    lonely = fit(np.pad(wins, (0, 1)), separated="infinite").theta
    assert np.isnan(lonely[4])
    got = evaluate("bradley_terry", table([("a", "b", 1), ("a", "c", 1), ("b", "c", 1), ("c", "b", 1)]))
    assert not got.parts["connected"]
    assert "ridge" in got.note
    assert math.isfinite(got.value)


def test_ridge_limit_of_a_pure_winner() -> None:
    # n wins to none: n sigmoid(-2t) = ridge t at the maximum
    t = fit([[0, 5], [0, 0]], ridge=0.5).theta[0]
    assert 5 * expit(-2 * t) == pytest.approx(0.5 * t, rel=1e-9)


def test_batches_equal_single_fits() -> None:
    rng = np.random.default_rng(3)
    wins = rng.integers(0, 4, (7, 5, 5)).astype(float)
    batch = fit(wins)
    for one, theta, connected in zip(wins, batch.theta, batch.connected):
        alone = fit(one)
        assert alone.theta == pytest.approx(theta, abs=1e-9)
        assert alone.connected == connected


def test_extreme_counts_stay_finite() -> None:
    theta = fit(np.array([[0, 1e6, 1e6], [1, 0, 1e6], [0, 1, 0]])).theta
    assert np.all(np.isfinite(theta))
    assert theta[0] > theta[1] > theta[2]
    assert fit([[0, 1e7], [0, 0]]).theta[0] == pytest.approx(13.9, abs=2)


def test_letters() -> None:
    with pytest.raises(UsageError, match="square"):
        fit([[0, 1, 2]])
    with pytest.raises(UsageError, match="not negative"):
        fit([[0, -1], [1, 0]])
    with pytest.raises(DataError, match="outcome"):
        evaluate("bradley_terry", {"model_a": ["x"], "model_b": ["y"]})
    with pytest.raises(DataError, match="equally long"):
        evaluate("bradley_terry", {"model_a": ["x", "y"], "model_b": ["y"], "outcome": [1]})


@pytest.mark.parametrize("prompts", [True, False])
def test_resampling_is_that_of_a_loop(prompts: bool) -> None:
    data = arena(60, 1)
    m = read_matches(data if prompts else Records({k: v for k, v in data.columns.items() if k != "prompt"}))
    drawn = np.concatenate(list(resampled_wins(m, 20000, np.random.default_rng(0))))
    rng, loop = np.random.default_rng(1), []
    for _ in range(2000):
        times = np.bincount(rng.integers(0, m.units, m.units), minlength=m.units)[m.unit]
        w = np.zeros((4, 4))
        np.add.at(w, (m.a, m.b), times * m.outcome)
        np.add.at(w, (m.b, m.a), times * (1 - m.outcome))
        loop.append(w)
    loop = np.array(loop)
    assert drawn.mean(0) == pytest.approx(m.wins(), abs=0.12)
    assert drawn.std(0) == pytest.approx(loop.std(0), abs=0.2)
    flat, slow = drawn.reshape(len(drawn), -1), loop.reshape(len(loop), -1)
    assert np.cov(flat.T) == pytest.approx(np.cov(slow.T), abs=1.2)
    if not prompts:
        assert drawn.sum((1, 2)) == pytest.approx(np.full(20000, 60.0))


def test_the_interval_covers() -> None:
    # the true gap of the top two is ln-odds 0.8 = 139 points; 150 simulated arenas, coverage within Monte Carlo error
    truth, hits, rng = np.array([0.8, 0.0, -0.8]), 0, np.random.default_rng(5)
    for _ in range(150):
        n = 240
        a = rng.integers(0, 3, n)
        b = (a + rng.integers(1, 3, n)) % 3
        won = (rng.random(n) < expit(truth[a] - truth[b])).astype(float)
        m = read_matches(Records({"model_a": a.astype(str), "model_b": b.astype(str), "outcome": won}))
        drawn = bootstrap(m, rng, 200)[0] * ELO
        low, high = np.quantile(drawn[:, 0] - drawn[:, 1], [0.05, 0.95])
        hits += low <= 0.8 * ELO <= high
    assert 0.82 < hits / 150 < 0.97


def test_weights_are_repetitions() -> None:
    rows = [("x", "y", 1), ("x", "y", 0), ("y", "z", 1), ("z", "x", 1)]
    weighted = evaluate("bradley_terry", table(rows, weight=[2, 1, 3, 1]))
    repeated = evaluate("bradley_terry", table([r for r, k in zip(rows, [2, 1, 3, 1]) for _ in range(k)]))
    assert weighted.value == pytest.approx(repeated.value)
    gone = evaluate("bradley_terry", table(rows, weight=[1, 1, 1, -1]))
    assert gone.why == {"no usable weight": 1}


def test_more_data_narrow_the_interval_by_root_two() -> None:
    widths = []
    for n in (600, 1200):
        got = [evaluate("bradley_terry", arena(n, s), resamples=400) for s in range(6)]
        widths.append(np.mean([g.high - g.low for g in got]))
    assert widths[0] / widths[1] == pytest.approx(math.sqrt(2), rel=0.15)


def test_small_helpers() -> None:
    assert lead(np.array([3.0, 9, 5]), np.empty((0, 3)), 0.95)[0] == 4
    assert spearman_rows(np.array([[1, 2, 3.0]]), np.array([[3, 2, 1.0], [1, 1, 1]])).tolist()[0] == -1
    assert np.isnan(spearman_rows(np.array([[1, 2, 3.0]]), np.array([[1, 1, 1.0]]))[0])


def test_three_annotators_on_five_models(shared: Path) -> None:
    """PandaLM's test set: 999 pairs, three verdicts each, resampled by instruction."""
    pairs = json.loads((shared / "preference" / "pandalm_testset_v1.json").read_text(encoding="utf-8"))
    rows = [
        (*p["cmp_key"].split("_"), p[f"annotator{k}"], p["instruction"] + p["input"]) for p in pairs for k in (1, 2, 3)
    ]
    a, b, said, prompt = map(list, zip(*rows))
    outcome = [{0: 0.5, 1: 1.0, 2: 0.0}[v] for v in said]
    got = evaluate("bradley_terry", {"model_a": a, "model_b": b, "outcome": outcome, "prompt": prompt}, resamples=400)
    names, y = sorted({*a, *b}), np.array(outcome)
    x = np.array([[(n == i) - (n == j) for n in names] for i, j in zip(a, b)], float)
    model = LogisticRegression(C=1e8, fit_intercept=False, tol=1e-10, max_iter=10000)
    model.fit(np.concatenate([x, x]), np.repeat([1, 0], len(y)), np.concatenate([y, 1 - y]))
    theirs = dict(zip(names, 1000 + ELO * (model.coef_[0] - model.coef_[0].mean())))
    assert {r["model"]: r["rating"] for r in got.parts["table"]} == pytest.approx(theirs, abs=0.1)
    assert got.n == 170
    assert got.missing == 0
    assert got.parts["table"][0]["model"] == "llama-7b"
    assert got.low > 0
    single = evaluate("bradley_terry", {"model_a": a, "model_b": b, "outcome": outcome}, resamples=400)
    assert got.high - got.low > 1.2 * (single.high - single.low)  # verdicts on one instruction are not independent
