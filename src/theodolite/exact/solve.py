"""Minimise many small problems at once, in float64, each with a certificate that says how it ended.

`bfgs` keeps an inverse Hessian and a weak-Wolfe line search for every problem, while all of them share each evaluation.
It also copes with hinges (Lewis and Overton 2013, "Nonsmooth optimization via quasi-Newton methods"). Objectives that
stop gradients on purpose have a gradient field but no value to descend: there the line search goes by slopes alone, and
what it leaves unfinished is handed to `follow`, Adam with a decaying step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Field = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""(points (b, n), which problems (b,)) -> (values (b,), gradients (b, n))"""

GRADIENT, KINK, UNBOUNDED, BUDGET = 0, 1, 2, 3
ENDINGS = ("gradient", "kink", "unbounded", "budget")
"""gradient: the gradient vanished. kink: no step lowers the value any more, at a kink or far out on a plateau.
unbounded: there is no minimum; stopped when a coordinate had moved by `limit`. budget: evaluations ran out."""

PATIENCE = 40
"""a value that has not fallen by 1e-8 of itself over this many evaluations has reached its kink"""

FIRST, GROWTH = 0.01, 8.0
"""length of the first step tried, and how much longer than the last a step may start: losses that saturate have
plateaus far out, where a bold step would settle although no training ever gets there"""


@dataclass(frozen=True, slots=True)
class Solved:
    """x: (B, n). gradient: (B,) largest gradient entry, relative to the largest at the start. ending: (B,) long."""

    x: Tensor
    gradient: Tensor
    ending: Tensor
    evaluations: int
    solver: str


