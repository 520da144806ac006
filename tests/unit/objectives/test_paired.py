"""DPO and its relatives: hand-worked values, limits, gradients at known points."""

from __future__ import annotations

import math

import pytest
import torch

from theodolite.errors import ConfigError, DataError, UsageError
from theodolite.objectives.combine import parse
from theodolite.objectives.conformance import token_logps

LOG2 = math.log(2)


def softplus(x: float) -> float:
    return math.log1p(math.exp(x))


def test_dpo_golden(run, golden):
    # -log sigmoid(0.1 * 1.5) = log(1 + e^-0.15) = log(1.860708) = 0.620957
    assert float(run("dpo", golden).value.detach()) == pytest.approx(0.620957, abs=1e-6)


def test_ln_dpo_golden(run, golden):
    # log(1 + e^(-5 * 0.175)) = log(1 + e^-0.875) = log(1.416862) = 0.348445
    assert float(run("ln_dpo", golden).value.detach()) == pytest.approx(0.348445, abs=1e-6)


def test_ipo_golden(run, golden):
    # sum (1.5 - 5)^2 = 12.25; mean (0.175 - 5)^2 = 4.825^2 = 23.280625
    assert float(run("ipo", golden, length_average=False).value.detach()) == pytest.approx(12.25, abs=1e-9)
    assert float(run("ipo", golden).value.detach()) == pytest.approx(23.280625, abs=1e-9)
    assert float(run("ipo", golden, convention="openrlhf").value.detach()) == pytest.approx(12.25, abs=1e-9)
    assert float(run("ipo", golden, convention="trl").value.detach()) == pytest.approx(23.280625, abs=1e-9)


def test_cdpo_golden(run, golden):
    # 0.9 * 0.620957 + 0.1 * log(1 + e^0.15) = 0.558861 + 0.1 * 0.770957 = 0.635957
    assert float(run("cdpo", golden).value.detach()) == pytest.approx(0.635957, abs=1e-6)


def test_robust_dpo_golden(run, golden):
    # (0.9 * 0.620957 - 0.1 * 0.770957) / 0.8 = (0.558861 - 0.077096) / 0.8 = 0.602207
    assert float(run("robust_dpo", golden).value.detach()) == pytest.approx(0.602207, abs=1e-6)


def test_mm_dpo_golden(run, golden):
    # beta = 0.1 (1 + 0.5 (1 - e^-0.5)) = 0.1 (1 + 0.196735) = 0.119673; log(1 + e^-0.179510) = 0.607415
    data = golden | {"score": [2.0, 1.0]}
    loss = run("mm_dpo", data)
    assert float(loss.metrics["beta"]) == pytest.approx(0.119673, abs=1e-6)
    assert float(loss.value.detach()) == pytest.approx(0.607415, abs=1e-6)


def test_mm_dpo_where_the_reward_model_disagrees(run, golden):
    data = golden | {"score": [1.0, 2.0]}
    beta = 0.1 * (1 + 0.5 * (1 - math.exp(-0.5)))
    assert float(run("mm_dpo", data).value.detach()) == pytest.approx(softplus(-0.15))  # margin treated as 0: DPO
    swapped = run("mm_dpo", data, mislabelled="swap")
    assert float(swapped.value.detach()) == pytest.approx(softplus(beta * 1.5))
    dropped = run("mm_dpo", data, mislabelled="drop")
    assert float(dropped.total.detach()) == 0.0
    assert dropped.count == 0.0


def test_mm_dpo_without_rewards_says_so(run, golden):
    with pytest.raises(DataError, match="needs the reward of both"):
        run("mm_dpo", golden)


@pytest.mark.parametrize(
    ("name", "options", "start"),
    [
        ("dpo", {}, LOG2),
        ("ln_dpo", {}, LOG2),
        ("cdpo", {"label_smoothing": 0.3}, LOG2),
        ("robust_dpo", {"label_smoothing": 0.3}, LOG2),
        ("ipo", {}, 25.0),
        ("ipo", {"tau": 0.5, "length_average": False}, 1.0),
        ("mm_dpo", {}, LOG2),
        ("rso_hinge_norm", {}, 1.0),
        ("rso_sigmoid_norm", {}, LOG2),
        ("mask_dpo", {}, LOG2),
    ],
)
def test_start(run, golden, name, options, start):
    data = golden | {"reference": golden["policy"], "score": [3.0, 1.0]}
    assert float(run(name, data, **options).value.detach()) == pytest.approx(start, abs=1e-12)
    assert parse([{"name": name, **options}]).start == pytest.approx(start, abs=1e-12)


def test_dpo_gradient_is_equal_and_opposite(slope, golden):
    # d loss / d logp_w = -beta sigmoid(-beta h) = -0.1 / (1 + e^0.15) = -0.0462570
    g = slope("dpo", golden)
    assert g[0, :8].tolist() == pytest.approx([-0.1 / (1 + math.exp(0.15))] * 8)
    assert g[1].tolist() == pytest.approx([0.1 / (1 + math.exp(0.15))] * 10)
    assert g[0, 8:].abs().sum() == 0


