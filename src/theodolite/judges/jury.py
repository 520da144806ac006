"""Several judges as one: majority of winners, mean of grades, and how much they disagreed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from theodolite.errors import UsageError
from theodolite.judges.orders import BothOrders
from theodolite.judges.verdict import (
    Answer,
    Comparison,
    GradingJudge,
    PairJudge,
    Progress,
    Undecided,
    Verdict,
    Winner,
)

_CREDIT: dict[Winner, float] = {"A": 1.0, "tie": 0.5, "B": 0.0}
QUORUM = 0.5
"""share of the jury's weight that must have a verdict, else the jury has none"""


def majority(votes: Mapping[str, Verdict], weights: Mapping[str, float] | None = None) -> Verdict:
    """The winner that more than half of the voting weight names; a tie where none has that much.

    Jurors without a verdict abstain; where they hold more than half of the weight the jury has no verdict either.
    probability: weighted mean over voters of their probability for A, or of 1, 1/2, 0 where a juror gives none.
    meta: votes by juror, and `dissent`, the share of the voting weight that is not with the jury's verdict.
    Source: arXiv:2404.18796 (juries of smaller models). That no majority is no winner follows the jury of Aegis 2.0
    (arXiv:2501.09004), where it means 'needs caution' (unverified).
    """
    weight = _weights(votes, weights)
    here = {n: v for n, v in votes.items() if v.winner is not None}
    total = math.fsum(weight[n] for n in here)
    if not here or total < QUORUM * math.fsum(weight.values()):
        return Verdict(why=_absent(votes, here), meta={"votes": _told(votes)})
    held = {w: math.fsum(weight[n] for n, v in here.items() if v.winner == w) for w in _CREDIT}
    winner: Winner = next((w for w in _CREDIT if held[w] > total / 2), "tie")
    credit = [
        weight[n] * (v.probability if v.probability is not None else _CREDIT[v.winner])
        for n, v in here.items()
        if v.winner is not None
    ]
    meta = {"votes": _told(votes), "dissent": 1 - held[winner] / total}
    return Verdict(winner, None, math.fsum(credit) / total, meta=meta)


def mean_grade(votes: Mapping[str, Verdict], weights: Mapping[str, float] | None = None) -> Verdict:
    """The weighted mean of the grades; meta has them by juror and `dissent`, their weighted standard deviation."""
    weight = _weights(votes, weights)
    here = {n: v.grade for n, v in votes.items() if v.grade is not None}
    total = math.fsum(weight[n] for n in here)
    if not here or total < QUORUM * math.fsum(weight.values()):
        return Verdict(why=_absent(votes, here), meta={"votes": dict(here)})
    mean = math.fsum(weight[n] * g for n, g in here.items()) / total
    spread = math.sqrt(math.fsum(weight[n] * (g - mean) ** 2 for n, g in here.items()) / total)
    return Verdict(grade=mean, meta={"votes": dict(here), "dissent": spread})


def jury_both(
    judged: Mapping[str, Sequence[BothOrders]], weights: Mapping[str, float] | None = None
) -> list[BothOrders]:
    """The jury's verdict in each order, from verdicts that the jurors have already given."""
    names, out = list(judged), []
    for row in zip(*judged.values(), strict=True):
        first = majority({n: b.first for n, b in zip(names, row)}, weights)
        once = all(b.one_look for b in row)
        out.append(BothOrders(first, first if once else majority({n: b.swapped for n, b in zip(names, row)}, weights)))
    return out


class Jury:
    """Pairwise judges that vote on each item as it is shown. `compare_both` asks them in both orders as any judge."""

    def __init__(self, judges: Mapping[str, PairJudge], weights: Mapping[str, float] | None = None) -> None:
        if not judges:
            raise UsageError("a jury needs at least one judge.")
        self.judges, self.weights = dict(judges), weights
        self.sees_order = any(j.sees_order for j in judges.values())

    def compare(self, items: Sequence[Comparison], *, progress: Progress | None = None) -> list[Verdict]:
        given: dict[str, list[Verdict]] = {}
        for i, (name, judge) in enumerate(self.judges.items()):
            try:
                given[name] = judge.compare(items, progress=_part(progress, i, len(self.judges)))
            except Undecided as stopped:  # a vote without all jurors would not be this jury's
                raise stopped.about({}) from stopped
        return [majority({n: v[i] for n, v in given.items()}, self.weights) for i in range(len(items))]


