"""How often is the model's answer preferred to the baseline's? Plain win rate, draws half, presentation order checked."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from theodolite import stats
from theodolite.errors import DataError
from theodolite.measures.arenas.matches import Ints, verdicts
from theodolite.measures.over_units import reading, undefined
from theodolite.measures.records import Floats, Records, Resampled, bare, sieve
from theodolite.registry import register
from theodolite.types import Reading


@dataclass(frozen=True, slots=True)
class Preferences:
    """y: (n,) in [0, 1], 1 where the model is preferred, 0.5 for a draw. row: (n,) numbers of the rows they come from.

    unit: (n,) number of the prompt, or of the row where none is given. why: rows left out, by reason.
    """

    y: Floats
    row: Ints
    unit: Ints
    by_prompt: bool
    why: dict[str, int] = field(default_factory=dict)


def read_preferences(data: Records, more: dict[str, Any] | None = None) -> Preferences:
    """From `preference` in [1, 2] (AlpacaEval: 2 is the model, 1 the baseline; 1.5 and its old form 0 are draws) or
    `outcome` (1, 0, 0.5, or words as in bradley_terry). `more`: further faults, reason -> (rows,) mask."""
    if "preference" in data.columns and "outcome" in data.columns:
        raise DataError("the data has both 'preference' (1 to 2) and 'outcome' (0 to 1). Keep the one that is meant.")
    column = "preference" if "preference" in data.columns else "outcome"
    data.rows(column, *(c for c in ("prompt",) if c in data.columns))
    if column == "preference":
        raw = data.numbers("preference")
        y, bad = np.where(raw == 0, 0.5, raw - 1), "preference outside [1, 2]"
    else:
        y, bad = verdicts(data.words("outcome")), "outcome not understood"
    faults = {"no preference": np.isnan(y), bad: (y < 0) | (y > 1)}
    prompt = data.words("prompt") if "prompt" in data.columns else None
    if prompt is not None:
        faults["no prompt"] = bare(prompt)
    ok, why = sieve(*((more or {}) | faults).items())
    row = np.flatnonzero(ok)
    unit = np.arange(len(row))
    if prompt is not None:
        names = np.array([str(prompt[i]) for i in row], dtype=str)
        unit = np.unique(names, return_inverse=True)[1].astype(np.int64)
    return Preferences(y[row], row, unit, prompt is not None, why)


def swap_consistency(y: Floats, unit: Ints, order: list[str], level: float = 0.95) -> dict[str, Any]:
    """What the order of presentation does. order: (n,) its name in each row, such as 'model first'.

    by_order: win rate in each order. consistency: share of the prompts judged in both orders whose verdict (win, draw
    or loss of the mean) is the same in both; chance alone gives less than 1 also to an unbiased judge.
    """
    names = sorted(set(order))
    place = np.array([names.index(o) for o in order])
    rates = {name: float(y[place == i].mean()) for i, name in enumerate(names)}
    if len(names) != 2:
        return {"by_order": rates, "consistency": math.nan, "both_orders": 0}
    units = int(unit.max()) + 1
    n = np.array([np.bincount(unit[place == i], minlength=units) for i in (0, 1)])
    total = np.array([np.bincount(unit[place == i], y[place == i] - 0.5, minlength=units) for i in (0, 1)])
    both = (n > 0).all(0)
    same = np.sign(np.round(total[0], 12)) == np.sign(np.round(total[1], 12))
    count, kept = int(both.sum()), int((same & both).sum())
    span = stats.wilson(kept, count, level)
    share = kept / count if count else math.nan
    return {"by_order": rates, "consistency": share, "low": span.low, "high": span.high, "both_orders": count}


@register(
    "measure",
    "win_rate",
    source="AlpacaEval (arXiv:2404.04475 section 2); Wilson 1927 for yes-no verdicts",
    config=Resampled,
    reads="records",
    needs=("?preference", "?outcome", "?prompt", "?order"),
    question="In what share of comparisons is the model's answer preferred to the baseline's?",
    better="higher",
    range=(0.0, 1.0),
    unit="share",
    not_measured="whether the judge prefers longer answers (see length_controlled_win_rate) or the first one shown",
)
def win_rate(data: Records, rng: np.random.Generator, cfg: Resampled) -> Reading:
    """Mean preference for the model, draws half: a share (AlpacaEval prints 100 times this).

    Columns: preference in [1, 2] or outcome in [0, 1] (see read_preferences), ?prompt (rows of one prompt are averaged
    first, so each prompt counts once), ?order (the presentation order; gives parts['order']).
    Interval: Wilson where each prompt has one yes-no verdict or where all verdicts agree (with draws then worth half a
    success), else the percentile bootstrap over prompts. parts: standard_error (sd / sqrt n with n - 1, AlpacaEval's),
    discrete_win_rate (each verdict rounded to win, draw or loss first), wins, losses, draws.
    AlpacaEval averages rows; with equally many rows a prompt this is the same number.
    """
    p = read_preferences(data)
    if not len(p.y):
        return undefined("win_rate", "no usable preference", cfg, "higher", p.why, unit="share")
    means = np.bincount(p.unit, p.y) / np.bincount(p.unit)
    value, n = float(means.mean()), len(means)
    plain = bool(np.isin(means, (0.0, 1.0)).all()) or bool(np.ptp(means) == 0)
    span = (
        stats.wilson(value * n, n, cfg.level) if plain else stats.bootstrap_mean(means, rng, cfg.level, cfg.resamples)
    )
    discrete = np.where(p.y > 0.5, 1.0, np.where(p.y < 0.5, 0.0, 0.5))
    parts: dict[str, Any] = {
        "standard_error": float(means.std(ddof=1) / math.sqrt(n)) if n > 1 else math.nan,
        "discrete_win_rate": float((np.bincount(p.unit, discrete) / np.bincount(p.unit)).mean()),
        "wins": int((p.y > 0.5).sum()), "losses": int((p.y < 0.5).sum()), "draws": int((p.y == 0.5).sum()),
        "rows": len(p.y),
    }  # fmt: skip
    if "order" in data.columns:
        data.rows("order", "preference" if "preference" in data.columns else "outcome")
        shown = data.words("order")
        parts["order"] = swap_consistency(p.y, p.unit, [str(shown[i]) for i in p.row], cfg.level)
    return reading("win_rate", value, span, n, better="higher", why=p.why, unit="share", parts=parts)
