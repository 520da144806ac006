"""CKA: feature form against Gram form, invariances, bias; alignment with inputs and targets; conditions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import pdist, squareform

from measure_case import Case
from theodolite.errors import DataError, UsageError
from theodolite.measures.call import evaluate
from theodolite.measures.likeness.cka import cka, gram_hsic, kernel_cosine, linear_hsic, minibatch_cka, rbf
from theodolite.measures.likeness.cross_condition import cross_condition, parallelism
from theodolite.measures.records import Records


def noise(n: int, d: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d))


def pair(gaps: bool = False) -> Records:
    x, y = noise(60, 4, 0), noise(60, 4, 0) @ noise(4, 6, 1) + 0.5 * noise(60, 6, 2)
    if gaps:
        x[3, 1] = y[8, 0] = math.nan
    return Records({"x": x, "y": y})


def task(gaps: bool = False) -> Records:
    """40 items; the first layer is the input, the last the label."""
    inputs = noise(40, 3, 3)
    label = (inputs[:, 0] > 0).astype(float)
    if gaps:
        inputs[5, 0] = math.nan
    layers = np.stack([np.nan_to_num(inputs), np.c_[label, 0.3 * noise(40, 2, 4)]])
    return Records({"states": layers, "inputs": inputs, "targets": label})


def reordered(data: Records, rng: np.random.Generator) -> Records:
    order = rng.permutation(40)
    return Records(
        {"states": data["states"][:, order], "inputs": data["inputs"][order], "targets": data["targets"][order]}
    )


CASES = {
    "cka": Case(
        good=pair(), undefined=Records({"x": np.ones((20, 3)), "y": noise(20, 3, 0)}), missing=(pair(gaps=True), 2)
    ),
    "kernel_alignment": Case(
        good=task(),
        undefined=Records({"states": np.ones((2, 9, 3)), "inputs": noise(9, 2, 0), "targets": np.arange(9.0)}),
        missing=(task(gaps=True), 1),
        shuffle=reordered,
    ),
}


def by_gram(x: np.ndarray, y: np.ndarray) -> float:
    """tr(KHLH) / sqrt(tr(KHKH) tr(LHLH)), as written."""
    h = np.eye(len(x)) - 1 / len(x)
    k, l = x @ x.T, y @ y.T
    return float(np.trace(k @ h @ l @ h) / math.sqrt(np.trace(k @ h @ k @ h) * np.trace(l @ h @ l @ h)))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(5, 30), st.integers(1, 40), st.integers(1, 40))
def test_feature_form_is_gram_form(seed: int, n: int, p: int, q: int) -> None:
    x, y = noise(n, p, seed) + 2, noise(n, q, seed + 1) - 5
    assert cka(x, y) == pytest.approx(by_gram(x, y), rel=1e-8)
    for form in (False, True):
        assert linear_hsic(x, y, form) == pytest.approx(gram_hsic(x @ x.T, y @ y.T, form), rel=1e-7, abs=1e-8)


def test_debiased_by_the_definition() -> None:
    """Song et al. eq. 5 with every sum written out over distinct indices (n = 6)."""
    x, y = noise(6, 2, 0), noise(6, 3, 1)
    k, l = x @ x.T, y @ y.T
    n, total, ends, joint = 6, 0.0, 0.0, 0.0
    for i in range(n):
        for j in set(range(n)) - {i}:
            total += k[i, j] * l[i, j]
            for q in set(range(n)) - {i, j}:
                joint += k[i, j] * l[i, q]
                for r in set(range(n)) - {i, j, q}:
                    ends += k[i, j] * l[q, r]
    expected = total / (6 * 5) + ends / (6 * 5 * 4 * 3) - 2 * joint / (6 * 5 * 4)
    assert linear_hsic(x, y, debiased=True) == pytest.approx(expected)


def test_invariances() -> None:
    x, y = noise(50, 5, 0), noise(50, 4, 1) + noise(50, 5, 0)[:, :4]
    turn, _ = np.linalg.qr(noise(5, 5, 2))
    assert cka(x, 3 * x @ turn + 7) == pytest.approx(1)
    assert cka(x, y) == pytest.approx(cka(y, x))
    assert cka(x, y) == pytest.approx(cka(x @ turn, -2 * y))
    assert cka(x, x * np.array([1, 1, 1, 1, 50.0])) < 0.9  # not blind to general linear maps
    assert cka(x, 3 * x @ turn, "rbf") == pytest.approx(1)


def test_bias_of_the_plain_form() -> None:
    plain, debiased = zip(*[
        (cka(a, b), cka(a, b, debiased=True))
        for a, b in ((noise(40, 6, 2 * s), noise(40, 6, 2 * s + 1)) for s in range(200))
    ], strict=True)  # fmt: skip
    assert abs(np.mean(debiased)) < 0.01
    assert np.mean(plain) > 0.1


def test_rbf_kernel_by_hand() -> None:
    x = np.array([[0.0], [1.0], [3.0]])  # distances 1, 2, 3: median 2
    k = rbf(x)
    assert k[0, 1] == pytest.approx(math.exp(-1 / 8))
    assert k[0, 2] == pytest.approx(math.exp(-9 / 8))
    assert k[1, 1] == 1
    wide = rbf(noise(30, 3, 0), 2.0)
    d = squareform(pdist(noise(30, 3, 0)))
    np.testing.assert_allclose(wide, np.exp(-(d**2) / (2 * (2 * np.median(d[np.triu_indices(30, 1)])) ** 2)))


def test_minibatches_average_before_the_ratio() -> None:
    x, y = noise(64, 4, 0), noise(64, 4, 0) + noise(64, 4, 1)
    assert minibatch_cka([(x, y)]) == pytest.approx(cka(x, y, debiased=True))
    many = minibatch_cka((x[i : i + 16], y[i : i + 16]) for i in range(0, 64, 16))
    assert many == pytest.approx(cka(x, y, debiased=True), abs=0.1)
    assert math.isnan(minibatch_cka([]))


def test_kernel_cosine_and_label_kernel() -> None:
    y = np.array([1.0, 1.0, -1.0, -1.0])
    assert kernel_cosine(y, y) == pytest.approx(1)
    x = np.array([1.0, -1.0, 1.0, -1.0])
    assert kernel_cosine(x, y) == pytest.approx(0)  # <xx', yy'> = (x.y)^2 = 0
    assert kernel_cosine(x + 5, y + 5) > 0.9  # not centred: the common mean counts
    assert cka(x + 5, y + 5) == pytest.approx(0)


def test_measure_chooses_the_debiased_form_for_few_items() -> None:
    few = evaluate("cka", {"x": noise(20, 30, 0), "y": noise(20, 30, 1)})
    assert few.value == few.parts["debiased"]
    assert "debiased" in few.note
    assert few.parts["plain"] > 0.5 > abs(few.value)
    assert "biased" in evaluate("cka", {"x": noise(20, 30, 0), "y": noise(20, 30, 1)}, debiased=False).note
    many = evaluate("cka", pair())
    assert many.value == many.parts["plain"]
    assert many.low < many.value < many.high
    assert math.isnan(evaluate("cka", {"x": noise(3, 2, 0), "y": noise(3, 2, 1)}).value)
    for kernel in ("linear", "rbf"):
        nothing = evaluate("cka", {"x": np.full((6, 2), math.nan), "y": noise(6, 2, 0)}, kernel=kernel)
        assert math.isnan(nothing.value)
        assert nothing.missing == 6
    with pytest.raises(DataError, match="equally long"):
        evaluate("cka", {"x": noise(3, 2, 0), "y": noise(4, 2, 1)})


def test_alignment_curves() -> None:
    got = evaluate("kernel_alignment", task())
    assert got.value == got.parts["targets"][-1]
    assert got.parts["targets"][1] > got.parts["targets"][0]
    assert got.parts["inputs"][0] == pytest.approx(1)
    words = dict(task()) | {"targets": ["yes" if v else "no" for v in task()["targets"]]}
    assert evaluate("kernel_alignment", words).value == pytest.approx(got.value)  # one-hot, centred: the same kernel
    plain = evaluate("kernel_alignment", task(), centred=False)
    assert plain.parts["targets"][1] == pytest.approx(kernel_cosine(task()["states"][1], task()["targets"]))


def test_options_that_would_do_nothing_are_refused() -> None:
    data = {"x": noise(6, 2, 0), "y": noise(6, 2, 1)}
    with pytest.raises(UsageError, match="a linear kernel has no bandwidth"):
        evaluate("cka", data, bandwidth=2.0)
    assert evaluate("cka", data, kernel="rbf", bandwidth=2.0).value != evaluate("cka", data, kernel="rbf").value
    with pytest.raises(UsageError, match="has no debiased form"):
        evaluate("kernel_alignment", task(), centred=False, debiased=True)


def test_conditions_by_hand() -> None:
    # the target moves states along +x in condition a and along +y in condition b: cosine 0; both along x: cosine 1
    states = np.array([[0, 0], [1, 0], [5, 5], [5, 6.0]])
    target, condition = [False, True, False, True], ["a", "a", "b", "b"]
    assert parallelism(states, target, condition) == pytest.approx(0)
    along = np.array([[0, 0], [1, 0], [0, 5], [1, 5.0]])
    assert parallelism(along, target, condition) == pytest.approx(1)
    assert math.isnan(parallelism(along, target, ["a"] * 4))


def test_generalisation_across_conditions() -> None:
    rng = np.random.default_rng(0)
    target, condition = np.tile([True, False], 60), np.repeat(["a", "b", "c"], 40)
    offset = {"a": 0.0, "b": 4.0, "c": -4.0}
    shared = np.c_[3.0 * target, [offset[c] for c in condition]] + 0.3 * rng.normal(size=(120, 2))
    assert cross_condition(shared, target, condition) > 0.95
    sign = np.where(condition == "b", -1, 1)
    flipped = np.c_[3.0 * sign * (2 * target - 1), rng.normal(size=120)]
    assert cross_condition(flipped, target, condition) < 0.5
    wide = np.hstack([shared, 0.01 * rng.normal(size=(120, 300))])  # more features than items: the dual form
    assert cross_condition(wide, target, condition) > 0.95
    got = evaluate(
        "kernel_alignment", {"states": [shared], "inputs": shared, "targets": target, "condition": condition}
    )
    assert got.parts["cross_condition"][0] > 0.95
    assert got.parts["parallelism"][0] > 0.9
