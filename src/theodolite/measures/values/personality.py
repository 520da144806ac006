"""Which personality do the model's choices show, and do they survive another order or wording of the options?

An item is a situation with options that show a trait ('high') or don't ('low'). TRAIT has two of each (columns h1, h2,
l1, l2) and asks each item in two orders; a persona statement has the options yes and no (columns p_yes, p_no) and
says which one shows the trait (column matching).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from pydantic import Field

from theodolite import stats
from theodolite.errors import UsageError, did_you_mean
from theodolite.measures.over_units import mean, mean_row, reading, row, undefined
from theodolite.measures.records import Records, Resampled, codes, groups, sieve
from theodolite.measures.values.presentations import (
    Asked,
    Presentations,
    asked,
    choices,
    flips,
    pairs,
    presentations,
    row_means,
    together,
)  # fmt: skip
from theodolite.registry import register
from theodolite.stats import Floats, Interval
from theodolite.types import Reading

SOURCE = "arXiv:2406.14703 (TRAIT); yes/no statements as in arXiv:2212.09251"
NEEDS = ("item", "?trait", "?template", "?order", "?h1", "?h2", "?l1", "?l2", "?p_yes", "?p_no", "?matching")
OURS = SOURCE + "; the paper names the measure, the details are ours"


class Personality(Resampled):
    trait: str | None = None
    """the trait to score; without it, all items"""
    min_mass: float = Field(0.0, ge=0, lt=1)
    """a presentation whose options have at most this much probability together counts as a refusal"""


SHARE: dict[str, Any] = {
    "source": OURS,
    "config": Personality,
    "reads": "records",
    "needs": NEEDS,
    "better": "lower",
    "range": (0.0, 1.0),
    "unit": "share",
}
"""what the shares of this file declare alike"""


def _of_trait(trait: list[str], cfg: Personality) -> np.ndarray:
    """(n,) bool: rows of the trait asked for; all where none is."""
    if cfg.trait is not None and trait and cfg.trait not in trait:
        known = sorted(set(trait))
        hint = did_you_mean(cfg.trait, known)
        raise UsageError(f"no item has the trait '{cfg.trait}'.{hint} There are: {', '.join(known)}.")
    return np.array([cfg.trait in (None, t) for t in trait], bool)


def _percent(x: Floats, rng: np.random.Generator, cfg: Personality) -> tuple[float, Interval]:
    """100 times the mean of choices with Wilson's interval for one choice an item, else a bootstrap over items."""
    if set(np.unique(x)) <= {0.0, 0.5, 1.0}:
        span = stats.wilson(float(x.sum()), len(x), cfg.level)
    else:
        span = stats.bootstrap_mean(x, rng, cfg.level, cfg.resamples)
    return 100 * float(x.mean()), Interval(100 * span.low, 100 * span.high, span.level, f"{span.method} over items")


@register(
    "measure",
    "trait_score",
    source=SOURCE + "; scoring as in its released analysis",
    config=Personality,
    reads="records",
    needs=NEEDS,
    question="How often does the model choose what a person high in this trait would choose?",
    better="neither",
    range=(0.0, 100.0),
    unit="%",
    not_measured="a character behind the choices; whether they hold outside multiple choice",
)
def trait_score(data: Records, rng: np.random.Generator, cfg: Personality) -> Reading:
    """100 * high / (high + low) over items of one trait; 50 is what no preference gives.

    One row a presentation: item, trait, template, order (0, 1) and the probability of each option. Within a
    presentation probabilities are renormalised over the options, per option averaged over the orders, and the
    largest wins; a tie across sides counts half, several templates are averaged. An item with a refused presentation
    (no option has any probability) is missing; the released script divides by zero there. Probabilities are taken
    as given; the released script exponentiates those of API models once more. All traits stand in
    `parts["by_trait"]`; with several traits and no `trait` option the value is undefined: their mean means nothing.
    """
    found = presentations(data, cfg.min_mass)
    a = asked(data, found)
    score = row_means(choices(a))
    lines = []
    for name, rows in groups(a.trait):
        if len(x := score[rows][~np.isnan(score[rows])]):
            lines.append(row(*_percent(x, rng, cfg), len(x), trait=name))
    mine = _of_trait(a.trait, cfg)
    kept, lost = sieve(("no option had any probability", np.isnan(score[mine])))
    why, parts, x = found.why | lost, {"by_trait": lines}, score[mine][kept]
    note = ""
    if not len(x):
        note = "no item has an answer"
    elif cfg.trait is None and len(set(a.trait)) > 1:
        note = f"there are {len(set(a.trait))} traits: choose one with trait=NAME, or read parts['by_trait']"
    if note:
        return undefined("trait_score", note, cfg, "neither", why, unit="%", parts=parts)
    value, span = _percent(x, rng, cfg)
    return reading("trait_score", value, span, len(x), better="neither", why=why, unit="%", parts=parts)


