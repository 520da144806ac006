"""RRHF, PRO, AFT."""

from __future__ import annotations

import math

import pytest
import torch

from theodolite.errors import DataError


def ranked(s, r):
    return {"policy": [[x] for x in s], "group": [0] * len(s), "score": r}


GOLDEN = ranked([-1.5, -1.2, -2.0], [3.0, 2.0, 0.0])


def test_rrhf_golden(run):
    # only the pair (1, 2) is out of order: -1.2 - (-1.5) = 0.3; the NLL of the best is 1.5
    assert float(run("rrhf", GOLDEN, nll_weight=0).value.detach()) == pytest.approx(0.3)
    assert float(run("rrhf", GOLDEN).value.detach()) == pytest.approx(1.8)
    assert float(run("rrhf", GOLDEN, rank_weight=100).value.detach()) == pytest.approx(31.5)


def test_rrhf_limits(run, slope):
    assert float(run("rrhf", ranked([-1.0, -2.0], [2.0, 1.0]), nll_weight=0).value.detach()) == 0.0
    # reversed order: all gaps 1 + 1 + 2
    assert float(run("rrhf", ranked([-3.0, -2.0, -1.0], [3.0, 2.0, 1.0]), nll_weight=0).value.detach()) == 4.0
    assert slope("rrhf", ranked([-3.0, -2.0, -1.0], [3.0, 2.0, 1.0]), nll_weight=0)[:, 0].tolist() == [-2.0, 0.0, 2.0]
    assert float(run("rrhf", ranked([-3.0, -1.0], [1.0, 1.0]), nll_weight=0).value.detach()) == 0.0  # ties
    assert float(run("rrhf", ranked([-3.0], [1.0])).value.detach()) == 3.0  # K = 1 is SFT


def test_unscored_rows_are_left_out(run):
    data = ranked([-1.5, -1.2, -2.0, -0.1], [3.0, 2.0, 0.0, None])
    for name in ("rrhf", "pro", "aft"):
        got, want = run(name, data).per_example, run(name, GOLDEN).per_example
        assert torch.allclose(got, want, atol=1e-12)
    with pytest.raises(DataError, match="at least one response with a score"):
        run("rrhf", ranked([-1.0], [None]))


def test_pro_golden(run):
    # k = 1: T = 3; log(e^-4.5 + e^-1.2 + e^-6) + 4.5 = 3.344132
    # k = 2: T = 2; log(e^-2.4 + e^-4) + 2.4 = 0.183894.  Sum 3.528026
    assert float(run("pro", GOLDEN, sft_weight=0).value.detach()) == pytest.approx(3.528026, abs=1e-6)
    # + 0.05 (3 - 1)^2 * 1.5 = 0.3
    assert float(run("pro", GOLDEN).value.detach()) == pytest.approx(3.828026, abs=1e-6)


def test_pro_likelihood_is_summed_over_tokens(run):
    data = {"policy": [[-1.0, -2.0], [-1.5]], "group": [0, 0], "score": [1.0, 0.0]}
    both = run("pro", data, sft_weight=1).value - run("pro", data, sft_weight=0).value
    assert float(both.detach()) == pytest.approx(3.0)


def test_pro_of_equal_answers_is_log_factorial(run):
    # the paper's T are score gaps; scores 3, 2, 1 with s = 0 make every term log(number still in the race)
    assert float(run("pro", ranked([0.0] * 3, [3.0, 2.0, 1.0]), sft_weight=0).value.detach()) == pytest.approx(
        math.log(6)
    )


def test_pro_ties_do_not_depend_on_the_order_of_rows(run):
    a = run("pro", ranked([-1.0, -2.0, -3.0], [1.0, 1.0, 0.0]), sft_weight=0).value
    b = run("pro", ranked([-2.0, -1.0, -3.0], [1.0, 1.0, 0.0]), sft_weight=0).value
    assert float(a.detach()) == pytest.approx(float(b.detach()))


def test_aft_golden(run):
    two = ranked([-1.5, -1.8], [1.0, 0.0])
    # log(1 + e^-0.3) = 0.554355;  B = -1.8, log(1 + e^-0.3 + e^(-3.6 + 3.3)) = log(1 + 2 e^-0.3) = 0.908918
    free = run("aft", two, variant="unconstrained", sft_weight=0).value
    assert float(free.detach()) == pytest.approx(0.554355, abs=1e-6)
    assert float(run("aft", two, sft_weight=0).value.detach()) == pytest.approx(0.908918, abs=1e-6)
    assert float(run("aft", two, variant="detached", sft_weight=0).value.detach()) == pytest.approx(0.554355, abs=1e-6)
    assert float(run("aft", two).value.detach()) == pytest.approx(2.408918, abs=1e-6)  # + NLL 1.5


def test_aft_boundary_holds_worse_answers_in_place(slope):
    def push(s):
        return float(slope("aft", ranked([-1.5, s], [1.0, 0.0]), sft_weight=0, boundary=0.3)[1, 0])

    assert push(-1.8) == pytest.approx(0.0, abs=1e-12)  # at B = -1.5 - 0.3
    assert push(-1.7) > 0  # above: pushed down
    assert push(-2.5) < 0  # below: raised


def test_aft_detached_leaves_worse_answers_alone(slope):
    g = slope("aft", ranked([-1.5, -1.8], [1.0, 0.0]), variant="detached", sft_weight=0)
    assert float(g[1, 0]) == 0
    assert float(g[0, 0]) < 0


def test_aft_far_boundary_is_unconstrained(run):
    far = run("aft", GOLDEN, boundary=200.0).value
    free = run("aft", GOLDEN, variant="unconstrained").value
    assert float(far.detach()) == pytest.approx(float(free.detach()))


def test_aft_sums_over_right_and_wrong(run):
    data = ranked([-1.0, -2.0, -1.5, -3.0], [1.0, 1.0, 0.0, 0.0])
    want = math.log1p(sum(math.exp(n - p) for p in (-1.0, -2.0) for n in (-1.5, -3.0)))
    assert float(run("aft", data, variant="unconstrained", sft_weight=0).value.detach()) == pytest.approx(want)
    assert float(run("aft", data).metrics["nll"]) == pytest.approx(1.0)
    # the SFT term is the mean over both right answers, 1.5
    sft = (
        run("aft", data, variant="unconstrained").value - run("aft", data, variant="unconstrained", sft_weight=0).value
    )
    assert float(sft.detach()) == pytest.approx(1.5)


def test_ranking_accuracy(run):
    assert float(run("rrhf", GOLDEN).metrics["rewards/accuracies"]) == pytest.approx(2 / 3)


@pytest.mark.parametrize("variant", ["boundary", "unconstrained"])
def test_aft_slopes_by_finite_differences(run, slope, variant):
    """On the rows that the detached boundary does not hang on: all but the lowest right answer."""
    s, r = [-1.0, -2.0, -1.5, -3.0], [1.0, 1.0, 0.0, 0.0]
    g = slope("aft", ranked(s, r), variant=variant)[:, 0]
    for i in (0, 2, 3):
        ends = [
            float(run("aft", ranked([x + d * (k == i) for k, x in enumerate(s)], r), variant=variant).value.detach())
            for d in (1e-6, -1e-6)
        ]
        assert float(g[i]) == pytest.approx((ends[0] - ends[1]) / 2e-6, abs=1e-7)
