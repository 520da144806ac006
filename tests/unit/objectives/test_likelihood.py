"""SFT's three means and constrained SFT."""

from __future__ import annotations

import math

import pytest
import torch

from theodolite.errors import ConfigError
from theodolite.objectives.combine import parse

TWO = {"policy": [[-1.0, -2.0, -3.0], [-4.0]]}


def test_three_means(run):
    # tokens: (1 + 2 + 3 + 4) / 4 = 2.5;  answers: (2 + 4) / 2 = 3;  sums: (6 + 4) / 2 = 5
    assert float(run("sft", TWO).value.detach()) == pytest.approx(2.5)
    assert float(run("sft", TWO, reduction="seq_mean").value.detach()) == pytest.approx(3.0)
    assert float(run("sft", TWO, reduction="seq_sum").value.detach()) == pytest.approx(5.0)
    assert float(run("sft", TWO, convention="dpo_repo").value.detach()) == pytest.approx(5.0)
    assert float(run("sft", TWO, convention="trl").value.detach()) == pytest.approx(2.5)


def test_token_mean_is_reported_per_example_with_its_tokens(run):
    loss = run("sft", TWO)
    assert loss.per_example.tolist() == [2.0, 4.0]
    assert loss.weight.tolist() == [3.0, 1.0]
    assert [parse([{"name": "sft", "reduction": r}]).unit for r in ("token_mean", "seq_mean", "seq_sum")] == [
        "token",
        "example",
        "example",
    ]


def test_uniform_policy_gives_log_v(run):
    assert float(run("sft", {"policy": [[-math.log(50)] * 7]}).value.detach()) == pytest.approx(math.log(50))


def test_an_all_masked_batch_is_zero_with_a_graph(run):
    loss = run("sft", {"policy": [[-1.0]], "weight": [[0]]})
    assert float(loss.value.detach()) == 0.0
    assert loss.value.requires_grad


@pytest.mark.parametrize(
    ("more", "want"),
    [
        ({"role": ["chosen", "rejected"]}, [1.0]),
        ({"score": [0.0, 2.0]}, [3.0]),
        ({"label": [1, 0]}, [1.0]),
        ({}, [1.0, 3.0]),
    ],
)
def test_what_is_trained_on(run, more, want):
    """Chosen, else best, else liked, else everything."""
    data = {"policy": [[-1.0], [-3.0]], "group": [0, 0], **more}
    assert run("sft", data).per_example.tolist() == want


def test_a_group_with_nothing_to_learn_counts_nothing(run, slope):
    data = {"policy": [[-1.0], [-3.0]], "label": [1, 0]}
    loss = run("sft", data)
    assert loss.per_example.tolist() == [1.0, 0.0]
    assert loss.weight.tolist() == [1.0, 0.0]
    assert slope("sft", data).tolist() == [[-1.0], [0.0]]


def test_constrained_golden(run, slope):
    # one token, ratio 0.4, beta 2: (2 / 2) log(1 + e^-0.8) = 0.371101; pull 2 (1 - sigmoid(0.8)) = 0.620051
    data = {"policy": [[-1.0]], "reference": [[-1.4]]}
    loss = run("constrained_sft", data, beta_first=2.0)
    assert float(loss.value.detach()) == pytest.approx(0.371101, abs=1e-6)
    assert float(loss.metrics["pull"]) == pytest.approx(0.620051, abs=1e-6)
    assert float(slope("constrained_sft", data, beta_first=2.0)) == pytest.approx(-0.620051, abs=1e-6)


def test_constrained_betas_by_position(run):
    # at ratio 0 each token costs (2 / beta_t) log 2: betas .5, 2, 2, 2, 2, .1 -> (4 + 4 * 1 + 20) log 2 / 6
    data = {"policy": [[-1.0] * 6], "reference": [[-1.0] * 6]}
    assert float(run("constrained_sft", data).value.detach()) == pytest.approx(28 * math.log(2) / 6)


def test_constrained_starts_with_the_gradient_of_sft(slope):
    data = {"policy": [[-1.0, -2.0, -0.5], [-3.0]], "reference": [[-1.0, -2.0, -0.5], [-3.0]]}
    assert torch.allclose(slope("constrained_sft", data), slope("sft", data), atol=1e-12)


def test_constrained_forms_share_a_gradient(slope):
    data = {"policy": [[-1.0, -2.0, -0.5], [-3.0]], "reference": [[-1.2, -1.5, -0.9], [-2.0]]}
    authors = slope("constrained_sft", data, convention="authors")
    assert torch.allclose(authors, slope("constrained_sft", data), atol=1e-12)


def test_constrained_limits(slope):
    data = {"policy": [[-1.0, -2.0]], "reference": [[-1.5, -1.5]]}
    tiny = {"beta_first": 1e-9, "beta_early": 1e-9, "beta_rest": 1e-9}
    huge = {"beta_first": 1e5, "beta_early": 1e5, "beta_rest": 1e5}
    assert slope("constrained_sft", data, **tiny)[0].tolist() == pytest.approx([-0.5, -0.5])  # SFT
    assert slope("constrained_sft", data, **huge)[0].tolist() == pytest.approx([0.0, -1.0])  # only the fallen token


def test_reduction_belongs_to_its_convention():
    with pytest.raises(ConfigError, match="means reduction='seq_sum'"):
        parse([{"name": "sft", "convention": "dpo_repo", "reduction": "seq_mean"}])