class GradingJury:
    """Grading judges whose mean is the grade. They must grade on one range."""

    def __init__(self, judges: Mapping[str, GradingJudge], weights: Mapping[str, float] | None = None) -> None:
        middles = {j.middle for j in judges.values()}
        if len(middles) != 1:
            raise UsageError(f"grades of a jury must share one range; the middles here are {sorted(middles)}.")
        self.judges, self.weights, self.middle = dict(judges), weights, middles.pop()

    def grade(self, items: Sequence[Answer], *, progress: Progress | None = None) -> list[Verdict]:
        given: dict[str, list[Verdict]] = {}
        for i, (name, judge) in enumerate(self.judges.items()):
            try:
                given[name] = judge.grade(items, progress=_part(progress, i, len(self.judges)))
            except Undecided as stopped:
                raise stopped.about({}) from stopped
        return [mean_grade({n: v[i] for n, v in given.items()}, self.weights) for i in range(len(items))]


class ByGrade:
    """A grading judge as a pairwise one: the higher grade wins. It never sees both answers, so it sees no order.

    margin: grades this near to each other are a tie (Auto-J searches this threshold on held-out data; 0 here).
    """

    sees_order = False

    def __init__(self, judge: GradingJudge, margin: float = 0.0) -> None:
        if margin < 0:
            raise UsageError(f"margin is a distance between grades and cannot be negative, got {margin}.")
        self.judge, self.margin = judge, margin

    def compare(self, items: Sequence[Comparison], *, progress: Progress | None = None) -> list[Verdict]:
        pairs = [tuple(Answer(i.prompt, t, i.id, i.references, i.scenario) for t in (i.a, i.b)) for i in items]
        different = list(dict.fromkeys(a for pair in pairs for a in pair))
        try:
            graded = dict(zip(different, self.judge.grade(different, progress=progress), strict=True))
        except Undecided as stopped:
            known = {different[i]: v for i, v in stopped.done.items()}
            done = {i: self._one(known[a], known[b]) for i, (a, b) in enumerate(pairs) if a in known and b in known}
            raise stopped.about(done) from stopped
        return [self._one(graded[a], graded[b]) for a, b in pairs]

    def _one(self, a: Verdict, b: Verdict) -> Verdict:
        raw = "\n\n".join(f"[{n}] {v.raw}" for n, v in (("A", a), ("B", b)) if v.raw)
        if a.grade is None or b.grade is None:
            return Verdict.missing(next(v.why or "ungraded" for v in (a, b) if v.grade is None), raw)
        gap = a.grade - b.grade
        winner: Winner = "tie" if abs(gap) <= self.margin else "A" if gap > 0 else "B"
        return Verdict(winner, raw=raw, meta={"grades": [a.grade, b.grade]})


def _weights(votes: Mapping[str, Verdict], weights: Mapping[str, float] | None) -> dict[str, float]:
    made = {n: 1.0 if weights is None else float(weights[n]) for n in votes}
    if any(not w > 0 for w in made.values()):
        raise UsageError(f"weights of a jury must be above 0, got {made}.")
    return made


def _told(votes: Mapping[str, Verdict]) -> dict[str, str | None]:
    return {n: v.winner for n, v in votes.items()}


def _absent(votes: Mapping[str, Verdict], here: Mapping[str, object]) -> str:
    return f"only {len(here)} of {len(votes)} jurors have a verdict"


def _part(progress: Progress | None, i: int, n: int) -> Progress | None:
    """Progress of the i-th of n jurors as progress of the jury."""
    if progress is None:
        return None
    return lambda done, total: progress((i * total + done) // n, total)
