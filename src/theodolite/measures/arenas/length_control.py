"""How often would the model win if its answers were as long as the baseline's? AlpacaEval's GLM, batched over resamples."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.special import expit

from theodolite.errors import CheckFailed, DataError, UsageError
from theodolite.measures.arenas.matches import Ints
from theodolite.measures.arenas.win_rate import Preferences, read_preferences
from theodolite.measures.intervals import percentile, weights
from theodolite.measures.over_units import reading, undefined
from theodolite.measures.records import Floats, Records, Resampled
from theodolite.registry import register
from theodolite.types import Reading

GAMED_WEIGHT = 0.1
"""weight of a row of a gamed baseline: AlpacaEval's 0.2, halved because there are two of them"""
STRENGTHS = np.logspace(-4, 4, 10)
"""inverse penalties tried in cross-validation, scikit-learn's `Cs=10`"""


def l1_logistic(x: Floats, y: Floats, weight: Floats, c: float) -> Floats:
    """(B, p) coefficients that minimise `|beta|_1 + c sum_i w_i (-y_i log q_i - (1 - y_i) log(1 - q_i))`,
    q = sigmoid(x beta), without intercept: liblinear's L1 logistic regression for soft labels.

    x: (n, p). y: (n,) in [0, 1]. weight: (B, n), one row a resample. Proximal Newton; the inner problem in p <= 3
    unknowns by coordinate descent; a step that moves the scores by up to d is shortened by log(1+d)/d, which is
    guaranteed to gain (Bach 2010).
    """
    features = x.shape[1]
    beta, products = np.zeros((len(weight), features)), (x[:, :, None] * x[:, None, :]).reshape(len(x), -1)
    left = np.arange(len(weight))
    for _ in range(500):
        if not len(left):
            return beta
        here, w = beta[left], c * weight[left]
        q = expit(here @ x.T)
        slope = (w * (q - y)) @ x
        curve = ((w * q * (1 - q)) @ products).reshape(-1, features, features)
        goal = _l1_quadratic(slope, curve, here)
        step = goal - here
        reach = np.abs(step @ x.T).max(-1)
        beta[left] = here + step * np.where(reach > 0, np.log1p(reach) / np.maximum(reach, 1e-300), 1)[:, None]
        gain = np.abs(here).sum(-1) - np.abs(goal).sum(-1) - (slope * step).sum(-1)
        left = left[(reach > 1e-8) & (gain > 1e-16 * w.sum(-1))]
    raise CheckFailed("the length-controlled fit did not converge in 500 steps; are the lengths and weights finite?")


def _l1_quadratic(slope: Floats, curve: Floats, here: Floats) -> Floats:
    """(B, p) minimiser of `slope (z - here) + (z - here) curve (z - here) / 2 + |z|_1`, by coordinate descent."""
    z = here.copy()
    for _ in range(200):
        before = z.copy()
        for j in range(z.shape[1]):
            bend = np.maximum(curve[:, j, j], 1e-12)
            pull = bend * z[:, j] - slope[:, j] - np.einsum("bp,bp->b", curve[:, j], z - here)
            z[:, j] = np.sign(pull) * np.maximum(np.abs(pull) - 1, 0) / bend
        if np.abs(z - before).max() < 1e-12 * (1 + np.abs(z).max()):
            break
    return z


def cross_validated(x: Floats, y: Floats, weight: Floats, group: Ints, folds: int = 5) -> float:
    """The inverse penalty with the lowest held-out log-loss; rows of one group (a prompt) share a fold.

    Fold of group g: g modulo `folds`, so group numbers must not depend on the order of rows. As in AlpacaEval the loss
    of a fold is its mean of weight times log-loss, and the folds count alike.
    """
    fold = group % folds
    train = (fold[None, :] != np.arange(folds)[:, None]) * weight
    losses = []
    for c in STRENGTHS:
        score = l1_logistic(x, y, train, float(c)) @ x.T
        loss = weight * (y * np.logaddexp(0, -score) + (1 - y) * np.logaddexp(0, score))
        losses.append(np.mean([loss[k, fold == k].mean() for k in range(folds)]))
    return float(STRENGTHS[int(np.argmin(losses))])


def deviates(plain: float, controlled: float) -> bool:
    """AlpacaEval's warning: the two shares differ by more than 0.1 and by a quarter of the way to 0 or 1."""
    low, high = min(plain - plain / 4, plain - 0.1), max(plain + (1 - plain) / 4, plain + 0.1)
    return controlled < low or controlled > high


