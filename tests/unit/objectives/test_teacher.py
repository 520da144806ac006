"""PoFT, BiAlign, bidirectional KL."""

from __future__ import annotations

import math

import pytest

from theodolite.errors import DataError


def test_poft_golden(run):
    # -1.5 - (-2) = 0.5; log(1 + e^-0.5) = 0.474077
    data = {"policy": [[-1.5] * 8], "score": [-2.0]}
    assert float(run("poft", data).value.detach()) == pytest.approx(0.474077, abs=1e-6)
    assert float(run("poft", data | {"score": [-1.5]}).value.detach()) == pytest.approx(math.log(2))


def test_poft_weights_examples_by_what_the_aligned_models_think(slope):
    def pull(m):
        return float(slope("poft", {"policy": [[-1.5] * 8], "score": [m]})[0, 0])

    assert pull(-1e4) == pytest.approx(0.0, abs=1e-12)
    assert pull(1e4) == pytest.approx(-1 / 8)
    assert pull(-2.0) == pytest.approx(-1 / 8 / (1 + math.exp(0.5)))


def test_poft_without_teachers_says_so(run):
    with pytest.raises(DataError, match="aligned models"):
        run("poft", {"policy": [[-1.0]]})


def subsets(q, t):
    """Subset rows with student log-probs q and teacher log-probs t; no whole sequence."""
    rows = len(q)
    return {
        "policy": [[x] for x in q],
        "group": [0] * rows,
        "score": t,
        "extras": {"teacher_kl": [[9.0]] * rows},  # not read: these are no whole sequences
    }


def test_bialign_kl_of_whole_sequences(run):
    data = {"policy": [[-1.0, -2.0]], "extras": {"teacher_kl": [[0.2, 0.4]]}}
    assert float(run("bialign", data).value.detach()) == pytest.approx(0.3)


def test_bialign_evenly_spaced_in_the_teachers_order_is_free(run):
    data = subsets([-1.0, -2.0, -3.0, -4.0], [-0.1, -0.5, -0.6, -9.0])
    assert float(run("bialign", data).value.detach()) == pytest.approx(0.0, abs=1e-5)


def test_bialign_reversed_order_pays_twice_each_rank_gap(run):
    # gaps of ranks over 4 rows: three of 1, two of 2, one of 3 = 10; 2 * 10 / 3
    data = subsets([-4.0, -3.0, -2.0, -1.0], [-0.1, -0.5, -0.6, -9.0])
    assert float(run("bialign", data).value.detach()) == pytest.approx(20 / 3, rel=1e-5)


def test_bialign_ignores_shift_and_scale_of_the_student(run):
    t = [-0.3, -0.1, -0.2]
    a, b = run("bialign", subsets([-1.0, -2.5, -2.0], t)), run("bialign", subsets([-5.0, -9.5, -8.0], t))
    assert float(a.value.detach()) == pytest.approx(float(b.value.detach()), rel=1e-5)
    assert float(a.value.detach()) > 0


def test_bidirectional_kl(run):
    data = {
        "policy": [[-1.0, -3.0]],
        "extras": {"rendering_kl": [[0.2, 0.4]], "rendering_kl_reverse": [[1.0, 0.0]]},
    }
    # 0.5 (0.5 * 0.5 + 0.5 * 0.3) + 0.5 * 2 = 0.2 + 1
    assert float(run("bidirectional_kl", data).value.detach()) == pytest.approx(1.2)
    # 0.9 (0.2 * 0.5 + 0.8 * 0.3) + 0.1 * 2 = 0.306 + 0.2
    got = run("bidirectional_kl", data, kl_weight=0.9, reverse_share=0.2)
    assert float(got.value.detach()) == pytest.approx(0.506)


def test_bialign_slopes_by_finite_differences(run, slope):
    """On the rows that do not span the detached range."""
    q, t = [-1.0, -3.0, -1.4, -2.1], [-0.3, -0.1, -0.2, -0.7]
    g = slope("bialign", subsets(q, t))[:, 0]
    assert g.abs().max() > 0
    for i in (2, 3):
        ends = [
            float(run("bialign", subsets([x + d * (k == i) for k, x in enumerate(q)], t)).value.detach())
            for d in (1e-6, -1e-6)
        ]
        assert float(g[i]) == pytest.approx((ends[0] - ends[1]) / 2e-6, abs=1e-7)
