"""Judges that write: scenario -> norms -> critique -> verdict, after Auto-J; by a local model or any chat endpoint."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field

from theodolite.config import Config
from theodolite.engine.sampling import Sampling
from theodolite.errors import UsageError
from theodolite.judges.asking import WritingStopped, Written, write
from theodolite.judges.norms import check_norms, rubrics_for
from theodolite.judges.parse import parse_grade, parse_name, parse_winner
from theodolite.judges.rubric import Rubric, scenarios
from theodolite.judges.verdict import (
    Answer,
    Comparison,
    JudgingInterrupted,
    JudgingStopped,
    Progress,
    Undecided,
    Verdict,
    Winner,
)
from theodolite.judges.wording import grade_messages, pair_messages, scenario_messages
from theodolite.registry import register
from theodolite.types import Message

if TYPE_CHECKING:
    from theodolite.judges.making import Means


class Asking(Config):
    """How a judge that writes is asked."""

    critique: bool = True
    """have it write what is good and bad before the verdict; off, it writes the verdict alone"""
    scenario: str = "rules"
    """norms of which kind of task: 'rules' guesses it by cue words, 'ask' has the judge name it, else a name; not beside a rubric of yours"""
    samples: int = Field(1, ge=1)
    """how often it is asked; the verdicts are put to the vote, and their share is the probability"""
    temperature: float = Field(0.0, ge=0)
    """0 writes what is likeliest; several samples need more"""
    max_new_tokens: int = Field(1024, ge=1)
    """room for critique and verdict; a verdict that doesn't fit is missing"""
    seed: int = Field(0, ge=0)
    """of the samples"""


class AskingGrade(Asking):
    """How a judge that writes a grade is asked."""

    low: int = 1
    """the worst grade"""
    high: int = Field(10, ge=1)
    """the best grade"""


class _Writer:
    """What both judges share: the sampler, the norms for each item, the questions to it."""

    def __init__(self, cfg: Asking, means: Means | None) -> None:
        if means is None or means.sampler is None:
            raise UsageError("a judge that writes needs a model: give --model, or --endpoint and --endpoint-model.")
        if cfg.samples > 1 and cfg.temperature == 0:
            raise UsageError(f"{cfg.samples} samples at temperature 0 are all alike. Set temperature above 0.")
        check_norms(cfg.scenario, means.rubric, can_ask=True)
        self.sampler, self.given = means.sampler, means.rubric
        self.sampling = Sampling(
            k=cfg.samples, max_new_tokens=cfg.max_new_tokens, temperature=cfg.temperature, seed=cfg.seed
        )

    def rubrics(self, items: Sequence[Comparison] | Sequence[Answer], how: str) -> list[Rubric]:
        return rubrics_for(items, how, self.given, self._asked)

    def _asked(self, prompts: Sequence[tuple[Message, ...]]) -> list[str]:
        """The scenario that the judge itself names; what it does not name clearly is 'default'."""
        different = list(dict.fromkeys(prompts))
        brief = Sampling(max_new_tokens=12, temperature=0)
        try:
            written = write(self.sampler, [scenario_messages(p) for p in different], brief)
        except WritingStopped as stopped:
            raise _undecided(stopped, {}) from stopped
        names = ("default", *scenarios().scenarios)
        found = {p: (parse_name(w.texts[0], names) if w.texts else None) for p, w in zip(different, written)}
        return [found[p] or "default" for p in prompts]

    def verdicts(
        self,
        requests: Sequence[Sequence[Message]],
        rubrics: Sequence[Rubric],
        read: Callable[[Written, Rubric], Verdict],
        progress: Progress | None,
    ) -> list[Verdict]:
        try:
            written = write(self.sampler, requests, self.sampling, progress)
        except WritingStopped as stopped:
            raise _undecided(stopped, {i: read(w, rubrics[i]) for i, w in stopped.done.items()}) from stopped
        return [read(w, r) for w, r in zip(written, rubrics, strict=True)]


