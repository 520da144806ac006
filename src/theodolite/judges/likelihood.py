"""Judges that never write: how likely the model finds the verdict, or the answers themselves. Nothing to parse."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from theodolite.config import Config
from theodolite.errors import UsageError
from theodolite.judges.norms import check_norms, rubrics_for
from theodolite.judges.rubric import Rubric
from theodolite.judges.scorer import Choice, Scorer, Weighed
from theodolite.judges.verdict import Answer, Comparison, Progress, Verdict
from theodolite.judges.wording import grade_messages, pair_messages
from theodolite.registry import register

if TYPE_CHECKING:
    from theodolite.judges.making import Means


class Likely(Config):
    """How the verdict is weighed."""

    tie: bool = False
    """weigh 'tie' as a third verdict; half of its probability counts for A"""
    lead: str = "Verdict:"
    """how the model's answer begins before the letter that is weighed"""
    scenario: str = "rules"
    """which norms of ours it is told: 'rules' guesses the kind of task, else a scenario's name or 'default'"""


class LikelyGrade(Config):
    """How the grade is weighed."""

    low: int = Field(1, ge=0)
    """the worst grade"""
    high: int = Field(10, ge=1)
    """the best grade"""
    scenario: str = "rules"
    """which norms of ours it is told: 'rules' guesses the kind of task, else a scenario's name or 'default'"""


class OwnTaste(Config):
    """How an answer's likelihood is counted."""

    per: Literal["token", "response"] = "token"
    """token: mean log-prob of a token, so that length as such does not count; response: their sum"""


@register(
    "judge",
    "likelihood",
    source="arXiv:2306.05685 for the question; verdict from next-token probabilities as in arXiv:2310.05910 (SALMON)",
    config=Likely,
    protocol="pairwise",
)
class VerdictLikelihood:
    """Which verdict does the model find likelier, 'A' or 'B'? No critique, no parsing, a probability for each pair.

        probability = p(A) / (p(A) + p(B))          of one order; `BothOrders.probability` is the mean of the two

    A letter of several tokens counts with the product of their probabilities. raw gives the log-probs and the `mass`:
    how much of the model's probability falls on the verdicts at all. A mass near 0 says it would have written
    something else. Needs a local model: servers tell the log-probs of what they wrote and not of what they did not.
    """

    sees_order = True
    reads_norms = True
    needs_model = True

    def __init__(self, cfg: Likely | None = None, means: Means | None = None) -> None:
        self.cfg = cfg or Likely()
        self.scorer, self.rubric = _scorer(means), means.rubric if means else None
        check_norms(self.cfg.scenario, self.rubric, can_ask=False)

    def compare(self, items: Sequence[Comparison], *, progress: Progress | None = None) -> list[Verdict]:
        rubrics = rubrics_for(items, self.cfg.scenario, self.rubric)
        words = ("A", "B", "tie") if self.cfg.tie else ("A", "B")
        space = " " if self.cfg.lead else ""
        options = tuple(space + w for w in words)
        choices = [
            Choice(pair_messages(i, r, critique=False, tie=self.cfg.tie), options, self.cfg.lead)
            for i, r in zip(items, rubrics)
        ]
        return [_winner(w, r) for w, r in zip(self.scorer(choices, progress), rubrics, strict=True)]


@register(
    "judge",
    "likelihood_grade",
    source="arXiv:2303.16634 (G-Eval) eq. 1: grades weighed by their probabilities",
    config=LikelyGrade,
    protocol="single",
)
class GradeLikelihood:
    """The expected grade under the model's own probabilities of all grades; never outside its range, never unparsed.

        grade = sum_k k p(k) / sum_k p(k),    p(k) = p("k]]" | request, "Grade: [[")

    The closing brackets are scored too, since the 1 of '10' would otherwise count for the 1. Needs a local model.
    """

    reads_norms = True
    needs_model = True

    def __init__(self, cfg: LikelyGrade | None = None, means: Means | None = None) -> None:
        self.cfg = cfg or LikelyGrade()
        if self.cfg.high <= self.cfg.low:
            raise UsageError(f"grades run from low to high, got low={self.cfg.low} and high={self.cfg.high}.")
        self.scorer, self.rubric = _scorer(means), means.rubric if means else None
        check_norms(self.cfg.scenario, self.rubric, can_ask=False)

    @property
    def middle(self) -> float:
        return (self.cfg.low + self.cfg.high) / 2

    def grade(self, items: Sequence[Answer], *, progress: Progress | None = None) -> list[Verdict]:
        rubrics = rubrics_for(items, self.cfg.scenario, self.rubric)
        low, high = self.cfg.low, self.cfg.high
        grades = np.arange(low, high + 1)
        options = tuple(f"{k}]]" for k in grades)
        choices = [
            Choice(grade_messages(i, r, critique=False, low=low, high=high), options, "Grade: [[")
            for i, r in zip(items, rubrics)
        ]
        return [_expected(w, grades, r) for w, r in zip(self.scorer(choices, progress), rubrics, strict=True)]


