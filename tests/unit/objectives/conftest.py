"""Builders of TokenLogps from plain numbers, shared by the objectives' tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from theodolite.objectives.conformance import token_logps
from theodolite.registry import get
from theodolite.types import Loss, TokenLogps

GOLDEN = {
    # summed log-probs -12 and -18, reference -13 and -17.5, lengths 8 and 10: ratios 1 and -0.5, h = 1.5,
    # h per token = 1/8 + 0.5/10 = 0.175, log-prob per token -1.5 and -1.8
    "policy": [[-1.5] * 8, [-1.8] * 10],
    "reference": [[-1.625] * 8, [-1.75] * 10],
    "group": [0, 0],
    "role": ["chosen", "rejected"],
}


@pytest.fixture
def golden() -> dict[str, Any]:
    """The pair of specs/objectives.md section 11."""
    return {key: list(value) for key, value in GOLDEN.items()}


@pytest.fixture
def good() -> dict[str, Any]:
    """Its chosen answer alone, liked."""
    return {"policy": [[-1.5] * 8], "reference": [[-1.625] * 8], "label": [1]}


@pytest.fixture
def bad() -> dict[str, Any]:
    """Its rejected answer alone, disliked."""
    return {"policy": [[-1.8] * 10], "reference": [[-1.75] * 10], "label": [0]}


Run = Callable[..., Loss]


@pytest.fixture
def run() -> Run:
    """run(name, data or TokenLogps, **options) -> Loss"""

    def go(name: str, data: Any, **options: Any) -> Loss:
        entry = get("objective", name)
        p = data if isinstance(data, TokenLogps) else token_logps(data)
        return entry.function(p, entry.config(**options))

    return go


@pytest.fixture
def slope(run: Run) -> Callable[..., Tensor]:
    """slope(name, data, **options) -> (R, T) gradient of the value with respect to the policy's log-probs"""

    def go(name: str, data: Any, **options: Any) -> Tensor:
        p = token_logps(data)
        return torch.autograd.grad(run(name, p, **options).value, p.policy)[0]

    return go


@pytest.fixture
def pairs() -> Callable[..., dict[str, Any]]:
    """pairs(n, seed) -> ragged random pairs with reference"""

    def go(n: int = 6, seed: int = 0, length: int | None = None) -> dict[str, Any]:
        g = torch.Generator().manual_seed(seed)
        sizes = [length or int(torch.randint(1, 7, (1,), generator=g)) for _ in range(2 * n)]
        policy = [(-3 * torch.rand(k, generator=g, dtype=torch.float64)).tolist() for k in sizes]
        reference = [(-3 * torch.rand(k, generator=g, dtype=torch.float64)).tolist() for k in sizes]
        group = [i // 2 for i in range(2 * n)]
        return {"policy": policy, "reference": reference, "group": group, "role": ["chosen", "rejected"] * n}

    return go
