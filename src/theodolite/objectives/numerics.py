"""Stable forms of the few functions that every objective leans on. Nats throughout."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from theodolite.types import TokenLogps

CEILING = -1e-6
"""the largest log-prob that log1mexp tells from 0; float32 log-probs are no finer"""


def log1mexp(a: Tensor) -> Tensor:
    """log(1 - e^a) for log-probs a <= 0, by the branch that loses no digits (Maechler 2012).

    a is clamped to -1e-6, so the value is at least -13.8 and the slope -e^a / (1 - e^a) at least -1e6. The clamp
    passes the gradient on: a token that is almost certain must still feel the push away from it.
    `log1mexp(log 0.5)` is log 0.5.
    """
    a = torch.where(a > CEILING, a + (CEILING - a).detach(), a)
    near, far = a.clamp(min=-math.log(2)), a.clamp(max=-math.log(2))  # each branch only sees what it is good at
    return torch.where(a > -math.log(2), torch.log(-torch.expm1(near)), torch.log1p(-torch.exp(far)))


def log1mp(p: TokenLogps) -> Tensor:
    """(R, T) log(1 - pi(y_t | ...)); from `p.extras` where the engine gave it, else from the log-probs themselves."""
    if "log1mp" in p.extras:
        return p.extras["log1mp"]
    return log1mexp(p.policy.masked_fill(p.weight == 0, -1.0))


def masked_mean(values: Tensor, weight: Tensor) -> Tensor:
    """(R,) sum of weight * values over tokens with weight != 0, divided by their number; 0 where there are none."""
    kept = values.masked_fill(weight == 0, 0.0) * weight.to(values.dtype)
    return kept.sum(-1) / (weight != 0).sum(-1).clamp(min=1).to(values.dtype)


def log_one_plus_sum_exp(x: Tensor) -> Tensor:
    """log(1 + sum_k e^x_k) over the last axis; entries of -inf count for nothing."""
    return torch.logsumexp(torch.cat([x.new_zeros(*x.shape[:-1], 1), x], -1), -1)


def smoothed_logistic(z: Tensor, smoothing: float) -> Tensor:
    """-(1 - e) log sigmoid(z) - e log sigmoid(-z): the logistic loss when a share e of labels is flipped."""
    return -(1 - smoothing) * logsigmoid(z) - smoothing * logsigmoid(-z)