class LengthControl(Resampled):
    convention: Literal["plain", "alpaca_eval"] = "plain"
    """'alpaca_eval' needs the columns difficulty and gamed, and adds the rows of the gamed baselines to the fit"""
    c: float | None = Field(None, gt=0)
    """inverse L1 penalty; by default chosen by 5-fold cross-validation out of 10 values from 1e-4 to 1e4"""


@register(
    "measure",
    "length_controlled_win_rate",
    source="arXiv:2404.04475 section 3 (AlpacaEval 2.0); the form without difficulties is ours",
    config=LengthControl,
    reads="records",
    needs=(
        "?preference", "?outcome", "?length_1", "?length_2", "?output_1", "?output_2",
        "?difficulty", "?gamed", "?std_delta_len", "?prompt",
    ),
    question="What would the win rate be if the model's answers were as long as the baseline's?",
    better="higher",
    range=(0.0, 1.0),
    unit="share",
    not_measured="other style effects (lists, headings); an effect of length that is not a tanh of the difference",
)  # fmt: skip
def length_controlled_win_rate(data: Records, rng: np.random.Generator, cfg: LengthControl) -> Reading:
    """Mean win probability predicted by a logistic model with its length term set to 0.

        logit P(model preferred) = theta + phi tanh((len_1 - len_2) / sd(len_1 - len_2)) + psi difficulty

    1 is the baseline, 2 the model, lengths in characters, sd with n - 1; L1 penalty, no intercept beside theta.
    Columns: preference or outcome; length_1 and length_2, or output_1 and output_2 (texts); ?prompt; ?difficulty (of
    the instruction, estimated before); ?gamed (names the gamed baseline, such as 'concise', blank on the model's own
    rows); ?std_delta_len (the standardised difference where it was computed before).
    parts['form'] says which model was fitted: 'minimal' (theta + phi) where there is no difficulty, so that
    it is never mistaken for AlpacaEval's number; 'difficulty'; 'alpaca_eval' (with the gamed rows, weight 0.1 each,
    theta switched off). With fewer than 10 prompts the penalty is not chosen but c = 1. In the minimal form every prediction is sigmoid(theta).
    Interval: percentile bootstrap over prompts, refitted with the penalty fixed. parts['standard_error'] is AlpacaEval's:
    sd of the predictions / sqrt n, blind to the error of the fit; without difficulties it would be 0 and is left out.
    Differs from AlpacaEval: rows without a preference are not predicted; a row goes to a fold by the order of the
    prompts' names (else of the data's values), not by its place in the file, so the order of rows cannot matter; gamed
    rows are standardised within their baseline unless std_delta_len is given (unverified against their file).
    """
    p, delta, gamed, difficulty = _features(data, cfg)
    own = ~gamed
    n = len(np.unique(p.unit[own]))
    if not n:
        note = "no usable preference with both lengths"
        return undefined("length_controlled_win_rate", note, cfg, "higher", p.why, unit="share")
    columns = {"theta": own.astype(float), "phi": np.tanh(delta), "psi": difficulty}
    used = {k: v for k, v in columns.items() if v is not None and (k == "theta" or np.any(v != 0))}
    x = np.stack(list(used.values()), axis=1)
    weight = np.where(own, 1.0, GAMED_WEIGHT)
    group = p.unit if p.by_prompt else np.arange(len(p.y))
    c = cfg.c or (cross_validated(x, p.y, weight, group) if len(np.unique(group)) >= 10 else 1.0)
    level = np.stack([v if k != "phi" else np.zeros(len(v)) for k, v in used.items()], axis=1)[own]
    beta = l1_logistic(x, p.y, weight[None], c)[0]
    predicted = expit(level @ beta)
    value, plain = float(predicted.mean()), float(p.y[own].mean())
    method = "bootstrap over prompts, penalty fixed" if n > 1 else ""
    span = percentile(_bootstrap(p, x, level, weight, own, c, rng, cfg.resamples), cfg, method)
    form = "alpaca_eval" if cfg.convention == "alpaca_eval" else "minimal" if difficulty is None else "difficulty"
    parts: dict[str, Any] = {
        "form": form, "win_rate": plain, "inverse_penalty": c, **dict(zip(used, beta.tolist())),
        "rows": int(own.sum()), "gamed_rows": int(gamed.sum()),
    }  # fmt: skip
    if "psi" in used and len(predicted) > 1:
        parts["standard_error"] = float(predicted.std(ddof=1) / math.sqrt(len(predicted)))
    notes = [
        "the answers never differ in length: no length term" if "phi" not in used else "",
        "fewer than 30 prompts: the length effect is a guess" if n < 30 else "",
        f"far from the plain win rate {plain:.3f}: check the fit" if deviates(plain, value) else "",
    ]
    note = "; ".join(filter(None, notes))
    return reading(
        "length_controlled_win_rate", value, span, n, better="higher", why=p.why, unit="share", note=note, parts=parts
    )