def solve(field: Field, start: Tensor, *, tolerance: float = 1e-9, limit: float = 5000.0, budget: int = 400) -> Solved:
    """The minimum by `bfgs`; where the gradient is not the value's own, the field's rest by slopes and then `follow`."""
    if is_gradient(field, start):
        return bfgs(field, start, tolerance=tolerance, limit=limit, budget=budget)
    found = bfgs(field, start, tolerance=tolerance, limit=limit, budget=budget // 2, by_value=False)
    left = (found.ending != GRADIENT).nonzero().squeeze(1)
    if not len(left):
        return found
    steps = 3 * budget
    rest = follow(lambda x, live: field(x, left[live]), start[left], tolerance=tolerance, limit=limit, budget=steps)
    found.x[left], found.gradient[left], found.ending[left] = rest.x, rest.gradient, rest.ending
    return Solved(found.x, found.gradient, found.ending, found.evaluations + rest.evaluations, "bfgs by slopes, adam")


def is_gradient(field: Field, start: Tensor, step: float = 1e-5) -> bool:
    """Whether the field is the derivative of the value, by central differences along fixed random directions."""
    everyone = torch.arange(len(start))
    rng = torch.Generator().manual_seed(0)
    where = start + 0.3 * torch.randn(start.shape, generator=rng, dtype=start.dtype)
    for _ in range(2):
        direction = torch.randn(start.shape, generator=rng, dtype=start.dtype)
        slope = (field(where, everyone)[1] * direction).sum(1)
        rise = (field(where + step * direction, everyone)[0] - field(where - step * direction, everyone)[0]) / (
            2 * step
        )
        wrong = (slope - rise).abs() > 1e-3 * (slope.abs() + rise.abs()) + 1e-6
        if wrong.double().mean() > 0.05:  # a hinge may lie between the two points of a few problems
            return False
    return True


def bfgs(field: Field, start: Tensor, *, tolerance: float, limit: float, budget: int, by_value: bool = True) -> Solved:
    """Quasi-Newton with inverse Hessians (B, n, n); accepted steps satisfy Hager and Zhang's approximate Wolfe rules.

    by_value False: a step is accepted where the slope along it has shrunk by a tenth, whatever the value does.
    """
    count, n = start.shape
    eye = torch.eye(n, dtype=start.dtype)
    x, inverse, fresh = start.clone(), eye.repeat(count, 1, 1), torch.ones(count, dtype=torch.bool)
    ending = torch.full((count,), BUDGET)
    live = torch.arange(count)
    f, g = field(x, live)
    first = g.abs().amax(1).clamp(min=1e-9)
    d = -g / g.norm(dim=1, keepdim=True).clamp(min=1e-30)
    t, low, high = torch.tensor([FIRST, 0.0, torch.inf], dtype=start.dtype).repeat(count, 1).T.contiguous()
    tries, evaluations, earlier = torch.zeros(count), 1, f.clone() + torch.inf
    ending[g.abs().amax(1) <= tolerance * first] = GRADIENT
    while evaluations < budget:
        live = (ending == BUDGET).nonzero().squeeze(1)
        if not len(live):
            break
        now, grad = field(x[live] + t[live, None] * d[live], live)
        evaluations += 1
        slope, new_slope = (g[live] * d[live]).sum(1), (grad * d[live]).sum(1)
        rounding = 1e-13 * (f[live].abs() + 1e-3)
        falls = now <= f[live] + 1e-4 * t[live] * slope
        flat = (now <= f[live] + rounding) & (new_slope <= -0.999 * slope)
        enough, bent = falls | flat if by_value else new_slope <= -0.9 * slope, new_slope >= 0.9 * slope
        good = enough & bent & now.isfinite()
        _bracket(live[~good], (enough & now.isfinite())[~good], t, low, high, tries)
        _accept(live[good], now[good], grad[good], x, f, g, d, t, inverse, fresh, eye)
        low[live[good]], high[live[good]], tries[live[good]] = 0.0, torch.inf, 0
        away = enough & ~good & (t[live, None] * d[live]).abs().amax(1).gt(limit)
        x[live[away]], ending[live[away]] = x[live[away]] + t[live[away], None] * d[live[away]], UNBOUNDED
        if by_value and evaluations % PATIENCE == 0:
            stale = live[(earlier[live] - f[live] <= 1e-8 * (f[live].abs() + 1e-3)) & (ending[live] == BUDGET)]
            ending[stale], earlier = KINK, f.clone()
        _restart(live[tries[live] > 40], g, d, t, low, high, tries, inverse, fresh, eye, ending)
        ending[live[(g[live].abs().amax(1) <= tolerance * first[live])]] = GRADIENT
        ending[live[(x[live] - start[live]).abs().amax(1) > limit]] = UNBOUNDED
    if by_value:  # out of evaluations, but within 1e-5 of where the value was long ago: the hinge's kink, less exactly
        ending[(ending == BUDGET) & (earlier - f <= 1e-5 * (f.abs() + 1e-3))] = KINK
    return Solved(x, g.abs().amax(1) / first, ending, evaluations, "bfgs" if by_value else "bfgs by slopes")


def _bracket(rows: Tensor, enough: Tensor, t: Tensor, low: Tensor, high: Tensor, tries: Tensor) -> None:
    """Bisect (the step was too long) or double (too short, and no longer one is known)."""
    low[rows] = torch.where(enough, t[rows], low[rows])
    high[rows] = torch.where(enough, high[rows], t[rows])
    t[rows] = torch.where(high[rows].isinf(), 2 * t[rows], (low[rows] + high[rows]) / 2)
    tries[rows] += 1


def _accept(
    rows: Tensor, now: Tensor, grad: Tensor, x: Tensor, f: Tensor, g: Tensor, d: Tensor, t: Tensor, inverse: Tensor,
    fresh: Tensor, eye: Tensor,
) -> None:  # fmt: skip
    """Take the step and update the inverse Hessian: H <- (I - r s y')H(I - r y s') + r s s', r = 1 / y's."""
    if not len(rows):
        return
    s = t[rows, None] * d[rows]
    y = grad - g[rows]
    x[rows], f[rows], g[rows] = x[rows] + s, now, grad
    ys = (y * s).sum(1)
    usable = ys > 1e-30
    scale = torch.where(fresh[rows] & usable, ys / (y * y).sum(1).clamp(min=1e-300), torch.ones_like(ys))
    h = inverse[rows] * scale[:, None, None]
    r = torch.where(usable, 1 / ys.clamp(min=1e-300), torch.zeros_like(ys))[:, None, None]
    left = eye - r * s[:, :, None] * y[:, None, :]
    h = left @ h @ left.transpose(1, 2) + r * s[:, :, None] * s[:, None, :]
    inverse[rows], fresh[rows] = h, fresh[rows] & ~usable
    d[rows] = -(h @ grad[:, :, None]).squeeze(2)
    t[rows] = (GROWTH * s.abs().amax(1) / d[rows].abs().amax(1).clamp(min=1e-300)).clamp(max=1.0)


def _restart(
    rows: Tensor, g: Tensor, d: Tensor, t: Tensor, low: Tensor, high: Tensor, tries: Tensor, inverse: Tensor,
    fresh: Tensor, eye: Tensor, ending: Tensor,
) -> None:  # fmt: skip
    """A line search that found nothing: once more along the plain gradient, and if that fails too, a kink."""
    ending[rows[fresh[rows]]] = KINK
    again = rows[~fresh[rows]]
    inverse[again], fresh[again] = eye, True
    d[again] = -g[again] / g[again].norm(dim=1, keepdim=True).clamp(min=1e-30)
    t[again], low[again], high[again], tries[again] = 1e-3, 0.0, torch.inf, 0


def follow(field: Field, start: Tensor, *, tolerance: float, limit: float, budget: int) -> Solved:
    """Adam (0.9, 0.99) down a gradient field for `budget` steps; the step falls from 0.2 to 1e-5 by a half cosine."""
    everyone = torch.arange(len(start))
    x, m, v = start.clone(), torch.zeros_like(start), torch.zeros_like(start)
    first = None
    for i in range(budget):
        g = field(x, everyone)[1]
        first = g.abs().amax(1).clamp(min=1e-9) if first is None else first
        m, v = 0.9 * m + 0.1 * g, 0.99 * v + 0.01 * g * g
        rate = 1e-5 + 0.2 * 0.5 * (1 + torch.cos(torch.tensor(torch.pi * i / budget))).item()
        x = x - rate * (m / (1 - 0.9 ** (i + 1))) / ((v / (1 - 0.99 ** (i + 1))).sqrt() + 1e-12)
    assert first is not None
    left = field(x, everyone)[1].abs().amax(1) / first
    ending = torch.where(left <= max(tolerance, 1e-4), GRADIENT, BUDGET)
    ending[(x - start).abs().amax(1) > limit] = UNBOUNDED
    return Solved(x, left, ending, budget + 1, "adam")
