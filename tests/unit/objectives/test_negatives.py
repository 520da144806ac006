"""D2O and NPO."""

from __future__ import annotations

import math

import pytest
import torch

from theodolite.errors import DataError, UsageError
from theodolite.objectives.negatives import forgetting_starts_at

LOG2 = math.log(2)


def test_d2o_golden(run, golden):
    # K = 1, alpha = beta = 0.1, the sample is the chosen answer: DPO's 0.620957
    data = golden | {"role": ["self", "rejected"]}
    assert float(run("d2o", data).value.detach()) == pytest.approx(0.620957, abs=1e-6)


def test_d2o_takes_the_mean_over_samples(run, slope):
    data = {
        "policy": [[-2.0], [-1.0], [-3.0]],
        "reference": [[-1.0], [-2.0], [-2.5]],
        "group": [0, 0, 0],
        "role": ["rejected", "self", "self"],
    }
    # 0.1 mean(1, -0.5) - 0.1 (-1) = 0.125
    assert float(run("d2o", data).value.detach()) == pytest.approx(math.log1p(math.exp(-0.125)))
    g = slope("d2o", data)[:, 0].tolist()
    pull = 0.1 / (1 + math.exp(0.125))
    assert g == pytest.approx([pull, -pull / 2, -pull / 2])
    assert slope("d2o", data, alpha=0)[0].abs().max() == 0


def test_d2o_needs_own_samples(run):
    data = {"policy": [[-1.0]], "reference": [[-1.0]], "role": ["rejected"]}
    with pytest.raises(DataError, match="at least one SELF row"):
        run("d2o", data)


def test_npo_golden(run, bad):
    # (2 / 0.1) log(1 + e^(0.1 * -0.5)) = 20 * 0.668460 = 13.369193
    assert float(run("npo", bad).value.detach()) == pytest.approx(13.369193, abs=1e-6)
    assert forgetting_starts_at(0.1) == pytest.approx(13.862944, abs=1e-6)


def test_npo_starts_as_gradient_ascent_and_fades(slope):
    at = {"reference": [[-1.0]], "label": [0]}
    assert float(slope("npo", at | {"policy": [[-1.0]]})) == pytest.approx(1.0)
    assert float(slope("npo", at | {"policy": [[-1e4]]})) == pytest.approx(0.0, abs=1e-12)


def test_npo_retains(run, slope, good):
    assert float(run("npo", good).value.detach()) == pytest.approx(1.5)
    assert float(run("npo", good, retain_weight=3).value.detach()) == pytest.approx(4.5)
    assert float(slope("npo", good)[0, 0]) == pytest.approx(-1 / 8)


def test_npo_kl_reads_its_extra(run, good):
    data = good | {"extras": {"reference_kl": [[0.5] * 8]}}
    assert float(run("npo_kl", data).value.detach()) == pytest.approx(0.5)
    with pytest.raises(UsageError, match="reference_kl"):
        run("npo_kl", good)


def test_npo_of_the_forget_row_equals_that_of_npo_kl(run, bad):
    data = bad | {"extras": {"reference_kl": [[0.5] * 10]}}
    assert torch.equal(run("npo", bad).per_example, run("npo_kl", data).per_example)
