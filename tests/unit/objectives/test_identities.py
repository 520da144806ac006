"""Identities between methods (specs/objectives.md section 12), on ragged random pairs, value and gradient.

Numbers 17 (RTO), 19 (CycleAlign) and 20 (RAFT) speak of methods outside this folder.
"""

from __future__ import annotations

import math

import pytest
import torch

from theodolite.objectives.conformance import token_logps


def rows(data, role, **more):
    """The rows of one role as a batch of their own, one group each."""
    keep = [i for i, r in enumerate(data["role"]) if r == role]
    made = {key: [data[key][i] for i in keep] for key in ("policy", "reference")}
    return made | {key: value * len(keep) for key, value in more.items()}


def same(a, b, scale=1.0):
    assert a.per_example.tolist() == pytest.approx((scale * b.per_example).tolist(), rel=1e-12, abs=1e-12)


def same_slopes(slope, data, a, b):
    x, y = slope(a[0], data, **a[1]), slope(b[0], data, **b[1])
    assert torch.allclose(x, y, rtol=1e-10, atol=1e-13)


def test_1_ln_dpo_at_equal_lengths_is_dpo(run, pairs):
    same(run("ln_dpo", pairs(length=7), beta=3.5), run("dpo", pairs(length=7), beta=0.5))


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (("rso_sigmoid_norm", {"gamma": 0.3}), ("dpo", {"beta": 0.3})),  # 2
        (("mask_dpo", {"beta": 0.3}), ("dpo", {"beta": 0.3})),  # 4
        (("cdpo", {"beta": 0.3, "label_smoothing": 0}), ("dpo", {"beta": 0.3})),  # 6
        (("robust_dpo", {"beta": 0.3, "label_smoothing": 0}), ("dpo", {"beta": 0.3})),  # 6
    ],
)
def test_2_4_6_other_names_of_dpo(run, slope, pairs, a, b):
    same(run(a[0], pairs(), **a[1]), run(b[0], pairs(), **b[1]))
    same_slopes(slope, pairs(), a, b)


def test_3_d2o_with_one_sample_is_dpo(run, pairs):
    data = pairs()
    own = data | {"role": ["self" if r == "chosen" else r for r in data["role"]]}
    same(run("d2o", own, beta=0.2, alpha=0.2), run("dpo", data, beta=0.2))


def test_5_mm_dpo_without_scale_is_dpo(run, pairs):
    data = pairs() | {"score": [2.0, 0.0] * 6}
    same(run("mm_dpo", data, scale=0), run("dpo", data))


def test_6_robust_dpo_is_unbiased_under_flips(run, slope, pairs):
    e, data = 0.23, pairs()
    flipped = data | {"role": ["rejected", "chosen"] * 6}
    options = {"beta": 0.4, "label_smoothing": e}
    mean = (1 - e) * run("robust_dpo", data, **options).per_example + e * run(
        "robust_dpo", flipped, **options
    ).per_example
    assert mean.tolist() == pytest.approx(run("dpo", data, beta=0.4).per_example.tolist(), rel=1e-12)
    slopes = (1 - e) * slope("robust_dpo", data, **options) + e * slope("robust_dpo", flipped, **options)
    assert torch.allclose(slopes, slope("dpo", data, beta=0.4), atol=1e-12)


def test_7_cpo_without_nll_is_dpo_with_a_constant_reference(run, pairs):
    data = pairs()
    constant = data | {"reference": [[-3.0 / len(row)] * len(row) for row in data["policy"]]}
    same(run("cpo", data, nll_weight=0), run("dpo", constant))


def test_8_ln_dpo_with_a_uniform_reference_is_simpo_without_margin(run, pairs):
    data = pairs()
    uniform = data | {"reference": [[-2.0] * len(row) for row in data["policy"]]}
    same(run("ln_dpo", uniform, beta=2.0), run("simpo", data, beta=2.0, gamma=0))


def test_9_logo_with_one_bad_answer_is_simpo(run, slope, pairs):
    options = {"beta": 4.0, "gamma": 1.0, "nll_weight": 0.3}
    same(run("logo", pairs(), **options), run("simpo", pairs(), **options))
    same_slopes(slope, pairs(), ("logo", options), ("simpo", options))


def test_10_aft_of_two_answers_is_simpo(run, pairs):
    data = pairs() | {"score": [1.0, 0.0] * 6}
    got = run("aft", data, variant="unconstrained", sft_weight=0)
    same(got, run("simpo", data, beta=1.0, gamma=0))


