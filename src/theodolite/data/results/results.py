"""The nouns: one metric item by item (Column), and all metrics of one model under one protocol (Results)."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from theodolite.data.results.reliability import Reliability
from theodolite.types import Better

Floats = NDArray[np.float64]

LOWER = {
    "perplexity", "ppl", "loss", "nll", "bits", "brier", "wer", "cer", "ter", "error", "errors", "ece", "toxicity", "toxic",
    "harm", "harmful", "violation", "violations", "hallucination", "hallucinations",
}  # fmt: skip
"""words in a metric's name that say less is better, where the file does not say; they win over those of HIGHER"""
HIGHER = {
    "acc", "accuracy", "correct", "exact", "em", "f1", "bleu", "rouge", "chrf", "pass", "score", "win", "mcc", "mc1", "mc2",
    "reward", "rating", "grade", "quality", "constraint",
}  # fmt: skip
"""words that say more is better; a name without either has no good direction"""
SHARES = ("acc", "acc_norm", "accuracy", "exact_match", "em", "win_rate", "pass_rate", "correct")
"""metrics that are shares, also where an item's value lies between no and yes"""


@dataclass(frozen=True, slots=True)
class Column:
    """One metric.

    items: (n,) ids; one that stands several times is an item that was answered several times.
    values: (n,) NaN where missing. prompts: (n,) what identifies an item's question; items with one prompt form a
    cluster; None where the file does not say. shown: (n,) what identifies the very text the model (or the judge) was
    shown, template and examples included; None where unknown. judge: who gave the values, '' for a rule.
    protocol: what must be equal for this metric alone, such as the task's version. unit: 'share', 'tokens', ...
    """

    items: tuple[str, ...]
    values: Floats
    prompts: tuple[str, ...] | None = None
    shown: tuple[str, ...] | None = None
    better: Better = "neither"
    unit: str = ""
    judge: str = ""
    protocol: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, name: str, items: Iterable[Any], values: Iterable[Any], **rest: Any) -> Column:
        """From ids and raw values; direction and unit are those usual for `name` where they are not given."""
        x = np.array([number(v) for v in values], float)
        rest.setdefault("better", usual_direction(name))
        if "unit" not in rest:
            there = x[~np.isnan(x)]
            yes_no = len(there) > 0 and bool(np.isin(there, (0.0, 1.0)).all())
            within = len(there) > 0 and bool(((there >= 0) & (there <= 1)).all())
            rest["unit"] = "share" if yes_no or (within and plain(name) in SHARES) else ""
        return cls(tuple(str(i) for i in items), x, **rest)


@dataclass(frozen=True, slots=True)
class Results:
    """What one model reached. name: shown to the reader. part: its name inside a file that holds
    several. source: the file as the user named it.

    protocol: what must be equal in a comparison (template, backend, decoding, ...); a key that is missing is unknown.
    about: what may differ (model, date). problems: sentences on what the reader left out.
    judges: how reliable the judges are, where it lies recorded beside the results.
    """

    name: str
    metrics: Mapping[str, Column]
    protocol: Mapping[str, str] = field(default_factory=dict)
    about: Mapping[str, str] = field(default_factory=dict)
    format: str = ""
    path: str = ""
    part: str = ""
    problems: tuple[str, ...] = ()
    judges: tuple[Reliability, ...] = ()
    source: str = ""

    @property
    def items(self) -> tuple[str, ...]:
        """Ids of all items, in order of first appearance."""
        return tuple(dict.fromkeys(i for c in self.metrics.values() for i in c.items))

    def renamed(self, name: str, source: str = "") -> Results:
        return replace(self, name=name, source=source or self.source)


def number(value: Any) -> float:
    """A float; NaN for what is missing, not finite or not a number. Yes/no words count as 1/0, lists by their mean."""
    if isinstance(value, str):
        word = value.strip().lower()
        if word in ("true", "yes", "false", "no"):
            return float(word in ("true", "yes"))
        try:
            value = float(word)
        except ValueError:
            return math.nan
    if isinstance(value, list | tuple) and value and all(isinstance(v, bool) for v in value):
        return sum(value) / len(value)
    if isinstance(value, bool | int | float) and math.isfinite(value):
        return float(value)
    return math.nan


def plain(name: str) -> str:
    """`gsm8k/exact_match (strict-match)` -> `exact_match`."""
    return name.split("/")[-1].split(" (")[0].lower()


def usual_direction(name: str) -> Better:
    words = set(re.split(r"[^a-z0-9]+", plain(name)))
    return "lower" if words & LOWER else "higher" if words & HIGHER else "neither"


def digest(text: Any) -> str:
    """Twelve hex digits that stand for a text."""
    return hashlib.sha256(str(text).encode("utf-8", "surrogatepass")).hexdigest()[:12]
