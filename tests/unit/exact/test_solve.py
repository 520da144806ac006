"""The batched solver: smooth, kinked, unbounded and value-less problems, each with the right certificate."""

from __future__ import annotations

import torch
from torch import Tensor

from theodolite.exact.solve import BUDGET, GRADIENT, KINK, UNBOUNDED, Field, bfgs, is_gradient, solve


def of(function) -> Field:  # type: ignore[no-untyped-def]
    """A field from a differentiable (x (b, n), live (b,)) -> (b,)."""

    def field(x: Tensor, live: Tensor) -> tuple[Tensor, Tensor]:
        x = x.detach().requires_grad_(True)
        value = function(x, live)
        return value.detach(), torch.autograd.grad(value.sum(), x)[0]

    return field


def zeros(b: int, n: int) -> Tensor:
    return torch.zeros(b, n, dtype=torch.float64)


def test_many_quadratics_at_once_each_reach_their_own_minimum() -> None:
    rng = torch.Generator().manual_seed(0)
    root = torch.randn(20, 5, 5, generator=rng, dtype=torch.float64)
    matrix = root @ root.transpose(1, 2) + 0.01 * torch.eye(5)
    target = torch.randn(20, 5, generator=rng, dtype=torch.float64)

    def quadratic(x: Tensor, live: Tensor) -> Tensor:
        off = x - target[live]
        return torch.einsum("bi,bij,bj->b", off, matrix[live], off)

    found = solve(of(quadratic), zeros(20, 5))
    assert found.solver == "bfgs"
    assert found.ending.eq(GRADIENT).all()
    assert (found.x - target).abs().max() < 1e-6


def test_a_start_that_is_the_end_is_left_alone() -> None:
    found = solve(of(lambda x, live: (x**2).sum(1)), zeros(3, 2))
    assert found.ending.eq(GRADIENT).all()
    assert found.x.eq(0).all()


def test_a_hinge_ends_at_its_kink() -> None:
    # |x - 1| + 2 |y + 2| + |x - y|: by the subgradients the minimum is x = 1, y = -2, value 3
    def bent(x: Tensor, live: Tensor) -> Tensor:
        return (x[:, 0] - 1).abs() + 2 * (x[:, 1] + 2).abs() + (x[:, 0] - x[:, 1]).abs()

    found = solve(of(bent), zeros(2, 2) + 0.1)
    assert found.ending.eq(KINK).all()
    assert bent(found.x, torch.arange(2)).sub(3).abs().max() < 1e-8


def test_a_slope_without_end_is_called_unbounded() -> None:
    found = solve(of(lambda x, live: -x[:, 0] + x[:, 1] ** 2), zeros(2, 2))
    assert found.ending.eq(UNBOUNDED).all()


def test_a_flat_tail_ends_by_its_gradient_and_a_short_budget_says_so() -> None:
    tail = of(lambda x, live: torch.exp(-x).sum(1))
    assert solve(tail, zeros(1, 1)).ending.item() == GRADIENT
    rosenbrock = of(lambda x, live: (1 - x[:, 0]) ** 2 + 100 * (x[:, 1] - x[:, 0] ** 2) ** 2)
    assert bfgs(rosenbrock, zeros(1, 2), tolerance=1e-9, limit=1e3, budget=5).ending.item() == BUDGET
    full = bfgs(rosenbrock, zeros(1, 2), tolerance=1e-9, limit=1e3, budget=400)
    assert (full.x - 1).abs().max() < 1e-6


def test_stopped_gradients_are_noticed_and_still_followed_to_their_rest() -> None:
    # value (x - sg(y))^2 + (y - 3)^2: the field's rest is x = y = 3, though d value / d y has another term
    def field(x: Tensor, live: Tensor) -> tuple[Tensor, Tensor]:
        return of(lambda v, _: (v[:, 0] - v[:, 1].detach()) ** 2 + (v[:, 1] - 3) ** 2)(x, live)

    assert not is_gradient(field, zeros(4, 2))
    found = solve(field, zeros(4, 2))
    assert found.solver.startswith("bfgs by slopes")
    assert found.ending.eq(GRADIENT).all()
    assert (found.x - 3).abs().max() < 1e-4
