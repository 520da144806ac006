"""SLiC and RSO's losses."""

from __future__ import annotations

import pytest

from theodolite.errors import DataError


def test_slic_golden(run, golden):
    # max(0, 1 - (-12) + (-18)) = max(0, -5) = 0; 0.1 * 12 = 1.2.  With delta 10: 10 - 6 = 4
    assert float(run("slic", golden, reg_reduction="sum").value.detach()) == pytest.approx(1.2)
    assert float(run("slic", golden, delta=10, reg_weight=0).value.detach()) == pytest.approx(4.0)
    # per token: max(0, 1 + 1.5 - 1.8) = 0.7, plus 0.1 * 1.5
    assert float(run("slic", golden, length_average=True).value.detach()) == pytest.approx(0.85)


def test_slic_keeps_an_sft_target(run, golden):
    data = {
        "policy": [*golden["policy"], [-0.5, -1.0]],
        "group": [0, 0, 0],
        "role": ["chosen", "rejected", "other"],
    }
    # hinge 0; 0.1 * 0.75
    assert float(run("slic", data, reg_target="sft_target").value.detach()) == pytest.approx(0.075)
    with pytest.raises(DataError, match="exactly one other row"):
        run("slic", golden, reg_target="sft_target")


def test_rso_golden(run, golden):
    # gamma 0.05: log(1 + e^-0.075) = 0.656350;  1 - 0.05 * 6 = 0.7;  1 - 0.05 * 1.5 = 0.925
    assert float(run("rso_sigmoid_norm", golden).value.detach()) == pytest.approx(0.656350, abs=1e-6)
    assert float(run("rso_hinge", golden).value.detach()) == pytest.approx(0.7)
    assert float(run("rso_hinge_norm", golden).value.detach()) == pytest.approx(0.925)


def test_hinges_let_go_exactly(slope, golden):
    assert slope("rso_hinge_norm", golden, gamma=1.0).abs().max() == 0  # gamma h = 1.5 >= 1
    assert slope("rso_hinge", golden, gamma=0.2).abs().max() == 0  # 0.2 * 6 = 1.2 >= 1
    assert slope("slic", golden, reg_weight=0).abs().max() == 0
    assert float(slope("rso_hinge_norm", golden)[0, 0]) == pytest.approx(-0.05)
    assert float(slope("rso_hinge_norm", golden)[1, 0]) == pytest.approx(0.05)


def test_rso_hinge_is_slic_scaled(run, golden):
    slic = run("slic", golden, delta=20, reg_weight=0).value
    assert float(run("rso_hinge", golden, gamma=1 / 20).value.detach()) == pytest.approx(float(slic.detach()) / 20)
