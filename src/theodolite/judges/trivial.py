"""Judges without judgement. A judge that doesn't beat these has not shown any."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, Literal

from pydantic import Field

from theodolite.config import Config
from theodolite.judges.verdict import Comparison, Progress, Verdict
from theodolite.registry import register


class Longer(Config):
    """How length is counted."""

    count: Literal["characters", "words"] = "characters"
    """what length is counted in"""


class Chance(Config):
    """Which draws."""

    seed: int = Field(0, ge=0)
    """of the coin; a verdict is a function of this seed, the texts and their order"""


@register(
    "judge",
    "longer",
    source="ours: the length baseline, after the length bias of arXiv:2404.04475",
    config=Longer,
    protocol="pairwise",
)
class LongerWins:
    """The longer answer wins; equally long ones are a tie. Does not see the order."""

    sees_order = False

    def __init__(self, cfg: Longer | None = None, means: Any = None) -> None:
        self.cfg = cfg or Longer()

    def compare(self, items: Sequence[Comparison], *, progress: Progress | None = None) -> list[Verdict]:
        return _each(items, self._one, progress)

    def _one(self, item: Comparison) -> Verdict:
        a, b = (len(t.split()) if self.cfg.count == "words" else len(t) for t in (item.a, item.b))
        return Verdict("A" if a > b else "B" if b > a else "tie", raw=f"{a} and {b} {self.cfg.count}")


@register("judge", "random", source="ours: chance as a judge", config=Chance, protocol="pairwise")
class RandomWins:
    """A coin for every look at a pair: agrees with people half of the time, and with itself half of the time."""

    sees_order = True

    def __init__(self, cfg: Chance | None = None, means: Any = None) -> None:
        self.cfg = cfg or Chance()

    def compare(self, items: Sequence[Comparison], *, progress: Progress | None = None) -> list[Verdict]:
        return _each(items, self._one, progress)

    def _one(self, item: Comparison) -> Verdict:
        text = "\0".join([str(self.cfg.seed), item.id, *(m.content for m in item.prompt), item.a, item.b])
        heads = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()[0] & 1
        return Verdict("A" if heads else "B")


@register(
    "judge",
    "first_shown",
    source="ours: position bias in its pure form (arXiv:2305.17926 measures it)",
    protocol="pairwise",
)
class FirstShown:
    """The answer that is shown first wins: never consistent, so in both orders always a tie."""

    sees_order = True

    def __init__(self, cfg: Config | None = None, means: Any = None) -> None:
        pass

    def compare(self, items: Sequence[Comparison], *, progress: Progress | None = None) -> list[Verdict]:
        return _each(items, lambda _: Verdict("A"), progress)


def _each(
    items: Sequence[Comparison], one: Callable[[Comparison], Verdict], progress: Progress | None
) -> list[Verdict]:
    out = [one(item) for item in items]
    if progress is not None:
        progress(len(items), len(items))
    return out