@register(
    "judge",
    "response_likelihood",
    source="ours: a baseline that knows no norm and is asked nothing",
    config=OwnTaste,
    protocol="pairwise",
)
class ResponseLikelihood:
    """Which answer does the model itself find likelier, per token? It is asked nothing, so it sees no order.

        score(y) = (1/|y|) sum_t log p(y_t | x, y_<t)          nats, end of turn included

    Knows nothing of norms or rubrics: it tells what the model would have said, not what it thinks good. No probability.
    """

    sees_order = False
    needs_model = True

    def __init__(self, cfg: OwnTaste | None = None, means: Means | None = None) -> None:
        self.cfg, self.scorer = cfg or OwnTaste(), _scorer(means)

    def compare(self, items: Sequence[Comparison], *, progress: Progress | None = None) -> list[Verdict]:
        full = [i for i, item in enumerate(items) if item.a.strip() and item.b.strip()]
        choices = [Choice(items[i].prompt, (items[i].a, items[i].b), whole=True) for i in full]
        found = dict(zip(full, self.scorer(choices, progress), strict=True))
        return [self._one(found[i]) if i in found else Verdict.missing("an empty answer") for i in range(len(items))]

    def _one(self, w: Weighed) -> Verdict:
        if w.why:
            return Verdict.missing(w.why)
        a, b = (s / n if self.cfg.per == "token" else s for s, n in zip(w.logps, w.tokens))
        return Verdict("A" if a > b else "B" if b > a else "tie", raw=f"logp per {self.cfg.per}: A {a:.4f}, B {b:.4f}")


def _scorer(means: Means | None) -> Scorer:
    if means is None or means.scorer is None:
        raise UsageError(
            "a judge that weighs likelihoods needs a local model: give --model. An endpoint tells log-probs only of what "
            "it wrote; the judge 'critique' with samples=8 and temperature=1 gives probabilities there too."
        )
    return means.scorer


def _shares(logps: Sequence[float]) -> tuple[NDArray[np.float64], float]:
    """(normalised probabilities, their sum before)."""
    z = np.asarray(logps, np.float64)
    top = float(z.max())
    p = np.exp(z - top)
    return p / p.sum(), float(p.sum()) * math.exp(top)


def _winner(w: Weighed, rubric: Rubric) -> Verdict:
    if w.why:
        return Verdict.missing(w.why)
    p, mass = _shares(w.logps)
    best = np.flatnonzero(p == p.max())
    third = float(p[2]) if len(p) > 2 else 0.0
    winner = (("A", "B", "tie") if len(p) > 2 else ("A", "B"))[best[0]] if len(best) == 1 else "tie"
    raw = f"logp A {w.logps[0]:.4f}, B {w.logps[1]:.4f}; mass {mass:.3g}"
    return Verdict(winner, None, float(p[0]) + third / 2, raw, "", {"rubric": rubric.name})  # type: ignore[arg-type]


def _expected(w: Weighed, grades: NDArray[np.int64], rubric: Rubric) -> Verdict:
    if w.why:
        return Verdict.missing(w.why)
    p, mass = _shares(w.logps)
    raw = f"likeliest {grades[int(p.argmax())]}; mass {mass:.3g}"
    return Verdict(grade=float(p @ grades), raw=raw, meta={"rubric": rubric.name})
