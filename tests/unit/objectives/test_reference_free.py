"""SimPO, CPO, ORPO, LOGO."""

from __future__ import annotations

import math

import pytest
import torch

from theodolite.errors import DataError

LOG2 = math.log(2)


def softplus(x: float) -> float:
    return math.log1p(math.exp(x))


def test_simpo_golden(run, golden):
    # 2 * (-1.5 + 1.8) - 0.5 = 0.1; log(1 + e^-0.1) = 0.644397
    assert float(run("simpo", golden).value.detach()) == pytest.approx(0.644397, abs=1e-6)
    assert float(run("simpo", golden, nll_weight=0.5).value.detach()) == pytest.approx(0.644397 + 0.75, abs=1e-6)


def test_cpo_golden(run, golden):
    # 0.1 * 6 = 0.6; log(1 + e^-0.6) = 0.437488; the NLL per token is 1.5
    assert float(run("cpo", golden, nll_weight=0).value.detach()) == pytest.approx(0.437488, abs=1e-6)
    assert float(run("cpo", golden).value.detach()) == pytest.approx(1.937488, abs=1e-6)


def test_orpo_golden(run, golden):
    # odds: -1.5 - log(1 - e^-1.5) = -1.5 + 0.252489 = -1.247511; -1.8 - log(1 - e^-1.8) = -1.8 + 0.180688
    # ratio 0.371801; 1.5 + 0.1 * log(1 + e^-0.371801) = 1.5 + 0.052443
    loss = run("orpo", golden)
    assert float(loss.metrics["log_odds_ratio"]) == pytest.approx(0.371801, abs=1e-6)
    assert float(loss.value.detach()) == pytest.approx(1.552443, abs=1e-6)


def test_logo_golden(run):
    # 10 (-1.5) - 10 mean(-1.8, -1.6) - 3 = -15 + 17 - 3 = -1; log(1 + e^1) = 1.313262
    data = {"policy": [[-1.5], [-1.8], [-1.6]], "group": [0, 0, 0], "score": [1.0, 0.0, 0.0]}
    assert float(run("logo", data, nll_weight=0).value.detach()) == pytest.approx(1.313262, abs=1e-6)
    roles = {"policy": data["policy"], "group": data["group"], "role": ["chosen", "rejected", "rejected"]}
    assert float(run("logo", roles).value.detach()) == pytest.approx(1.313262 + 0.15, abs=1e-6)


def test_logo_copies_of_a_bad_answer_count_once(run):
    one = {"policy": [[-1.5], [-1.8]], "group": [0, 0], "role": ["chosen", "rejected"]}
    two = {"policy": [[-1.5], [-1.8], [-1.8]], "group": [0, 0, 0], "role": ["chosen", "rejected", "rejected"]}
    assert float(run("logo", one).value.detach()) == pytest.approx(float(run("logo", two).value.detach()))


def test_logo_needs_a_bad_answer(run):
    with pytest.raises(DataError, match="at least one bad"):
        run("logo", {"policy": [[-1.0]], "score": [1.0]})


def test_identical_answers(run):
    data = {"policy": [[-1.0, -2.0]] * 2, "group": [0, 0], "role": ["chosen", "rejected"]}
    assert float(run("simpo", data).value.detach()) == pytest.approx(softplus(0.5))  # log(1 + e^gamma)
    assert float(run("cpo", data, nll_weight=0).value.detach()) == pytest.approx(LOG2)
    assert float(run("orpo", data).value.detach()) == pytest.approx(1.5 + 0.1 * LOG2)


def test_simpo_gradient(slope, golden):
    # d / d logp_w = -(beta / len) sigmoid(gamma - beta diff) = -(2 / 8) sigmoid(-0.1)
    assert float(slope("simpo", golden)[0, 0]) == pytest.approx(-0.25 / (1 + math.exp(0.1)))


def test_orpo_odds_slope(slope):
    # d odds / d a = 1 / (1 - e^a); with NLL slope -1: -1 - 0.1 sigmoid(-OR) / (1 - e^a)
    data = {"policy": [[-0.5], [-1.0]], "group": [0, 0], "role": ["chosen", "rejected"]}
    odds = [a - math.log(1 - math.exp(a)) for a in (-0.5, -1.0)]
    want = -1 - 0.1 / (1 + math.exp(odds[0] - odds[1])) / (1 - math.exp(-0.5))
    assert float(slope("orpo", data)[0, 0]) == pytest.approx(want)


def test_orpo_stays_finite_for_certain_text(slope):
    data = {"policy": [[0.0, 0.0], [-1e4]], "group": [0, 0], "role": ["chosen", "rejected"]}
    assert torch.isfinite(slope("orpo", data)).all()
    flipped = data | {"role": ["rejected", "chosen"]}
    g = slope("orpo", flipped)
    assert torch.isfinite(g).all()
    assert float(g[0, 0]) > 0  # certain and rejected: still pushed down


def test_cpo_nll_strengthens_the_pull(slope, golden):
    assert float(slope("cpo", golden)[0, 0]) < float(slope("cpo", golden, nll_weight=0)[0, 0]) < 0


def test_no_reference_is_read(run, golden):
    without = {k: v for k, v in golden.items() if k != "reference"}
    for name in ("simpo", "cpo", "orpo", "logo", "slic", "rso_hinge"):
        assert run(name, golden).per_example.tolist() == run(name, without).per_example.tolist()
