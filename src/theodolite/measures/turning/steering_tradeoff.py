"""How far can a model be steered before it loses more helpfulness than it gains alignment?"""

from __future__ import annotations

import math
import warnings
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from pydantic import Field
from scipy.optimize import OptimizeWarning, curve_fit
from scipy.stats import f as fisher

from theodolite.measures.intervals import middle
from theodolite.measures.records import Floats, Records, Resampled
from theodolite.registry import register
from theodolite.types import Reading

Form = Literal["full", "two_of_four"]


class SteeringTradeoff(Resampled):
    price: float = Field(1.0, gt=0)
    """alignment that one unit of helpfulness is worth (lambda)"""
    form: Form = "full"
    """helpfulness over the full vocabulary, or between two of four answers, where it falls to 1/4 and not to 0"""
    linear_alignment: float = Field(0.8, gt=0, le=1)
    """polynomials are fitted where |alignment| is below this ..."""
    least_helpfulness: float = Field(0.25, ge=0, lt=1)
    """... and helpfulness above this"""


def alignment_curve(r: ArrayLike, a: Any, b0: Any) -> Any:
    """tanh(a r + b0): P(aligned) - P(misaligned) at steering coefficient r; slope a (1 - b(0)^2) at 0."""
    return np.tanh(a * np.asarray(r, float) + b0)


def helpfulness_curve(r: ArrayLike, odds: Any, b: Any, form: Form = "full") -> Any:
    """P(right answer) = 1 / (1 + A + A B^2 r^2 / 2), A = (1 - p0)/p0: near 0 a loss of p0 (1 - p0) B^2 r^2 / 2.

    two_of_four: 0.25 + 0.5 of it.
    """
    p = 1 / (1 + odds * (1 + (b * np.asarray(r, float)) ** 2 / 2))
    return p if form == "full" else 0.25 + 0.5 * p


def fit_alignment(r: Floats, b: Floats, error: Floats | None = None) -> tuple[Floats, Floats]:
    """((a, b0), covariance) by least squares, weighted by 1/error^2, from a straight line through arctanh(b)."""
    start = np.polyfit(r, np.arctanh(np.clip(b, -1 + 1e-6, 1 - 1e-6)), 1)
    found, covariance = curve_fit(alignment_curve, r, b, p0=start, sigma=error, absolute_sigma=error is not None)
    return found, covariance


def fit_helpfulness(r: Floats, p: Floats, form: Form, error: Floats | None = None) -> tuple[Floats, Floats]:
    """((log A, B), covariance) by least squares, from a straight line of 1/p - 1 in r^2; B >= 0."""
    plain = np.clip(p if form == "full" else 2 * (p - 0.25), 1e-3, 1 - 1e-3)
    slope, start = np.polyfit(r**2, 1 / plain - 1, 1)
    odds = max(float(start), 1e-3)
    guess = (math.log(odds), math.sqrt(max(2 * float(slope) / odds, 1e-6)))

    def curve(x: Floats, log_odds: float, b: float) -> Floats:
        return np.asarray(helpfulness_curve(x, np.exp(log_odds), b, form))

    found, covariance = curve_fit(curve, r, p, p0=guess, sigma=error, absolute_sigma=error is not None, maxfev=5000)
    return np.array([found[0], abs(found[1])]), covariance


def extra_term(r: Floats, y: Floats, powers: tuple[int, ...], extra: int) -> dict[str, float]:
    """Coefficients of y on r^powers and the F-test p-value that r^extra adds nothing."""
    small = np.stack([r**k for k in powers], 1)
    full = np.column_stack([small, r**extra])
    weight = np.linalg.lstsq(small, y, rcond=None)[0]
    rss = [float(((y - x @ np.linalg.lstsq(x, y, rcond=None)[0]) ** 2).sum()) for x in (small, full)]
    free = len(y) - full.shape[1]
    p = math.nan if free < 1 or rss[1] <= 0 else float(fisher.sf((rss[0] - rss[1]) * free / rss[1], 1, free))
    return {f"r^{k}": float(w) for k, w in zip(powers, weight, strict=True)} | {f"p_r^{extra}": p, "n": len(y)}


