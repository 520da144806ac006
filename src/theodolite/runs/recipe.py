"""A recipe: model, steps, seed. Steps are parts of the registry, so another package can bring its own."""

from __future__ import annotations

import hashlib
import json
import os
import re
import string
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import Field, field_validator

from theodolite import registry
from theodolite.config import Config, Source
from theodolite.errors import ConfigError, did_you_mean
from theodolite.models.load import ModelConfig


class Head(Config):
    """What a recipe says before its steps."""

    name: str
    """short name of the run, letters, digits, - and _"""
    title: str = ""
    """one line for the report"""
    seed: int = Field(0, ge=0)
    """all chance in the run comes from this number"""
    model: ModelConfig = ModelConfig()
    """the model to measure and turn; a name alone will do"""
    steps: list[dict[str, Any]] = Field(min_length=1)
    """what to do, in order: curate, align, measure, report"""

    @field_validator("name")
    @classmethod
    def _slug(cls, value: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", value):
            raise ValueError("a run's name may hold letters, digits, - and _, for it becomes a folder")
        return value

    @field_validator("model", mode="before")
    @classmethod
    def _model(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value


@dataclass(frozen=True, slots=True)
class Step:
    kind: str
    name: str
    config: Config
    function: Any


@dataclass(frozen=True, slots=True)
class Recipe:
    head: Head
    steps: tuple[Step, ...]
    folder: Path
    """relative paths in the recipe are read from here"""

    def resolved(self) -> dict[str, Any]:
        """Everything spelled out, defaults included; running it again is running the same."""
        body = self.head.model_dump(mode="json")
        body["steps"] = [{"step": s.kind, "name": s.name, **s.config.model_dump(mode="json")} for s in self.steps]
        return body

    def to_yaml(self) -> str:
        return yaml.safe_dump(self.resolved(), sort_keys=False, allow_unicode=True)

    def path(self, text: str) -> str:
        """A path of the recipe: `~` and environment variables filled in, relative ones taken from its folder, else from here."""
        shared = {"THEODOLITE_SHARED": os.environ.get("THEODOLITE_SHARED", "../shared")}
        expanded = os.path.expanduser(string.Template(text).safe_substitute(shared | dict(os.environ)))
        beside = self.folder / expanded
        return str(beside) if beside.exists() else expanded

    @property
    def hash(self) -> str:
        text = json.dumps(self.resolved(), sort_keys=True) + str(self.folder)
        return hashlib.sha256(text.encode()).hexdigest()[:8]


def read_recipe(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read, override (`steps.align.epochs=2`), and check all of it before anything is loaded."""
    path = Path(path)
    return parse_recipe(Source.read(path).override(overrides), path.resolve().parent)


def parse_recipe(source: Source, folder: Path) -> Recipe:
    head = source.validate(Head)
    steps: list[Step] = []
    known = registry.names("step")
    for i, row in enumerate(head.steps):
        row = dict(row)
        kind = row.pop("step", None)
        at = source.where(("steps", i))
        if kind is None:
            raise ConfigError(
                f"{at}: this step does not say what it is. Begin it with 'step:' and one of {', '.join(known)}."
            )
        if kind not in known:
            raise ConfigError(
                f"{at}: no step is called '{kind}'.{did_you_mean(str(kind), known)} There are: {', '.join(known)}."
            )
        name = str(row.pop("name", kind))
        if name in {s.name for s in steps}:
            raise ConfigError(f"{at}: two steps are called '{name}'. Give one of them another name: name: {name}-2.")
        entry = registry.get("step", kind)
        assert entry.config is not None
        config = source.validate(entry.config, ("steps", i), row)
        steps.append(Step(kind, name, config, entry.function))
    return Recipe(head, _viewed(steps, source), folder)


def _viewed(steps: list[Step], source: Source) -> tuple[Step, ...]:
    """A curate step whose view is auto gets the kind of data that the next align step's objective declares."""
    from theodolite.objectives.combine import parse

    made = []
    for i, step in enumerate(steps):
        if getattr(step.config, "view", None) == "auto":
            needs = [parse(s.config.objective).data for s in steps[i:] if hasattr(s.config, "objective")]
            view = needs[0] if needs else "pairs"
            body = step.config.model_dump() | {"view": view}
            if view not in get_args(type(step.config).model_fields["view"].annotation):
                raise ConfigError(f"the objective needs data of kind '{view}', which no curate step makes yet.")
            config = source.validate(type(step.config), ("steps", i), body)
            step = Step(step.kind, step.name, config, step.function)
        made.append(step)
    return tuple(made)
