"""The nouns of judging: what a judge is asked, what it answers, and the protocol it keeps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

from theodolite.errors import ServerError
from theodolite.types import Message

Winner = Literal["A", "B", "tie"]
Progress = Callable[[int, int], None]
"""progress(done, total), in requests"""

SWAPPED: dict[Winner, Winner] = {"A": "B", "B": "A", "tie": "tie"}


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two answers to one prompt, in the order in which they are shown: A first, then B.

    references: known right answers, for judges that need them. scenario: the kind of task, where it is known.
    """

    prompt: tuple[Message, ...]
    a: str
    b: str
    id: str = ""
    references: tuple[str, ...] = ()
    scenario: str = ""

    @classmethod
    def of(cls, prompt: str, a: str, b: str, *, id: str = "", references: Sequence[str] = ()) -> Comparison:
        return cls((Message("user", prompt),), a, b, id, tuple(references))

    def swapped(self) -> Comparison:
        """The same pair with B shown first."""
        return Comparison(self.prompt, self.b, self.a, self.id, self.references, self.scenario)


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer to one prompt."""

    prompt: tuple[Message, ...]
    text: str
    id: str = ""
    references: tuple[str, ...] = ()
    scenario: str = ""

    @classmethod
    def of(cls, prompt: str, text: str, *, id: str = "", references: Sequence[str] = ()) -> Answer:
        return cls((Message("user", prompt),), text, id, tuple(references))


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a judge said of one item.

    winner: 'A', 'B' or 'tie' of a comparison; None where there is no verdict. Nonsense is never a tie.
    grade: of a single answer, in the judge's own range, higher is better; None where there is no verdict.
    probability: that A is better (comparison) or that the answer is right (grading), where the judge gives one.
    raw: what the judge wrote, or the numbers it compared. why: the reason where there is no verdict.
    meta: how it came about: scenario, votes of a jury, how often it was asked.
    """

    winner: Winner | None = None
    grade: float | None = None
    probability: float | None = None
    raw: str = ""
    why: str = ""
    meta: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def missing(cls, why: str, raw: str = "") -> Verdict:
        return cls(raw=raw, why=why)

    def swapped(self) -> Verdict:
        """The same opinion with the letters exchanged, for a pair that was shown the other way round."""
        winner = None if self.winner is None else SWAPPED[self.winner]
        probability = None if self.probability is None else 1 - self.probability
        return Verdict(winner, self.grade, probability, self.raw, self.why, self.meta)

    def to_json(self) -> dict[str, Any]:
        """Without empty fields; `from_json` is its inverse."""
        return {k: v for k, v in asdict(self).items() if v not in (None, "", {})}

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Verdict:
        return cls(**row)


class PairJudge(Protocol):
    """Says which of two answers is better.

    sees_order: False promises that exchanging the answers exchanges the verdict, so that one look is enough.
    """

    sees_order: bool

    def compare(self, items: Sequence[Comparison], *, progress: Progress | None = None) -> list[Verdict]:
        """One verdict an item, in the order given."""


@runtime_checkable
class GradingJudge(Protocol):
    """Grades single answers. middle: grades from here on mean 'good' where a yes or no is asked for."""

    middle: float

    def grade(self, items: Sequence[Answer], *, progress: Progress | None = None) -> list[Verdict]:
        """One verdict an item, in the order given."""


Judge = PairJudge | GradingJudge


class Undecided(BaseException):
    """Judging ended before its end: Ctrl-C (`JudgingInterrupted`) or a lost server (`JudgingStopped`).

    done: the verdicts that were given, by place in the list.
    """

    def __init__(self, letter: str, done: Mapping[int, Verdict]) -> None:
        super().__init__(letter)
        self.done = dict(done)

    def about(self, done: Mapping[int, Verdict]) -> Undecided:
        """The same end, for a judge that makes other verdicts of what was given."""
        return type(self)(str(self), done)


class JudgingStopped(Undecided, ServerError):
    """The server stopped answering in the middle."""


class JudgingInterrupted(Undecided, KeyboardInterrupt):
    """Ctrl-C in the middle; a KeyboardInterrupt to everyone who does not ask what is done."""
