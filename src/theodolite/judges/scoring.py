"""How good are the judges? Readings from their verdicts beside human labels, and the people's own agreement.

Three ways to count a pair, since they differ most for the weakest judges:
- per_look: each order is one look, right where it names what people named; the mean of both. A coin has 50 % of pairs
  where people saw a winner. This is LLMBar's average accuracy (arXiv:2310.07641 section 4).
- both_orders: right where both orders name it; disagreement is a tie. A coin has 25 %, a judge that always takes the
  first place 0 %. This is Auto-J's agreement (arXiv:2310.05470).
- averaged: the winner by the probability averaged over both orders, for judges that give one. A coin has 50 %.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from theodolite import stats
from theodolite.judges.evaluation import Judged
from theodolite.judges.orders import BothOrders
from theodolite.judges.trials import AnswerTrial, PairTrial
from theodolite.judges.verdict import Verdict, Winner
from theodolite.measures.call import evaluate
from theodolite.types import Reading

BASELINES = ("longer", "random", "first_shown")
Scores = dict[str, Reading]


def scores(judged: Judged, *, seed: int = 0) -> dict[str, dict[str, Scores]]:
    """judge -> subset ('all' where there are several) -> name -> Reading."""
    trials = judged.trials
    subset = [t.subset for t in trials.pairs] or [t.subset for t in trials.answers]
    places = {s: [i for i, mine in enumerate(subset) if mine == s] for s in trials.subsets}
    if len(places) > 1:
        places["all"] = list(range(len(subset)))
    out: dict[str, dict[str, Scores]] = {}
    for judge, both in judged.pairs.items():
        out[judge] = {
            s: pair_scores([trials.pairs[i] for i in at], [both[i] for i in at], seed=seed) for s, at in places.items()
        }
    for judge, told in judged.answers.items():
        out[judge] = {
            s: answer_scores([trials.answers[i] for i in at], [told[i] for i in at], judged.middle[judge], seed=seed)
            for s, at in places.items()
        }
    return out


def pair_scores(trials: Sequence[PairTrial], both: Sequence[BothOrders], *, seed: int = 0) -> Scores:
    """One judge on one set of pairs. A judge that sees no order has one look a pair."""
    human = [t.human for t in trials]
    first, swapped = [b.first.winner for b in both], [b.swapped.winner for b in both]
    agreed = [b.agreed for b in both]
    once = all(b.one_look for b in both)
    items = [str(i) for i in range(len(trials))]
    looks = (
        {"verdict": first, "human": human}
        if once
        else {"verdict": first + swapped, "human": human * 2, "item": items * 2}
    )
    out = {
        "per_look": evaluate("judge_accuracy", looks, seed=seed),
        "both_orders": evaluate("judge_accuracy", {"verdict": agreed, "human": human}, seed=seed),
        "kappa": evaluate("cohen_kappa", _ratings(agreed, human), seed=seed),
        "swap_consistency": evaluate("swap_consistency", _orders(first, swapped), seed=seed),
        "position_bias": evaluate("position_bias", _orders(first, swapped), seed=seed),
        "unparsed": unparsed([b.first for b in both] + ([] if once else [b.swapped for b in both])),
    }
    if any(b.probability is not None for b in both):
        out["averaged"] = evaluate(
            "judge_accuracy", {"verdict": [averaged(b) for b in both], "human": human}, seed=seed
        )
    if all(t.votes for t in trials) and trials:
        out["kappa_with_annotators"] = _with_annotators(trials, agreed, seed)
    return {name: replace(r, name=name) for name, r in out.items()}


def averaged(b: BothOrders) -> Winner | None:
    """The winner by the mean probability of both orders; exactly one half is a tie."""
    p = b.probability
    return None if p is None or b.missing else "A" if p > 0.5 else "B" if p < 0.5 else "tie"


def answer_scores(trials: Sequence[AnswerTrial], told: Sequence[Verdict], middle: float, *, seed: int = 0) -> Scores:
    """One judge on single answers: a grade of at least `middle` says 'good'."""
    yes = [None if v.grade is None else int(v.grade >= middle) for v in told]
    human = [int(t.human) for t in trials]
    accuracy = evaluate(
        "judge_accuracy",
        {"verdict": [None if y is None else "AB"[1 - y] for y in yes], "human": ["AB"[1 - h] for h in human]},
        seed=seed,
    )
    kept = {k: v for k, v in accuracy.parts.items() if k in ("counting_missing_as_wrong", "missing_verdicts")}
    out = {
        "accuracy": replace(accuracy, parts=kept),
        "kappa": evaluate("cohen_kappa", _ratings(yes, human), seed=seed),
        "pi": evaluate("scott_pi", _ratings(yes, human), seed=seed),
        "leniency": evaluate("leniency", {"judge": yes, "human": human}, seed=seed),
        "unparsed": unparsed(told),
    }
    return {name: replace(r, name=name) for name, r in out.items()}


def unparsed(told: Sequence[Verdict], level: float = 0.95) -> Reading:
    """Share of looks without a verdict, and why. Wilson interval; the two looks at a pair count as two."""
    why = Counter((v.why or "no verdict") for v in told if v.winner is None and v.grade is None)
    k, n = sum(why.values()), len(told)
    span = stats.wilson(k, n, level)
    return Reading(
        "unparsed",
        k / n if n else math.nan,
        span.low,
        span.high,
        level,
        span.method,
        n,
        unit="share",
        better="lower",
        note="" if n else "nothing was judged",
        parts={"why": dict(why)},
    )


def people(trials: Sequence[PairTrial], *, seed: int = 0) -> Scores:
    """The annotators among themselves; empty where the data has not each one's vote.

    bar: each annotator against the majority of the others, left out where the others have none (two that differ). It
    is what a judge has to reach to be one more annotator. A judge is compared with the majority of *all*, which is a
    little easier for it, since that majority exists more often and is surer.
    """
    if not trials or not all(t.votes for t in trials) or len({len(t.votes) for t in trials}) > 1:
        return {}
    votes = [list(t.votes) for t in trials]
    m = len(votes[0])
    rows = [(v[j], _most(v[:j] + v[j + 1 :]), str(i)) for i, v in enumerate(votes) for j in range(m)]
    table = dict(zip(("verdict", "human", "item"), map(list, zip(*rows, strict=True)), strict=True))
    out = {
        "bar": evaluate("judge_accuracy", table, seed=seed),
        "kappa": evaluate("cohen_kappa", votes, seed=seed),
        "alpha": evaluate("krippendorff_alpha", votes, seed=seed),
    }
    for j in range(m):
        mine = [r for r in range(len(rows)) if r % m == j]
        columns = {"verdict": [rows[r][0] for r in mine], "human": [rows[r][1] for r in mine]}
        out[f"annotator {j + 1}"] = evaluate("judge_accuracy", columns, seed=seed)
    return {name: replace(r, name=name) for name, r in out.items()}


def jury_agreement(judged: Judged, *, seed: int = 0) -> Reading | None:
    """Krippendorff's alpha of the judges' own agreed verdicts: are they one opinion or several? None for one judge."""
    if len(judged.pairs) < 2:
        return None
    columns = [[b.agreed for b in both] for both in judged.pairs.values()]
    return replace(evaluate("krippendorff_alpha", _ratings(*columns), seed=seed), name="judges among themselves")


def against_baselines(judged: Judged, *, seed: int = 0) -> dict[str, Reading]:
    """'judge - baseline' -> the paired difference in accuracy per look, over pairs that both have judged."""
    right = {n: _item_scores(judged.trials.pairs, both) for n, both in judged.pairs.items()}
    out = {}
    for name, mine in right.items():
        for base in BASELINES:
            if name in BASELINES or base not in right:
                continue
            gap = mine - right[base]
            rng = np.random.default_rng(seed)
            span = stats.paired_bootstrap(mine, right[base], rng)
            there = gap[~np.isnan(gap)]
            key = f"{name} - {base}"
            out[key] = Reading(
                key,
                float(there.mean()) if len(there) else math.nan,
                span.low,
                span.high,
                span.level,
                span.method,
                len(there),
                len(gap) - len(there),
                {"no verdict from one of the two": k} if (k := len(gap) - len(there)) else {},
                "share",
                "higher",
                stats.sign_flip(gap, rng) if len(there) else None,
                "" if len(there) else "no pair was judged by both",
            )
    return out


def _item_scores(trials: Sequence[PairTrial], both: Sequence[BothOrders]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """(n,) share of the two looks that are right, NaN where one has no verdict."""
    return np.array(
        [
            math.nan if b.missing else ((b.first.winner == t.human) + (b.swapped.winner == t.human)) / 2
            for t, b in zip(trials, both, strict=True)
        ]
    )


def _with_annotators(trials: Sequence[PairTrial], agreed: Sequence[Winner | None], seed: int) -> Reading:
    """Mean kappa with each annotator: to be held against the annotators' kappa with one another."""
    each = [
        evaluate("cohen_kappa", _ratings(agreed, [t.votes[j] for t in trials]), seed=seed)
        for j in range(min(len(t.votes) for t in trials))
    ]
    values = [r.value for r in each if not math.isnan(r.value)]
    return Reading(
        "kappa_with_annotators",
        float(np.mean(values)) if values else math.nan,
        n=each[0].n,
        missing=each[0].missing,
        why=each[0].why,
        better="higher",
        note="" if values else each[0].note,
        parts={f"annotator {j + 1}": r.value for j, r in enumerate(each)},
    )


def _most(votes: Sequence[Winner]) -> Winner | None:
    """The verdict of more than half; None where there is none."""
    top, n = Counter(votes).most_common(1)[0]
    return top if 2 * n > len(votes) else None


def _ratings(*columns: Sequence[Any]) -> list[list[Any]]:
    return [list(row) for row in zip(*columns, strict=True)]


def _orders(first: Sequence[Winner | None], swapped: Sequence[Winner | None]) -> Mapping[str, Sequence[Winner | None]]:
    return {"first_order": first, "swapped_order": swapped}
