"""Does the model do what it was told? Instructions that a program can verify (IFEval's protocol)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from theodolite import stats
from theodolite.measures.evidence import Evidence
from theodolite.measures.paired import sampled
from theodolite.registry import register
from theodolite.types import Example, Reading, Response

SOURCE = "arXiv:2311.07911 section 2.2"
RATE: dict[str, Any] = {
    "source": SOURCE,
    "better": "higher",
    "range": (0.0, 1.0),
    "needs": ("samples", "checks"),
    "unit": "share",
    "not_measured": "whether the answer is right, useful or well written",
    "taxonomy": ("goal:human-instructions", "bidirectional:automatic-evaluation"),
}
"""what the three rates of this file declare alike"""


def checks(response: Response, key: str = "checks") -> Mapping[str, bool]:
    """Verdict by constraint that a verifiable reward left on a response; empty when it was never checked."""
    found: Mapping[str, bool] = response.meta.get(key, {})
    return found


def _all(key: str) -> Any:
    def value(response: Response) -> float:
        verdicts = checks(response, key)
        return float(all(verdicts.values())) if verdicts else math.nan

    return value


@register(
    "measure",
    "pass_rate",
    question="How often does an answer meet every constraint of its instruction?",
    **RATE,
)
def pass_rate(evidence: Evidence, rng: np.random.Generator) -> list[Reading]:
    """Share of responses that meet all constraints, strictly (IFEval's prompt-level strict accuracy).

    Mean over prompts of the mean over a prompt's K responses; higher is better. The difference is paired by prompt
    and carries `parts["by_constraint"]`: the same for each kind of constraint alone, with Wilson intervals over
    responses before and after, and a paired bootstrap over prompts for the difference.
    """
    parts = {"by_constraint": by_constraint(evidence, rng)}
    return sampled("pass_rate", evidence, _all("checks"), rng, unit="share", better="higher", parts=parts)


@register(
    "measure",
    "pass_rate_loose",
    question="How often would an answer meet every constraint if its first or last line or its markdown were dropped?",
    **RATE,
)
def pass_rate_loose(evidence: Evidence, rng: np.random.Generator) -> list[Reading]:
    """As `pass_rate`, each constraint accepted if any of IFEval's eight variants of the text meets it."""
    return sampled("pass_rate_loose", evidence, _all("checks_loose"), rng, unit="share", better="higher")


@register(
    "measure",
    "constraint_rate",
    question="What share of all constraints is met?",
    **RATE,
)
def constraint_rate(evidence: Evidence, rng: np.random.Generator) -> list[Reading]:
    """Mean share of a response's constraints that it meets (IFEval's instruction level, averaged by prompt)."""

    def share(response: Response) -> float:
        verdicts = checks(response)
        return sum(verdicts.values()) / len(verdicts) if verdicts else math.nan

    return sampled("constraint_rate", evidence, share, rng, unit="share", better="higher")


def by_constraint(evidence: Evidence, rng: np.random.Generator) -> list[dict[str, Any]]:
    """One row a kind of constraint, most frequent first: rates before and after, and their paired difference."""
    before, after = _verdicts(evidence.before), _verdicts(evidence.after)
    rows = []
    for kind in sorted(set(before) & set(after), key=lambda k: (-sum(map(len, after[k].values())), k)):
        prompts = sorted(set(before[kind]) & set(after[kind]))
        b, a = (np.array([np.mean(side[kind][p]) for p in prompts]) for side in (before, after))
        span = stats.paired_bootstrap(a, b, rng, evidence.level)
        row: dict[str, Any] = {"constraint": kind, "n": len(prompts)}
        for name, side in (("before", before), ("after", after)):
            flat = [v for p in prompts for v in side[kind][p]]
            interval = stats.wilson(sum(flat), len(flat), evidence.level)
            row |= {name: float(np.mean(flat)), f"{name}_low": interval.low, f"{name}_high": interval.high}
        rows.append(row | {"difference": float(np.mean(a - b)), "low": span.low, "high": span.high})
    return rows


def _verdicts(side: Sequence[Example]) -> dict[str, dict[int, list[bool]]]:
    """kind -> prompt number -> verdicts. A verdict's key is `id` or `id#number` where a kind occurs twice."""
    found: dict[str, dict[int, list[bool]]] = {}
    for number, example in enumerate(side):
        for response in example.responses:
            for key, met in checks(response).items():
                found.setdefault(key.split("#")[0], {}).setdefault(number, []).append(met)
    return found