def test_11_pro_of_two_answers_is_simpo(run, pairs):
    data = pairs() | {"score": [1.0, 0.0] * 6}
    same(run("pro", data, sft_weight=0), run("simpo", data, beta=1.0, gamma=0))
    with_sft = run("pro", data, sft_weight=0.5).per_example - run("pro", data, sft_weight=0).per_example
    want = run("sft", data, reduction="seq_sum").per_example * 0.5
    assert with_sft.tolist() == pytest.approx(want.tolist(), rel=1e-12)


def test_12_bco_bounds_dpo_tightest_at_the_middle(run, pairs):
    data = pairs()
    good, bad = rows(data, "chosen", label=[1]), rows(data, "rejected", label=[0])
    dpo = run("dpo", data).per_example

    def total(delta):
        shared = {"shared": {"bco_delta": float(delta)}}
        return run("bco", good | shared).per_example + run("bco", bad | shared).per_example

    for delta in (-1.0, 0.0, 0.5):
        assert (total(delta) > dpo).all()
    reward = [0.1 * token_logps(x).logratio().detach() for x in (good, bad)]
    for i in range(6):
        middle = float(reward[0][i] + reward[1][i]) / 2
        at = [float(total(middle + d)[i].detach()) for d in (-0.1, 0.0, 0.1)]
        assert at[1] == min(at)
        gap = float(reward[0][i] - reward[1][i])
        assert at[1] == pytest.approx(2 * math.log1p(math.exp(-gap / 2)))


def test_13_kto_is_one_minus_exp_of_minus_bco(run, pairs):
    good = rows(pairs(), "chosen", label=[1])
    z0, beta = 0.7, 0.3
    kto = run("kto", good | {"shared": {"kto_z0": z0}}, beta=beta).per_example
    bco = run("bco", good | {"shared": {"bco_delta": beta * z0}}, beta=beta).per_example
    assert kto.tolist() == pytest.approx((1 - torch.exp(-bco)).tolist(), rel=1e-12)


def test_14_npo_is_the_bad_half_of_bco(run, pairs):
    bad = rows(pairs(), "rejected", label=[0])
    same(run("npo", bad, beta=0.4), run("bco", bad, beta=0.4, shift="none"), scale=2 / 0.4)


def test_15_cca_is_bco_with_a_wrong_prompt(run, pairs):
    data = pairs()
    as_cca = data | {"role": ["other" if r == "chosen" else "mismatched" for r in data["role"]]}
    good, bad = rows(data, "chosen", label=[1]), rows(data, "rejected", label=[0])
    options = {"beta": 0.2, "shift": "none"}
    want = run("bco", good, **options).per_example + 7 * run("bco", bad, **options).per_example
    got = run("cca", as_cca, beta=0.2, mismatch_weight=7, normalise=False).per_example
    assert got.tolist() == pytest.approx(want.tolist(), rel=1e-12)


def test_16_constrained_sft_is_bco_by_token(run):
    tokens, refs = [-0.5, -1.0, -2.0], [-0.7, -0.6, -2.5]
    each = {"policy": [[x] for x in tokens], "reference": [[x] for x in refs], "label": [1, 1, 1]}
    bco = run("bco", each, beta=0.6, shift="none").per_example
    beta = {"beta_first": 0.6, "beta_early": 0.6, "beta_rest": 0.6}
    got = run("constrained_sft", {"policy": [tokens], "reference": [refs]}, **beta).value
    assert float(got.detach()) == pytest.approx(float(bco.mean().detach()) * 2 / 0.6)


def test_ipo_average_and_sum_at_equal_lengths(run, pairs):
    # average at tau = sum at tau / L, times 1 / L^2
    average = run("ipo", pairs(length=5), tau=0.5)
    total = run("ipo", pairs(length=5), tau=0.1, length_average=False)
    same(average, total, scale=1 / 25)


def test_sft_reductions(run, pairs):
    data = rows(pairs(), "chosen")
    tokens = sum(map(len, data["policy"]))
    by_sum = float(run("sft", data, reduction="seq_sum").value.detach()) * 6
    assert by_sum == pytest.approx(float(run("sft", data).value.detach()) * tokens)


def test_swap_identity_of_dpo(run, pairs):
    data = pairs()
    flipped = data | {"role": ["rejected", "chosen"] * 6}
    h = run("dpo", data).metrics["rewards/margins"]
    gap = run("dpo", flipped).per_example - run("dpo", data).per_example
    assert gap.tolist() == pytest.approx(h.tolist(), rel=1e-10)
