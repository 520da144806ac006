"""Norm sets: what a judge is told to care about, as data. A YAML file by the user, or ours by kind of task.

    name: short-answers
    role: You review answers for a help desk whose readers are in a hurry.
    norms:
      - {name: correct, text: "What it says is true and fits the question.", weight: 5}
      - {name: short, text: "It says nothing that the reader did not need.", weight: 3}

Weights run from 1 (matters little) to 5 (decides). They are told to the judge in words beside each norm; with
`norms: apart` each norm is judged by itself and the weights weigh the votes.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from pydantic import Field, field_validator

from theodolite.config import Config, Source
from theodolite.errors import UnknownName, did_you_mean
from theodolite.types import Message


class Norm(Config):
    """One thing to care about."""

    name: str = Field(min_length=1, max_length=60)
    """a short name, unique within the rubric"""
    text: str = Field(min_length=1)
    """what a good answer does, in a sentence or two"""
    weight: int = Field(3, ge=1, le=5)
    """from 1, matters little, to 5, decides"""

    @field_validator("name", "text")
    @classmethod
    def _said(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("must say something")
        return " ".join(value.split())


class Rubric(Config):
    """A role and weighted norms."""

    name: str = "unnamed"
    """for the record"""
    role: str = Field("You are a careful and fair judge of answers.", min_length=1)
    """who the judge is; the first sentence it reads"""
    norms: tuple[Norm, ...] = Field(min_length=1)
    """what it cares about"""

    @field_validator("norms")
    @classmethod
    def _distinct(cls, value: tuple[Norm, ...]) -> tuple[Norm, ...]:
        names = [n.name for n in value]
        if twice := sorted({n for n in names if names.count(n) > 1}):
            raise ValueError(f"the norm '{twice[0]}' stands twice; keep one")
        return value

    def lines(self) -> str:
        """The norms as numbered lines, the weightiest first."""
        ordered = sorted(self.norms, key=lambda n: -n.weight)
        return "\n".join(f"{i}. {n.name} (weight {n.weight} of 5): {n.text}" for i, n in enumerate(ordered, 1))

    def apart(self) -> list[tuple[Rubric, int]]:
        """One rubric a norm, with its weight."""
        return [
            (self.model_copy(update={"name": f"{self.name}/{n.name}", "norms": (n,)}), n.weight) for n in self.norms
        ]


class Scenario(Config):
    """A kind of task, how to know it, and what matters there beside the common norms."""

    about: str
    """what tasks these are, for a model that chooses"""
    cues: tuple[str, ...] = ()
    """words of an instruction that speak for it"""
    norms: tuple[Norm, ...] = ()
    """beside those that all scenarios share"""


class Scenarios(Config):
    """The file of scenarios."""

    role: str
    """for all of them"""
    common: tuple[Norm, ...]
    """norms that all share"""
    scenarios: dict[str, Scenario]
    """by name"""

    def rubric(self, name: str) -> Rubric:
        """The rubric of a scenario: its own norms and the common ones; 'default' has the common ones alone."""
        if name != "default" and name not in self.scenarios:
            known = ["default", *self.scenarios]
            raise UnknownName(
                f"no scenario is called '{name}'.{did_you_mean(name, known)} There are: {', '.join(known)}."
            )
        own = () if name == "default" else self.scenarios[name].norms
        taken = {n.name for n in own}
        return Rubric(name=name, role=self.role, norms=own + tuple(n for n in self.common if n.name not in taken))

    def guess(self, prompt: Sequence[Message]) -> str:
        """The scenario with the most cues in the last user turn; 'default' where none or two are ahead.

        A rule, not a reader: cues count as whole words, each once, and 'write an email' counts as one cue.
        """
        asked = next((m.content for m in reversed(prompt) if m.role == "user"), "").lower()
        counts = {name: sum(_has(asked, cue) for cue in s.cues) for name, s in self.scenarios.items()}
        top = max(counts.values(), default=0)
        best = [name for name, n in counts.items() if n == top]
        return best[0] if top and len(best) == 1 else "default"


def read_rubric(path: str | Path) -> Rubric:
    """A rubric file; a mistake is answered with key, nearest right key, file and line."""
    return Source.read(path).validate(Rubric)


@functools.cache
def scenarios() -> Scenarios:
    """Ours: eight kinds of task after the groups of Auto-J (arXiv:2310.05470), criteria in our own words."""
    text = (resources.files("theodolite.judges") / "templates" / "scenarios.yaml").read_text(encoding="utf-8")
    return Source.parse(text, "scenarios.yaml").validate(Scenarios)


def _has(text: str, cue: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(cue)}(?!\w)", text) is not None
