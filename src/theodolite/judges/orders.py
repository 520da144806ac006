"""Both orders, always: a comparison counts only together with its mirror image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from theodolite.errors import UsageError
from theodolite.judges.verdict import Comparison, PairJudge, Progress, Verdict, Winner


@dataclass(frozen=True, slots=True)
class BothOrders:
    """A pair judged with A shown first and with B shown first.

    first: the verdict with A shown first. swapped: the verdict with B shown first, told in the item's own letters.
    """

    first: Verdict
    swapped: Verdict

    @property
    def one_look(self) -> bool:
        """Was the judge asked once, since it does not see the order?"""
        return self.first is self.swapped

    @property
    def missing(self) -> bool:
        return self.first.winner is None or self.swapped.winner is None

    @property
    def consistent(self) -> bool | None:
        """Do both orders name the same winner? None where one has no verdict."""
        return None if self.missing else self.first.winner == self.swapped.winner

    @property
    def agreed(self) -> Winner | None:
        """What both orders say; a tie where they disagree; None where one of them has no verdict.

        Source: arXiv:2306.05685 section 3.4 (a win counts only if it holds in both orders); arXiv:2310.05470 counts
        the inconsistent pairs as wrong, which a tie is too wherever people named a winner.
        """
        return None if self.missing else self.first.winner if self.consistent else "tie"

    @property
    def probability(self) -> float | None:
        """Mean over both orders of the probability that A is better: order-free by construction."""
        p, q = self.first.probability, self.swapped.probability
        return None if p is None or q is None else (p + q) / 2

    @property
    def why(self) -> str:
        """The reason where there is no verdict."""
        if not self.missing:
            return ""
        return next(v.why or "no verdict" for v in (self.first, self.swapped) if v.winner is None)


def compare_both(
    judge: PairJudge, items: Sequence[Comparison], *, progress: Progress | None = None
) -> list[BothOrders]:
    """Each pair judged in both orders. A judge that cannot see the order is asked once."""
    if not hasattr(judge, "compare"):
        raise UsageError(
            f"{type(judge).__name__} grades single answers. Wrap it: ByGrade(judge) compares two answers by grade."
        )
    if not judge.sees_order:
        return [BothOrders(v, v) for v in judge.compare(items, progress=progress)]
    shown = [*items, *(item.swapped() for item in items)]
    told = judge.compare(shown, progress=progress)
    return [BothOrders(a, b.swapped()) for a, b in zip(told[: len(items)], told[len(items) :], strict=True)]