@register(
    "measure",
    "steering_tradeoff",
    source="arXiv:2401.16332 (tanh alignment, quadratic loss of helpfulness); price and interval: ours",
    config=SteeringTradeoff,
    reads="records",
    needs=("coefficient", "alignment", "helpfulness", "?alignment_se", "?helpfulness_se"),
    question="How far can the model be steered before it loses more helpfulness than it gains alignment?",
    better="neither",
    range=(-math.inf, math.inf),
    unit="coefficient",
    not_measured="coefficients outside those tried, and any other behaviour",
)
def steering_tradeoff(data: Records, rng: np.random.Generator, cfg: SteeringTradeoff) -> Reading:
    """Coefficient r* among those tried that maximises b(r) - price * (p(0) - p(r)) of the two fitted curves.

    coefficient: (m,) steering strengths r, both signs and 0 best; alignment: (m,) in -1..1, P(aligned) - P(misaligned);
    helpfulness: (m,) in 0..1, P(right answer); their standard errors where known weight the fits. parts: a, b0, A, B,
    p0; gain and loss at r*; polynomials on the window where |alignment| and helpfulness are far from their ends, with
    tests that alignment needs no r^2 and helpfulness no r. The interval draws the four parameters from the normal
    approximation of their fits. The released notebook draws its curve with B/2.5; B here is the fitted one.
    """
    names = ("coefficient", "alignment", "helpfulness")
    data.rows(*names)
    r, b, p = (data.numbers(name) for name in names)
    ok = np.isfinite(r) & np.isfinite(b) & np.isfinite(p)
    errors = [_errors(data, name, ok) for name in ("alignment_se", "helpfulness_se")]
    r, b, p, lost = r[ok], b[ok], p[ok], int((~ok).sum())
    common: dict[str, Any] = {"level": cfg.level, "unit": "coefficient", "n": len(r), "missing": lost}
    common["why"] = {"a number is missing": lost} if lost else {}
    if len(np.unique(np.abs(r))) < 3:
        return Reading("steering_tradeoff", math.nan, **common, note="needs three strengths of different size")
    if not np.ptp(b) or not np.ptp(p):
        return Reading("steering_tradeoff", math.nan, **common, note="alignment or helpfulness never varies")
    try:
        with warnings.catch_warnings(), np.errstate(over="ignore"):
            warnings.simplefilter("ignore", OptimizeWarning)  # an unknown covariance is told in the note
            up, up_cov = fit_alignment(r, b, errors[0])
            down, down_cov = fit_helpfulness(r, p, cfg.form, errors[1])
    except RuntimeError:
        return Reading("steering_tradeoff", math.nan, **common, note="the curves could not be fitted")
    grid = np.linspace(r.min(), r.max(), 2001)
    value = float(_best(grid, up[None], down[None], cfg)[0])
    at, zero = (helpfulness_curve(x, math.exp(down[0]), down[1], cfg.form) for x in (value, 0.0))
    window = (np.abs(b) < cfg.linear_alignment) & (p > cfg.least_helpfulness)
    parts: dict[str, Any] = {
        "a": up[0],
        "b0": up[1],
        "A": math.exp(down[0]),
        "B": down[1],
        "p0": zero,
        "slope_at_0": up[0] * (1 - math.tanh(up[1]) ** 2),
        "gain": alignment_curve(value, *up) - math.tanh(up[1]),
        "loss": zero - at,
        "alignment_polynomial": extra_term(r[window], b[window], (0, 1), 2) if window.sum() > 3 else {},
        "helpfulness_polynomial": extra_term(r[window], p[window], (0, 2), 1) if window.sum() > 3 else {},
    }
    notes = ["r* is the end of the strengths tried"] if value in (grid[0], grid[-1]) else []
    if not (np.isfinite(up_cov).all() and np.isfinite(down_cov).all()):
        notes.append("no interval: the fits do not determine their parameters")
        return Reading("steering_tradeoff", value, **common, note="; ".join(notes), parts=parts)
    drawn = [rng.multivariate_normal(m, c, cfg.resamples) for m, c in ((up, up_cov), (down, down_cov))]
    best = np.concatenate([_best(grid, u, d, cfg) for u, d in zip(*(_split(x) for x in drawn), strict=True)])
    low, high = middle(best, cfg.level)
    note, method = "; ".join(notes), "draws from the fits' normal approximation"
    return Reading("steering_tradeoff", value, low, high, method=method, note=note, parts=parts, **common)


def _best(grid: Floats, up: Floats, down: Floats, cfg: SteeringTradeoff) -> Floats:
    """(B,) grid point with the most alignment net of helpfulness lost, for rows of parameters (B, 2)."""
    gain = alignment_curve(grid, up[:, :1], up[:, 1:])
    return np.asarray(
        grid[(gain + cfg.price * helpfulness_curve(grid, np.exp(down[:, :1]), down[:, 1:], cfg.form)).argmax(1)]
    )


def _split(rows: Floats) -> list[Floats]:
    return np.array_split(rows, max(1, len(rows) // 500))


def _errors(data: Records, name: str, ok: np.ndarray) -> Floats | None:
    """Standard errors, or None where any is unknown or 0: then all rows weigh the same."""
    if name not in data.columns:
        return None
    errors = data.numbers(name)[ok]
    return errors if len(errors) and (errors > 0).all() else None