@register(
    "judge",
    "critique",
    source="arXiv:2310.05470 (Auto-J) section 3: scenario, criteria, critique, verdict; wording ours",
    config=Asking,
    protocol="pairwise",
)
class CritiquePair:
    """A model compares two answers in writing and ends with A, B or tie.

    The request holds a role, the weighted norms of the task's scenario (or of your rubric), the task and both answers.
    Auto-J showed its criteria to the teacher that wrote its training data and not to the judge; an untrained judge is
    told them here. With samples > 1 the parsed verdicts vote: probability = (votes for A + ties / 2) / votes.
    """

    sees_order = True
    reads_norms = True
    needs_model = True

    def __init__(self, cfg: Asking | None = None, means: Means | None = None) -> None:
        self.cfg = cfg or Asking()
        self.writer = _Writer(self.cfg, means)

    def compare(self, items: Sequence[Comparison], *, progress: Progress | None = None) -> list[Verdict]:
        """Raises Undecided, with the verdicts given so far, on Ctrl-C or when a server is lost."""
        rubrics = self.writer.rubrics(items, self.cfg.scenario)
        requests = [pair_messages(i, r, critique=self.cfg.critique) for i, r in zip(items, rubrics)]
        return self.writer.verdicts(requests, rubrics, _vote, progress)


@register(
    "judge",
    "critique_grade",
    source="arXiv:2310.05470 (Auto-J) section 3, single-response critique and rating; wording ours",
    config=AskingGrade,
    protocol="single",
)
class CritiqueGrade:
    """A model criticises one answer in writing and ends with a grade, 1 to 10; the mean grade over several samples.

    Known right answers of an item are shown to it. A grade outside the range is no verdict; nothing is clipped.
    """

    reads_norms = True
    needs_model = True

    def __init__(self, cfg: AskingGrade | None = None, means: Means | None = None) -> None:
        self.cfg = cfg or AskingGrade()
        if self.cfg.high <= self.cfg.low:
            raise UsageError(f"grades run from low to high, got low={self.cfg.low} and high={self.cfg.high}.")
        self.writer = _Writer(self.cfg, means)

    @property
    def middle(self) -> float:
        return (self.cfg.low + self.cfg.high) / 2

    def grade(self, items: Sequence[Answer], *, progress: Progress | None = None) -> list[Verdict]:
        """Raises Undecided, with the verdicts given so far, on Ctrl-C or when a server is lost."""
        cfg = self.cfg
        rubrics = self.writer.rubrics(items, cfg.scenario)
        requests = [
            grade_messages(i, r, critique=cfg.critique, low=cfg.low, high=cfg.high) for i, r in zip(items, rubrics)
        ]
        return self.writer.verdicts(requests, rubrics, self._mean, progress)

    def _mean(self, written: Written, rubric: Rubric) -> Verdict:
        raw, meta = _raw(written), _meta(written, rubric)
        grades = [g for t in written.texts if (g := parse_grade(t, self.cfg.low, self.cfg.high)) is not None]
        if not grades:
            return Verdict(raw=raw, why=written.why or "unparsed", meta=meta)
        return Verdict(grade=sum(grades) / len(grades), raw=raw, meta=meta | {"grades": grades})


def _undecided(stopped: WritingStopped, done: Mapping[int, Verdict]) -> Undecided:
    return (JudgingInterrupted if stopped.by_user else JudgingStopped)(stopped.letter, done)


def _vote(written: Written, rubric: Rubric) -> Verdict:
    """The plurality of the parsed verdicts; a tie where the lead is shared."""
    raw, meta = _raw(written), _meta(written, rubric)
    votes: Counter[Winner] = Counter(w for t in written.texts if (w := parse_winner(t)) is not None)
    n = sum(votes.values())
    if n == 0:
        return Verdict(raw=raw, why=written.why or "unparsed", meta=meta)
    if len(written.texts) == 1:
        return Verdict(next(iter(votes)), raw=raw, meta=meta)
    (winner, most), *others = votes.most_common()
    if others and others[0][1] == most:
        winner = "tie"
    return Verdict(winner, None, (votes["A"] + votes["tie"] / 2) / n, raw, "", meta | {"votes": dict(votes)})


def _raw(written: Written) -> str:
    return "\n\n---\n\n".join(written.texts)


def _meta(written: Written, rubric: Rubric) -> dict[str, Any]:
    return {"rubric": rubric.name} | ({"asked": len(written.texts)} if len(written.texts) > 1 else {})
