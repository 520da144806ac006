"""Is everything that a prompt asks for in the picture (or text)? Element by element, from yes/no questions."""

from __future__ import annotations

import math
from typing import Any, get_args

import numpy as np
from pydantic import Field

from theodolite.errors import DataError
from theodolite.measures.over_units import mean, mean_row, row, share_row
from theodolite.measures.raters.association import Kind, correlation, correlation_interval
from theodolite.measures.records import Integers, Records, Resampled, bare, codes, groups, sieve
from theodolite.registry import register
from theodolite.stats import Floats
from theodolite.types import Reading


class Elements(Resampled):
    threshold: float = Field(0.5, gt=0, lt=1)
    """an element whose score is at least this counts as found, when compared with column `present`"""
    kind: Kind = "spearman"
    """the coefficient with the human score that gets an interval; all three stand in parts"""


def element_scores(p_yes: Floats, p_no: Floats | None = None) -> Floats:
    """(n,) score of an element in [0, 1]: P(yes) to 'is it there?', averaged with P(no) to 'is it absent?'.

    Asking both ways cancels a model's liking for yes (EvalMuse-40K's positive-negative questions; that the two are
    averaged is our reading). Without `p_no` the score is P(yes), as in VQAScore and TIFA.
    """
    return p_yes if p_no is None else (p_yes + p_no) / 2


def item_means(score: Floats, weight: Floats, item: Integers, n: int) -> Floats:
    """(n,) weighted mean score of each item; NaN where the weights sum to 0."""
    total = np.bincount(item, weight, n)
    top = np.bincount(item, weight * score, n)
    return np.where(total > 0, top / np.where(total > 0, total, 1.0), np.nan)


@register(
    "measure",
    "element_alignment",
    source="arXiv:2412.18150 (EvalMuse-40K: element-level alignment, PN-VQA); mean over elements as in arXiv:2303.11897",
    config=Elements,
    reads="records",
    needs=("item", "element", "p_yes", "?p_no", "?weight", "?human", "?present", "?category"),
    question="What share of the elements of a prompt does the output show, on average?",
    better="higher",
    range=(0.0, 1.0),
    unit="share",
    not_measured="how good it looks; elements that nobody asked about; errors of the model that answers yes or no",
    taxonomy=("trust:hallucination",),
)
def element_alignment(data: Records, rng: np.random.Generator, cfg: Elements) -> Reading:
    """Mean over items of the (weighted) mean score of the item's elements. Higher is better.

    One row an element of an item (one output for one prompt): item, element, p_yes (probability, or 0/1), p_no
    (optional, see `element_scores`), weight (optional, at least 0), category (optional, the kind of element).
    human (optional, one score an item, repeated on its rows): correlations over items in `parts["human"]`. present
    (optional, 0/1 by people, or a mean of them): share of elements on which score >= threshold agrees with
    present >= 0.5 in `parts["elements"]`. An element without a score is left out, and its item with it: a mean
    over the remaining elements would answer another question. Bootstrap over items.
    """
    columns = [
        c for c in ("item", "element", "p_yes", "p_no", "weight", "human", "present", "category") if c in data.columns
    ]
    data.rows(*columns)
    v = {c: data.numbers(c) for c in columns if c not in ("item", "element", "category")}
    names, elements = data.words("item"), data.words("element")
    _check(v)
    score = element_scores(v["p_yes"], v.get("p_no"))
    weight = v.get("weight", np.ones(len(score)))
    named = ~(bare(names) | bare(elements))
    why = {"element without a name": int((~named).sum())} if not named.all() else {}
    items, item = codes([n for n, k in zip(names, named) if k])
    score, weight = score[named], weight[named]
    gap = np.bincount(item, np.isnan(score) | np.isnan(weight), len(items)) > 0
    value = item_means(np.nan_to_num(score), np.nan_to_num(weight), item, len(items))
    kept, lost = sieve(("an element has no score or weight", gap), ("the weights sum to 0", np.isnan(value)))
    parts: dict[str, Any] = {}
    rows = kept[item]
    if "category" in columns:
        kinds = [c for c, k in zip(data.words("category"), named) if k]
        by = groups([k if r else None for k, r in zip(kinds, rows)])
        parts["by_category"] = [mean_row(score[r], rng, cfg, category=c) for c, r in by]
    if "present" in columns:
        parts["elements"] = _elements(score[rows], v["present"][named][rows], cfg)
    if "human" in columns:
        human = item_means(np.nan_to_num(v["human"][named]), (~np.isnan(v["human"][named])) * 1.0, item, len(items))
        parts["human"] = _human(value[kept], human[kept], rng, cfg)
    return mean(
        "element_alignment", value[kept], rng, cfg, better="higher", why=why | lost,
        empty="no item has scores for all its elements", units="items", unit="share", parts=parts,
    )  # fmt: skip


def _check(v: dict[str, Floats]) -> None:
    for name in ("p_yes", "p_no", "present"):
        if name in v and ((v[name] < 0) | (v[name] > 1)).any():
            raise DataError(f"'{name}' must lie in [0, 1], got {np.nanmin(v[name]):g} to {np.nanmax(v[name]):g}.")
    if "weight" in v and (v["weight"] < 0).any():
        raise DataError(f"'weight' must be at least 0, got {np.nanmin(v['weight']):g}.")


def _elements(score: Floats, present: Floats, cfg: Elements) -> dict[str, Any]:
    """Agreement with people element by element; rows without their verdict are left out and counted."""
    known = ~np.isnan(present)
    same = (score[known] >= cfg.threshold) == (present[known] >= 0.5)
    return share_row(float(same.sum()), len(same), cfg, without_verdict=int((~known).sum()))


def _human(value: Floats, human: Floats, rng: np.random.Generator, cfg: Elements) -> dict[str, Any]:
    both = ~np.isnan(human)
    x, y = value[both], human[both]
    found = {k: correlation(x, y, k) for k in get_args(Kind)}
    span = correlation_interval(x, y, cfg.kind, None, rng, cfg)
    if math.isnan(found[cfg.kind]):
        return {**found, "n": len(x)}
    return {**found, **row(found[cfg.kind], span, len(x), kind=cfg.kind)}
