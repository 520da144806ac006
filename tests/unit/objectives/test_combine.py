"""Objectives as recipes name them, and weighted sums."""

from __future__ import annotations

import math

import pytest
import torch

from theodolite.errors import ConfigError, UnknownName, UsageError
from theodolite.objectives.combine import combined, parse
from theodolite.objectives.conformance import token_logps
from theodolite.registry import get


def test_a_sum_is_the_sum_of_its_parts(run, golden):
    made = parse([{"name": "dpo", "beta": 0.2}, {"name": "sft", "weight": 0.3}])
    # log(1 + e^-0.3) + 0.3 * 1.5
    loss = made(token_logps(golden))
    assert float(loss.value.detach()) == pytest.approx(math.log1p(math.exp(-0.3)) + 0.45)
    assert float(loss.metrics["sft/nll"]) == 1.5
    assert float(loss.metrics["sft/loss"]) == 1.5
    assert float(loss.metrics["rewards/chosen"]) == pytest.approx(0.2)
    assert float(loss.metrics["dpo/loss"]) == pytest.approx(math.log1p(math.exp(-0.3)))


def test_its_facts(golden):
    made = parse([{"name": "sft", "weight": 0.5}, {"name": "dpo"}])
    assert (made.title, made.data, made.unit) == ("0.5 sft + dpo", "pairs", "example")
    assert made.reference
    assert made.roles == ("chosen", "rejected")
    assert made.start is None  # the NLL at the start depends on the data
    two = parse([{"name": "dpo"}, {"name": "cpo", "weight": 2}, {"name": "ipo", "tau": 0.5}])
    assert two.start is None
    assert parse([{"name": "dpo"}, {"name": "ipo", "tau": 0.5, "weight": 3}]).start == pytest.approx(math.log(2) + 3)
    assert parse([{"name": "cut"}]).extras == ("log1mp",)
    assert parse([{"name": "kto"}, {"name": "bco"}]).shared == ("kto_z0", "bco_delta")
    assert parse([{"name": "scir"}]).experimental


def test_one_term_keeps_its_unit_and_weight():
    data = token_logps({"policy": [[-1.0, -2.0, -3.0], [-4.0]]})
    made = parse([{"name": "sft", "weight": 2}])
    assert made.unit == "token"
    assert float(made(data).value.detach()) == pytest.approx(5.0)
    assert made(data).weight.tolist() == [3.0, 1.0]


def test_likelihood_of_liked_answers_joins_kto(run):
    data = {
        "policy": [[-1.0], [-2.0]],
        "reference": [[-1.0], [-2.0]],
        "label": [1, 0],
        "shared": {"kto_z0": 0.0},
    }
    made = parse([{"name": "kto"}, {"name": "sft"}])
    assert made(token_logps(data)).per_example.tolist() == pytest.approx([1.5, 0.5])


def test_splitting_a_sum_changes_nothing(pairs):
    made = parse([{"name": "dpo"}, {"name": "sft", "weight": 0.3}])
    data = pairs()
    whole = made(token_logps(data))
    halves = [{k: v[i : i + 6] for k, v in data.items()} for i in (0, 6)]
    parts = [made(token_logps(h)) for h in halves]
    total = sum(float(x.total.detach()) for x in parts) / sum(x.count for x in parts)
    assert total == pytest.approx(float(whole.value.detach()), rel=1e-12)


def test_combined_takes_entries_too(golden):
    entry = get("objective", "dpo")
    made = combined([(entry, entry.config(beta=0.2), 2.0)])
    assert float(made(token_logps(golden)).value.detach()) == pytest.approx(2 * math.log1p(math.exp(-0.3)))


def test_gradient_of_a_sum(pairs, slope):
    data = pairs()
    p = token_logps(data)
    made = parse([{"name": "dpo"}, {"name": "sft", "weight": 0.3}])
    (g,) = torch.autograd.grad(made(p).value, p.policy)
    want = slope("dpo", data) + 0.3 * slope("sft", data, reduction="seq_mean")
    assert torch.allclose(g, want, atol=1e-12)


@pytest.mark.parametrize(
    ("rows", "error", "says"),
    [
        ([], ConfigError, "at least one term"),
        ([{"beta": 1}], ConfigError, "needs a name"),
        ([{"name": "dqo"}], UnknownName, "Did you mean 'dpo'"),
        ([{"name": "dpo", "bata": 1}], ConfigError, "Did you mean 'beta'"),
        ([{"name": "dpo", "weight": 0}], ConfigError, "weight must be a number above 0"),
        ([{"name": "dpo", "weight": "much"}], ConfigError, "weight must be a number above 0"),
        ([{"name": "dpo"}, {"name": "kto"}], ConfigError, "different kinds of data, labels, pairs"),
        ([{"name": "dpo"}, {"name": "dpo"}], ConfigError, "twice"),
        ([{"name": "dpo"}, {"name": "sft", "reduction": "token_mean"}], ConfigError, "seq_mean"),
    ],
)
def test_what_cannot_be_meant_is_refused(rows, error, says):
    with pytest.raises(error, match=says):
        parse(rows)


def test_terms_that_see_different_examples_are_refused():
    # two whole answers to learn in one group, but one pair
    data = {
        "policy": [[-1.0], [-1.0], [-2.0]],
        "reference": [[-1.0]] * 3,
        "group": [0, 0, 0],
        "role": ["chosen", "rejected", "chosen"],
    }
    with pytest.raises((UsageError, ValueError)):
        parse([{"name": "dpo"}, {"name": "sft"}])(token_logps(data))
