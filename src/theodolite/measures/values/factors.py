"""Which properties of a text drive a preference, and are they the properties that drive people's? (PROFILE)"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from scipy import stats as scipy_stats

from theodolite.errors import DataError, UsageError, did_you_mean
from theodolite.measures.intervals import percentile, weights
from theodolite.measures.over_units import reading, row, undefined
from theodolite.measures.records import Records, Resampled, sieve
from theodolite.registry import register
from theodolite.stats import Floats, Interval
from theodolite.types import Reading

SOURCE = "arXiv:2410.06965 (PROFILE: factor score tau(f)); tie handling unverified"
Variant = Literal["tau14", "all_ties", "tau_b"]


class Factors(Resampled):
    factors: tuple[str, ...] = ()
    """names of the columns of `manifestations`, in order; without them 1, 2, ..."""
    variant: Variant = "tau14"
    """what ties do: 'tau14' drops preference ties and counts factor ties against, 'all_ties' counts both against,
    'tau_b' divides by the geometric mean of the untied pairs of each side"""


class OneFactor(Factors):
    factor: str | None = None
    """the factor whose score is the value; without it, the one of largest absolute score"""


class Agreement(Factors):
    kind: Literal["kendall", "spearman", "pearson"] = "kendall"
    """coefficient between the two vectors of factor scores"""


def factor_scores(s: Floats, m: Floats, variant: Variant = "tau14", w: Floats | None = None) -> Floats:
    """Score of each factor from pairs of texts; (F,), or (B, F) under weights w (B, N) of the pairs.

        tau14:    sum(m s) / #(s != 0)                  (C - D) / (C + D + factor ties)
        all_ties: sum(m s) / N                          (C - D) / (C + D + all ties)
        tau_b:    sum(m s) / sqrt(#(s != 0) #(m != 0))

    s: (N,) preference, +1 the first text, -1 the second, 0 a tie. m: (N, F), +1 where the factor is stronger in the
    first text, -1 in the second, 0 neither; NaN pairs are left out of their factor. In [-1, 1]: 1 means the preferred
    text always has more of the factor. NaN where nothing is comparable or the factor never shows.
    """
    w = np.ones((1, len(s))) if w is None else w
    known = ~np.isnan(m)
    m = np.where(known, m, 0.0)
    top, shows = w @ (m * s[:, None]), w @ np.abs(m)
    decided = w @ (known * (s != 0)[:, None]).astype(float)
    bottom = {"tau14": decided, "all_ties": w @ known.astype(float), "tau_b": np.sqrt(decided * shows)}[variant]
    found = np.where((bottom > 0) & (shows > 0), top / np.where(bottom > 0, bottom, 1.0), np.nan)
    return found[0] if len(w) == 1 else found


def agreement(a: Floats, b: Floats, kind: Literal["kendall", "spearman", "pearson"]) -> Floats:
    """(B,) coefficients between rows of a and b (B, F); NaN entries and rows with fewer than 3 common factors: NaN."""
    both = ~(np.isnan(a) | np.isnan(b))
    if kind == "kendall":
        if len(a) > 1 and a.size * a.shape[1] > 4_000_000:  # (B, F, F) signs, in halves that fit
            half = len(a) // 2
            return np.concatenate([agreement(a[:half], b[:half], kind), agreement(a[half:], b[half:], kind)])
        signs = [np.sign(v[:, :, None] - v[:, None, :]) for v in (np.where(both, v, 0.0) for v in (a, b))]
        joint = both[:, :, None] & both[:, None, :]
        x, y = (np.where(joint, v, 0.0).reshape(len(a), -1) for v in signs)
    else:
        if kind == "spearman":
            a, b = (scipy_stats.rankdata(np.where(both, v, np.nan), axis=1, nan_policy="omit") for v in (a, b))
        n = np.maximum(both.sum(1, keepdims=True), 1)
        x, y = (np.where(both, v, 0.0) for v in (a, b))
        x, y = (np.where(both, v - v.sum(1, keepdims=True) / n, 0.0) for v in (x, y))
    bottom = np.sqrt((x * x).sum(1) * (y * y).sum(1))
    return np.where((bottom > 1e-12) & (both.sum(1) >= 3), (x * y).sum(1) / np.where(bottom > 0, bottom, 1), np.nan)


def _read(data: Records, cfg: Factors, *others: str) -> tuple[dict[str, Floats], Floats, list[str], dict[str, int]]:
    """preferences by column (k,), manifestations (k, F), factor names, what was left out."""
    names = ("preference", *others)
    data.rows(*names, "manifestations")
    s = {c: data.numbers(c) for c in names}
    for c, v in s.items():
        _signs(v, c)
    m = data.array("manifestations") if len(s["preference"]) else np.zeros((0, max(1, len(cfg.factors))))
    if m.ndim != 2:
        raise DataError(f"'manifestations' must be a matrix, pairs x factors, got shape {m.shape}.")
    _signs(m, "manifestations")
    if cfg.factors and len(cfg.factors) != m.shape[1]:
        raise UsageError(f"{len(cfg.factors)} names in `factors`, but 'manifestations' has {m.shape[1]} columns.")
    kept, why = sieve(*[(f"no {c}", np.isnan(v)) for c, v in s.items()], ("no manifestation", np.isnan(m).all(1)))
    factors = list(cfg.factors) or [str(i + 1) for i in range(m.shape[1])]
    return {c: v[kept] for c, v in s.items()}, m[kept], factors, why


def _signs(values: Floats, name: str) -> None:
    odd = values[~np.isnan(values) & ~np.isin(values, (-1, 0, 1))]
    if len(odd):
        raise DataError(f"'{name}' must hold -1, 0 or 1 (first text more, a tie is 0), got {odd.flat[0]:g}.")


def _score_rows(s: Floats, m: Floats, names: list[str], rng: np.random.Generator, cfg: Factors) -> list[dict[str, Any]]:
    scores = factor_scores(s, m, cfg.variant)
    blocks = weights(len(s), cfg.resamples, rng)
    draws = np.concatenate([np.atleast_2d(factor_scores(s, m, cfg.variant, w)) for w in blocks] or [scores[None]])
    shows = (np.nan_to_num(m) != 0).sum(0)
    return [
        row(float(scores[f]), percentile(draws[:, f], cfg, "bootstrap over pairs"), int(shows[f]), factor=name)
        for f, name in enumerate(names)
    ]


@register(
    "measure",
    "factor_score",
    source=SOURCE,
    config=OneFactor,
    reads="records",
    needs=("preference", "manifestations"),
    question="How strongly does a property of the text go with being preferred?",
    better="neither",
    range=(-1.0, 1.0),
    unit="tau",
    not_measured="causes: properties that go together share a score; properties nobody listed",
)
def factor_score(data: Records, rng: np.random.Generator, cfg: OneFactor) -> Reading:
    """tau(f) of one factor over pairs of texts; see `factor_scores` for the formula and its ties.

    Columns preference (-1, 0, 1) and manifestations (lists of F values -1, 0, 1, or a matrix), both seen from the
    first text of a pair. All factors with bootstrap intervals over pairs stand in `parts["by_factor"]`.
    """
    s, m, names, why = _read(data, cfg)
    if not len(m):
        return undefined("factor_score", "there are no pairs", cfg, "neither", why, unit="tau")
    if cfg.factor is not None and cfg.factor not in names:
        raise UsageError(f"there is no factor '{cfg.factor}'.{did_you_mean(cfg.factor, names)} {', '.join(names)}.")
    lines = _score_rows(s["preference"], m, names, rng, cfg)
    shown = [line for line in lines if not math.isnan(line["value"])]
    mine = [line for line in shown if cfg.factor in (None, line["factor"])]
    parts = {"by_factor": lines}
    if not mine:
        note = "the factor never shows, or every preference is a tie"
        return undefined("factor_score", note, cfg, "neither", why, unit="tau", parts=parts)
    best = max(mine, key=lambda line: abs(line["value"]))
    value, note = best["value"], f"factor {best['factor']}"
    span = Interval(best["low"], best["high"], cfg.level, "bootstrap over pairs")
    return reading(
        "factor_score", value, span, len(m), better="neither", why=why, unit="tau", parts=parts, note=note
    )  # fmt: skip


@register(
    "measure",
    "factor_agreement",
    source=SOURCE,
    config=Agreement,
    reads="records",
    needs=("preference", "human", "manifestations"),
    question="Do the same properties of a text drive the model's preferences and people's?",
    better="higher",
    range=(-1.0, 1.0),
    unit="",
    not_measured="agreement pair by pair; how strong the drives are (only their order, with kendall and spearman)",
    taxonomy=("trust:preference-bias",),
)
def factor_agreement(data: Records, rng: np.random.Generator, cfg: Agreement) -> Reading:
    """Correlation over factors between the model's and people's factor scores, on the same pairs of texts.

    Columns preference (model) and human (-1, 0, 1), manifestations as in `factor_score`. Kendall's tau_b by default;
    all three coefficients, the share of factors of one sign and the largest differences in rank are in `parts`.
    Factors that never show are left out; fewer than 3 are undefined. Bootstrap over pairs; the p-value is that of a
    permutation of factors, `resamples` of them with the +1 correction: it asks whether the order is chance.
    """
    s, m, names, why = _read(data, cfg, "human")
    if not len(m):
        return undefined("factor_agreement", "there are no pairs", cfg, "higher", why)
    ours, theirs = (factor_scores(s[c], m, cfg.variant) for c in ("preference", "human"))
    kinds = {k: float(agreement(ours[None], theirs[None], k)[0]) for k in ("kendall", "spearman", "pearson")}
    both = ~(np.isnan(ours) | np.isnan(theirs))
    parts = {
        "scores": [{"factor": n, "model": float(a), "human": float(b)} for n, a, b in zip(names, ours, theirs)],
        **kinds,
        "same_sign": float((np.sign(ours[both]) == np.sign(theirs[both])).mean()) if both.any() else math.nan,
        "rank_gaps": _rank_gaps(ours[both], theirs[both], [n for n, b in zip(names, both) if b]),
    }
    if math.isnan(kinds[cfg.kind]):
        note = f"needs 3 factors that show and differ in score; there are {int(both.sum())}"
        return undefined("factor_agreement", note, cfg, "higher", why, parts=parts)
    draws = [
        agreement(
            np.atleast_2d(factor_scores(s["preference"], m, cfg.variant, w)),
            np.atleast_2d(factor_scores(s["human"], m, cfg.variant, w)),
            cfg.kind,
        )
        for w in weights(len(m), cfg.resamples, rng)
    ]
    span = percentile(np.concatenate(draws) if draws else [], cfg, "bootstrap over pairs")
    p = _permutation(ours[both], theirs[both], cfg, rng)
    return reading(
        "factor_agreement", kinds[cfg.kind], span, len(m), better="higher", why=why, parts=parts, p_value=p
    )  # fmt: skip


def _rank_gaps(a: Floats, b: Floats, names: list[str]) -> list[dict[str, Any]]:
    """Factors by how much higher the model ranks them than people, largest gap first (rank 1 is the highest score)."""
    gaps = scipy_stats.rankdata(-b) - scipy_stats.rankdata(-a)
    order = sorted(range(len(names)), key=lambda i: (-abs(gaps[i]), names[i]))
    return [{"factor": names[i], "gap": float(gaps[i])} for i in order]


def _permutation(a: Floats, b: Floats, cfg: Agreement, rng: np.random.Generator) -> float:
    """Two-sided p-value of the coefficient under random pairings of factors."""
    shuffled = rng.permuted(np.tile(b, (cfg.resamples, 1)), axis=1)
    found = agreement(np.tile(a, (cfg.resamples, 1)), shuffled, cfg.kind)
    observed = abs(float(agreement(a[None], b[None], cfg.kind)[0]))
    return (int(np.sum(np.abs(found) >= observed - 1e-12)) + 1) / (cfg.resamples + 1)
