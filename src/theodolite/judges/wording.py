"""From a request, its answers and a rubric to the messages that a judge is sent."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from importlib import resources
from string import Template

import yaml

from theodolite.judges.rubric import Rubric, scenarios
from theodolite.judges.verdict import Answer, Comparison
from theodolite.types import Message

NAMES = ("A", "B")
TIE = "tie"


@functools.cache
def asks() -> Mapping[str, Mapping[str, str]]:
    """Our templates by name; each has a system and a user text."""
    text = (resources.files("theodolite.judges") / "templates" / "asks.yaml").read_text(encoding="utf-8")
    found: dict[str, dict[str, str]] = yaml.safe_load(text)
    return found


def pair_messages(item: Comparison, rubric: Rubric, *, critique: bool, tie: bool = True) -> tuple[Message, ...]:
    """The comparison as a request: with a critique before the verdict, or for the letter alone."""
    allowed = "A or B" if not tie else "A, B or tie"
    return _filled(
        "pairwise" if critique else "pairwise_short",
        role=rubric.role,
        norms=rubric.lines(),
        request=request(item.prompt),
        a=item.a,
        b=item.b,
        form=f"Write only your verdict: {allowed}.",
    )


def grade_messages(item: Answer, rubric: Rubric, *, critique: bool, low: int, high: int) -> tuple[Message, ...]:
    """The answer as a request for a grade; known right answers are shown where there are any."""
    known = "".join(f"\n[A right answer]\n{r}\n[End of right answer]\n" for r in item.references)
    return _filled(
        "grade" if critique else "grade_short",
        role=rubric.role,
        norms=rubric.lines(),
        request=request(item.prompt),
        answer=item.text,
        known=known,
        low=str(low),
        high=str(high),
    )


def scenario_messages(prompt: Sequence[Message]) -> tuple[Message, ...]:
    """The request, to be sorted into one of our kinds."""
    kinds = "\n".join(f"- {name}: {s.about}" for name, s in scenarios().scenarios.items())
    return _filled("scenario", kinds=kinds, request=request(prompt))


def request(prompt: Sequence[Message]) -> str:
    """One user turn as it is; a conversation with its speakers named."""
    spoken = [m for m in prompt if m.content.strip()]
    if len(spoken) == 1 and spoken[0].role == "user":
        return spoken[0].content
    return "\n\n".join(f"{m.role.capitalize()}: {m.content}" for m in spoken)


def _filled(name: str, **values: str) -> tuple[Message, ...]:
    ask = asks()[name]
    turns = ((role, Template(ask[role]).substitute(values)) for role in ("system", "user"))
    return tuple(Message(role, text) for role, text in turns)
