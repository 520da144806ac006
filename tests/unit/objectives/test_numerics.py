"""Stable forms against high-precision arithmetic."""

from __future__ import annotations

import math
from decimal import Decimal, getcontext

import pytest
import torch

from theodolite.objectives.numerics import log1mexp, log_one_plus_sum_exp, masked_mean, smoothed_logistic

getcontext().prec = 60


@pytest.mark.parametrize("a", [-2e-6, -1e-3, -0.5, -0.6931471, -0.6931472, -1.0, -20.0, -50.0, -700.0])
def test_log1mexp_against_decimals(a):
    want = float((1 - Decimal(a).exp()).ln())
    assert float(log1mexp(torch.tensor(a, dtype=torch.float64))) == pytest.approx(want, rel=1e-14)


def test_log1mexp_at_the_ends():
    x = torch.tensor([0.0, -1e-12, -1e4, -math.inf], requires_grad=True)
    y = log1mexp(x)
    (g,) = torch.autograd.grad(y.sum(), x)
    assert torch.isfinite(y).all()
    assert torch.isfinite(g).all()
    assert float(y[0].detach()) == pytest.approx(math.log(1e-6), rel=1e-3)
    assert -1.1e6 < float(g[0]) < -0.9e6  # clamped, but never switched off
    assert y[2:].tolist() == g[2:].tolist() == [0.0, 0.0]


def test_log1mexp_gradient():
    x = torch.tensor([-1e-3, -0.3, -0.7, -5.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(log1mexp, (x,), eps=1e-8, atol=1e-4)


def test_log_one_plus_sum_exp():
    inf = math.inf
    x = torch.tensor([[0.0, 0.0], [-inf, -inf], [1e4, 0.0]], requires_grad=True)
    y = log_one_plus_sum_exp(x)
    assert y.tolist() == pytest.approx([math.log(3), 0.0, 1e4])
    (g,) = torch.autograd.grad(y.sum(), x)
    assert g.flatten().tolist() == pytest.approx([1 / 3, 1 / 3, 0.0, 0.0, 1.0, 0.0])


def test_masked_mean_ignores_what_is_masked():
    x = torch.tensor([[1.0, math.nan, 3.0], [math.inf, math.nan, math.nan]], requires_grad=True)
    w = torch.tensor([[1.0, 0.0, 2.0], [0.0, 0.0, 0.0]])
    y = masked_mean(x, w)
    assert y.tolist() == [3.5, 0.0]  # (1 + 2 * 3) / 2 tokens
    (g,) = torch.autograd.grad(y.sum(), x)
    assert g.tolist() == [[0.5, 0.0, 1.0], [0.0, 0.0, 0.0]]


def test_smoothed_logistic_is_a_mixture():
    z = torch.tensor([1.0], dtype=torch.float64)
    want = 0.8 * math.log1p(math.exp(-1)) + 0.2 * math.log1p(math.exp(1))
    assert float(smoothed_logistic(z, 0.2)) == pytest.approx(want)