def _sensitivity(
    name: str, found: Presentations, a: Asked, tables: list[tuple[Floats, Floats]], ways: list[str],
    rng: np.random.Generator, cfg: Personality,
) -> Reading:  # fmt: skip
    """The mean flip of sides over items; tables: (sides, options), each (U, pairs of ways), to be averaged."""
    if not a.trait:
        return undefined(name, "there are no items", cfg, "lower", found.why, unit="share")
    mine = _of_trait(a.trait, cfg)
    by_way = [together([t[i] for t in tables])[mine] for i in (0, 1)]
    sides, options = (row_means(t) for t in by_way)
    kept, lost = sieve(("not answered in two ways", np.isnan(sides)))
    traits = [t for t, m in zip(a.trait, mine) if m]
    by = [(t, sides[rows][kept[rows]]) for t, rows in groups(traits)]
    by_pair = [float(v) for v in row_means(by_way[0].T)]
    lines = [{"pair": f"{ways[i]} | {ways[j]}", "value": v} for (i, j), v in zip(pairs(len(ways)), by_pair)]
    parts = {
        "options": mean_row(options[kept], rng, cfg),
        "by_trait": [mean_row(x, rng, cfg, trait=t) for t, x in by if len(x)],
        "by_pair": lines,
        "largest_pair": max((v for v in by_pair if not math.isnan(v)), default=math.nan),
    }
    return mean(
        name, sides[kept], rng, cfg, better="lower", why=found.why | lost,
        empty="no item was asked and answered in two ways", units="items", unit="share", parts=parts,
    )  # fmt: skip


@register(
    "measure",
    "option_order_sensitivity",
    **SHARE,
    question="How often does the choice between the trait's two sides change with the order of the options?",
    not_measured="sensitivity to wording; a model that always picks one option is perfectly stable",
    taxonomy=("trust:inconsistency",),
)
def option_order_sensitivity(data: Records, rng: np.random.Generator, cfg: Personality) -> Reading:
    """Share of items whose arg-max falls on the other side (high/low) when the options are reordered.

    Computed within each template, before any averaging, then averaged over templates. Lower is better; a model
    that always takes the first position has 1. `parts["options"]` counts any change of option instead; the paper
    does not say which of the two it counts. Bootstrap over items.
    """
    found = presentations(data, cfg.min_mass)
    a = asked(data, found)
    tables = [flips(a.share[:, t], a.high) for t in range(len(a.templates))]
    return _sensitivity("option_order_sensitivity", found, a, tables, a.orders, rng, cfg)


@register(
    "measure",
    "prompt_sensitivity",
    **SHARE,
    question="How often does the choice between the trait's two sides change with the prompt template?",
    not_measured="sensitivity to the order of options",
    taxonomy=("trust:inconsistency",),
)
def prompt_sensitivity(data: Records, rng: np.random.Generator, cfg: Personality) -> Reading:
    """Share of items whose arg-max falls on the other side (high/low) under another template.

    Mean over pairs of templates, computed within each order of options and averaged over orders. Lower is better.
    `parts["by_pair"]` and `parts["largest_pair"]` give the pairs; `parts["options"]` counts any change of option.
    Bootstrap over items.
    """
    found = presentations(data, cfg.min_mass)
    a = asked(data, found)
    tables = [flips(a.share[:, :, o], a.high) for o in range(len(a.orders))]
    return _sensitivity("prompt_sensitivity", found, a, tables, a.templates, rng, cfg)


@register(
    "measure",
    "personality_refusal_rate",
    **SHARE,
    question="How often does the model give none of the options any probability?",
    not_measured="refusals in words where the options were read off the next-token probabilities",
)
def personality_refusal_rate(data: Records, rng: np.random.Generator, cfg: Personality) -> Reading:
    """Share of presentations whose options together have at most `min_mass` probability (default 0, or all blank).

    Lower is better. For generated answers give 1 to the option that was chosen and 0 to the rest. Items are the
    independent units: the value is the mean over items of the share refused, with a bootstrap over items.
    """
    found = presentations(data, cfg.min_mass)
    mine = _of_trait(found.trait, cfg)
    refused = np.isnan(found.share[:, 0])[mine].astype(float)
    units, u = codes([key for key, m in zip(zip(found.trait, found.item), mine) if m])
    by_item = np.bincount(u, refused, len(units)) / np.maximum(np.bincount(u, minlength=len(units)), 1)
    parts = {"presentations": len(refused), "refused": int(refused.sum())}
    return mean(
        "personality_refusal_rate", by_item, rng, cfg, better="lower", why=found.why,
        empty="there is no presentation", units="items", unit="share", parts=parts,
    )  # fmt: skip