def test_dpo_metrics(run, golden):
    m = {k: float(v) for k, v in run("dpo", golden).metrics.items()}
    assert m == pytest.approx(
        {
            "rewards/chosen": 0.1,
            "rewards/rejected": -0.05,
            "rewards/margins": 0.15,
            "rewards/accuracies": 1.0,
            "logps/chosen": -12.0,
            "logps/rejected": -18.0,
        }
    )


def test_accuracy_is_strict_at_the_start(run, golden):
    loss = run("dpo", golden | {"reference": golden["policy"]})
    assert float(loss.metrics["rewards/accuracies"]) == 0.0


def test_swapping_the_pair_adds_beta_h(run, golden):
    swapped = golden | {"role": ["rejected", "chosen"]}
    gap = run("dpo", swapped).value - run("dpo", golden).value
    assert float(gap.detach()) == pytest.approx(0.1 * 1.5)


def test_cdpo_stops_at_the_log_odds_of_its_smoothing(slope, run):
    # h* = log(0.9 / 0.1) / 0.1 = 21.9722; the loss there is the entropy of 0.1: -0.9 log 0.9 - 0.1 log 0.1 = 0.325083
    h = math.log(9) / 0.1
    data = {"policy": [[h], [0.0]], "reference": [[0.0], [0.0]], "group": [0, 0], "role": ["chosen", "rejected"]}
    assert slope("cdpo", data).abs().max() < 1e-12
    assert float(run("cdpo", data).value.detach()) == pytest.approx(0.325083, abs=1e-6)


def test_ipo_turns_back_past_its_target(slope):
    # target 1 / (2 * 0.1) = 5; slope 2 (h - 5) on chosen
    def at(h):
        data = {"policy": [[h], [0.0]], "reference": [[0.0], [0.0]], "group": [0, 0], "role": ["chosen", "rejected"]}
        return float(slope("ipo", data)[0, 0])

    assert at(0.0) == pytest.approx(-10.0)  # -1 / tau
    assert at(5.0) == 0.0
    assert at(7.0) == pytest.approx(4.0)


def test_mm_dpo_limits(run, golden):
    far = run("mm_dpo", golden | {"score": [1e6, 0.0]})
    assert float(far.value.detach()) == pytest.approx(softplus(-0.15 * 1.5))  # DPO at beta (1 + scale)
    betas = [float(run("mm_dpo", golden | {"score": [d, 0.0]}).metrics["beta"]) for d in (0.0, 0.1, 1.0, 5.0)]
    assert betas == sorted(betas)
    assert len(set(betas)) == 4


def test_rows_may_come_in_any_order(run, golden):
    mixed = {
        "policy": [golden["policy"][1], [-1.0], [-2.0], golden["policy"][0]],
        "reference": [golden["reference"][1], [-1.0], [-1.0], golden["reference"][0]],
        "group": [1, 0, 0, 1],
        "role": ["rejected", "chosen", "rejected", "chosen"],
    }
    # group 0: h = 0 - (-1) = 1
    assert run("dpo", mixed).per_example.tolist() == pytest.approx([softplus(-0.1), softplus(-0.15)])


def test_a_missing_reference_is_refused(run, golden):
    del golden["reference"]
    with pytest.raises(UsageError, match=r"p\.reference is None"):
        run("dpo", golden)


def test_an_unpaired_group_is_refused(run, golden):
    with pytest.raises(DataError, match="exactly one chosen and one rejected"):
        run("dpo", golden | {"group": [0, 1]})
    with pytest.raises(DataError, match="exactly one chosen and one rejected"):
        run("dpo", golden | {"role": ["chosen", "chosen"]})


@pytest.mark.parametrize(
    "row",
    [
        {"name": "dpo", "beta": 0},
        {"name": "cdpo", "label_smoothing": 0.5},
        {"name": "robust_dpo", "label_smoothing": 10},
        {"name": "dpo", "label_smoothing": 0.1},
        {"name": "ipo", "convention": "openrlhf", "length_average": True},
    ],
)
def test_options_that_cannot_be_meant_are_refused(row):
    with pytest.raises(ConfigError):
        parse([row])


def test_a_convention_resolves_to_plain_options():
    config = parse([{"name": "ipo", "convention": "dpo_repo"}]).terms[0][1]
    assert config.length_average is False
    assert type(config)(**config.model_dump()) == config  # the resolved config loads again


def test_robust_dpo_slope_never_falls_below_its_floor(slope):
    # at h -> inf the slope on chosen tends to -beta e / (1 - 2 e) = -0.1 * 0.1 / 0.8
    data = {"policy": [[0.0], [-1e4]], "reference": [[0.0], [0.0]], "group": [0, 0], "role": ["chosen", "rejected"]}
    assert float(slope("robust_dpo", data)[0, 0]) == pytest.approx(-0.0125)


def test_two_response_bandit_learns(run):
    """200 gradient steps on a tabular policy over two answers raise h."""
    theta = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    ref = torch.full((2,), -LOG2, dtype=torch.float64)
    base = token_logps({"policy": [[0.0], [0.0]], "reference": [[0.0], [0.0]], "group": [0, 0], "role": [1, -1]})
    for _ in range(200):
        base.policy, base.reference = theta.log_softmax(0)[:, None], ref[:, None]
        (grad,) = torch.autograd.grad(run("dpo", base).value, theta)
        theta = (theta - grad).detach().requires_grad_()
    assert float(theta.detach().softmax(0)[0]) > 0.9
