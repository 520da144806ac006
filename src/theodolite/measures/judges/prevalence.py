"""What is the true rate, when a classifier that errs did the counting?"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from theodolite.errors import DataError
from theodolite.measures.judges.judging import yes_no
from theodolite.measures.over_units import reading, undefined
from theodolite.measures.records import Records, Resampled
from theodolite.registry import register
from theodolite.stats import Floats, Interval
from theodolite.types import Reading


class Counts(NamedTuple):
    """Flagged and all items of the target set; of the human-labelled ones: positives found and all, negatives passed and all."""

    flagged: int
    n: int
    found: int
    positives: int
    passed: int
    negatives: int


@register(
    "measure",
    "corrected_rate",
    source="Rogan and Gladen 1978 (American Journal of Epidemiology 107:71-76); Jeffreys draws: Brown, Cai and DasGupta 2001",
    question="How often does it truly happen, given that the classifier that counted it makes mistakes?",
    better="neither",
    range=(0.0, 1.0),
    reads="records",
    needs=("flag", "judge", "human"),
    unit="share",
    config=Resampled,
    not_measured="a change of the classifier's error rates between the labelled sample and the target set",
)
def corrected_rate(data: Records, rng: np.random.Generator, cfg: Resampled) -> Reading:
    """Rate of positives corrected for the classifier's sensitivity and specificity, with both uncertainties.

        value = (p + TNR - 1)/(TPR + TNR - 1), clipped to [0, 1],   p = mean flag

    flag: the classifier's 0/1 on the target set. judge, human: the same classifier and people on a labelled sample,
    row by row, of any length; blanks at the end of a column are padding. Interval: the three rates drawn from their
    Jeffreys posteriors, Beta(k + 1/2, n - k + 1/2), which unlike a bootstrap knows that 20 right out of 20 is not
    certainty; a draw with TPR + TNR <= 1 says nothing and counts as 0 below and as 1 above. NaN where
    TPR + TNR <= 1, or where the labelled sample lacks positives or negatives.
    """
    flag, judge, human = (yes_no(data, name) for name in ("flag", "judge", "human"))
    flag = flag[: end_of(~np.isnan(flag))]
    if len(judge) != len(human):
        raise DataError(f"judge and human must be equally long, got {len(judge)} and {len(human)}.")
    labelled = slice(end_of(~np.isnan(judge) | ~np.isnan(human)))
    judge, human = judge[labelled], human[labelled]
    lost = {
        "no flag": int(np.isnan(flag).sum()),
        "no judge": int((np.isnan(judge)).sum()),
        "no human": int((np.isnan(human) & ~np.isnan(judge)).sum()),
    }
    why = {reason: k for reason, k in lost.items() if k}
    flag, both = flag[~np.isnan(flag)], ~np.isnan(judge + human)
    c = counted(flag, judge[both], human[both])
    if note := unusable(c):
        return undefined("corrected_rate", note, cfg, "neither", why, n=c.n, unit="share")
    raw, tpr, tnr = corrected(c)
    value = float(np.clip(raw, 0, 1))
    draws, lost_share = corrected_draws(c, rng, cfg.resamples)
    span = draws_interval(draws, cfg.level)
    parts = {
        "observed": c.flagged / c.n,
        "tpr": tpr,
        "tnr": tnr,
        "unclipped": raw,
        "labelled": c.positives + c.negatives,
        "draws_that_say_nothing": lost_share,
    }
    note = "the correction left [0, 1] and was clipped" if raw != value else ""
    return reading("corrected_rate", value, span, c.n, better="neither", why=why, unit="share", note=note, parts=parts)


def end_of(there: np.ndarray) -> int:
    """Length up to the last value that is there."""
    return int(np.flatnonzero(there)[-1]) + 1 if there.any() else 0


def counted(flag: Floats, judge: Floats, human: Floats) -> Counts:
    yes, no = judge[human == 1], judge[human == 0]
    return Counts(int(flag.sum()), len(flag), int(yes.sum()), len(yes), int((1 - no).sum()), len(no))


def unusable(c: Counts) -> str:
    if c.n == 0:
        return "the target set is empty"
    if not c.positives or not c.negatives:
        return "the labelled sample needs both positives and negatives"
    if c.found / c.positives + c.passed / c.negatives <= 1:
        return "the classifier is no better than chance on the labelled sample (TPR + TNR <= 1)"
    return ""


def corrected(c: Counts) -> tuple[float, float, float]:
    """The corrected rate before clipping, TPR and TNR; `corrected(Counts(30, 100, 8, 10, 9, 10))[0]` is 2/7."""
    tpr, tnr = c.found / c.positives, c.passed / c.negatives
    return (c.flagged / c.n + tnr - 1) / (tpr + tnr - 1), tpr, tnr


def corrected_draws(c: Counts, rng: np.random.Generator, resamples: int) -> tuple[Floats, float]:
    """(B,) corrected rates in [0, 1], NaN where TPR + TNR <= 1, and the share of those."""
    p, tpr, tnr = (
        rng.beta(k + 0.5, n - k + 0.5, size=resamples)
        for k, n in ((c.flagged, c.n), (c.found, c.positives), (c.passed, c.negatives))
    )
    power = tpr + tnr - 1
    draws = np.where(power > 0, np.clip((p + tnr - 1) / np.where(power > 0, power, 1.0), 0, 1), math.nan)
    return draws, float(np.mean(power <= 0))


def draws_interval(draws: Floats, level: float) -> Interval:
    """Percentiles, draws that say nothing counting as 0 for the lower and as 1 for the upper bound."""
    low = np.quantile(np.where(np.isnan(draws), 0.0, draws), (1 - level) / 2)
    high = np.quantile(np.where(np.isnan(draws), 1.0, draws), (1 + level) / 2)
    return Interval(float(low), float(high), level, "Jeffreys draws of the three rates")