def _features(data: Records, cfg: LengthControl) -> tuple[Preferences, Floats, NDArray[np.bool_], Floats | None]:
    """Preferences of the usable rows in an order of their own, standardised differences, gamed rows, difficulties."""
    if cfg.convention == "alpaca_eval" and not ("difficulty" in data.columns and "gamed" in data.columns):
        raise UsageError(
            "convention 'alpaca_eval' needs the columns difficulty and gamed; convention 'plain' does not."
        )
    difference = _difference(data)
    given = data.numbers("std_delta_len") if "std_delta_len" in data.columns else np.full(len(difference), math.nan)
    names = np.array(
        [g or "" for g in data.words("gamed")] if "gamed" in data.columns else [""] * len(difference), dtype=str
    )
    data.rows(*(c for c in ("preference", "outcome", "std_delta_len", "gamed", "difficulty") if c in data.columns))
    more: dict[str, Any] = {"no length": np.isnan(difference) & np.isnan(given)}
    if cfg.convention == "plain":
        more = {"row of a gamed baseline (convention alpaca_eval uses it)": names != ""} | more
    difficulty = data.numbers("difficulty") if "difficulty" in data.columns else None
    if difficulty is not None:
        more["no difficulty"] = np.isnan(difficulty)
    p = read_preferences(data, more)
    difference, given, names = difference[p.row], given[p.row], names[p.row]
    delta = given.copy()
    for name in set(names.tolist()):
        rows = (names == name) & np.isnan(given)
        sd = float(np.std(difference[rows], ddof=1)) if rows.sum() > 1 else 0.0
        delta[rows] = difference[rows] / sd if sd > 0 else 0.0
    hard = None if difficulty is None else difficulty[p.row]
    keys = [p.y, delta, np.zeros(len(p.y)) if hard is None else hard, names]
    order = np.lexsort([*keys, p.unit] if p.by_prompt else keys)
    sorted_ = Preferences(p.y[order], p.row[order], p.unit[order], p.by_prompt, p.why)
    return sorted_, delta[order], names[order] != "", None if hard is None else hard[order]


def _difference(data: Records) -> Floats:
    """(n,) characters of the baseline's answer minus those of the model's; NaN where one is missing."""
    if "length_1" in data.columns and "length_2" in data.columns:
        data.rows("length_1", "length_2", "preference" if "preference" in data.columns else "outcome")
        return np.asarray(data.numbers("length_1") - data.numbers("length_2"))
    if "output_1" in data.columns and "output_2" in data.columns:
        data.rows("output_1", "output_2", "preference" if "preference" in data.columns else "outcome")
        one, two = (
            np.array([float(len(t)) if isinstance(t, str) else math.nan for t in data[c]])
            for c in ("output_1", "output_2")
        )
        return np.asarray(one - two)
    raise DataError(
        "length control needs the lengths of both answers: length_1 (baseline) and length_2 (model) in characters, or "
        f"their texts, output_1 and output_2. The data has: {', '.join(map(str, data))}."
    )


def _bootstrap(
    p: Preferences, x: Floats, level: Floats, weight: Floats, own: NDArray[np.bool_],
    c: float, rng: np.random.Generator, resamples: int,
) -> Floats:  # fmt: skip
    """(resamples,) controlled win rates with the prompts drawn anew; gamed rows follow their prompt where they have one."""
    names, unit = np.unique(p.unit[own], return_inverse=True)
    times_of = np.full(len(p.y), -1)
    times_of[own] = unit
    if p.by_prompt:
        place = np.searchsorted(names, p.unit)
        known = (place < len(names)) & (names[np.minimum(place, len(names) - 1)] == p.unit)
        times_of = np.where(known, place, -1)
    found = [np.empty(0)]
    for drawn in weights(len(names), resamples, rng, 2 * len(p.y)):
        times = np.where(times_of >= 0, drawn[:, np.maximum(times_of, 0)], 1)
        beta = l1_logistic(x, p.y, weight * times, c)
        mine = times[:, own]
        found.append((mine * expit(beta @ level.T)).sum(1) / mine.sum(1))
    return np.concatenate(found)
