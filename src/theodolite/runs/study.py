"""A study: many objectives on one data set with one budget, several seeds, from one or more starting models.

    name: dpo_variants
    objectives: [dpo, ipo, {name: kto, beta: 0.1}]
    seeds: 3
    scenarios: [{name: instruct, model: smollm2-135m-instruct}, {name: sft, model: ..., before: {objective: sft}}]
    curate: {read: {path: pairs.jsonl}, held_out: 100}
    align: {max_steps: 100, batch: 8}
    sensitivity: [0.3, 3]

Every cell (scenario, seed, objective, strength) is an ordinary run: curate, align. So finished cells are not redone, cells
with one kind of data share their curate step, and all share the reference's log-probs on disk. Then every aligned model
of a scenario and seed is asked the same held-out pairs. A difference between two objectives is taken pair by pair;
pairs of one prompt, over all seeds, are one unit of the paired bootstrap, and the seeds' own differences stand beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator, model_validator

from theodolite.config import Config, Source
from theodolite.errors import ConfigError
from theodolite.models.load import ModelConfig
from theodolite.objectives.combine import parse
from theodolite.runs.recipe import Recipe, parse_recipe

Row = dict[str, Any]


class Scenario(Config):
    """A model to start from."""

    name: str = Field("start", pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")
    """short name, letters, digits, - and _"""
    title: str = ""
    """one line for the report"""
    model: ModelConfig = ModelConfig()
    """the model, or what `before` is done to; a name alone will do"""
    before: dict[str, Any] | None = None
    """options of align for a first training on the same data, whose result is the starting model"""

    @field_validator("model", mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value


class Study(Config):
    """What is compared with what, on what."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")
    """short name of the study; it becomes a folder"""
    title: str = ""
    """one line for the report"""
    objectives: list[Any] = Field(min_length=1)
    """objectives as align takes them: a name, a name with options, or a list that is summed; the first is the baseline"""
    seeds: list[int] = Field(default_factory=lambda: [0, 1, 2], min_length=1)
    """seeds of everything that is chance: split, adapter, order; a number n means 0 to n - 1"""
    scenarios: list[Scenario] = Field(default_factory=lambda: [Scenario()], min_length=1)
    """starting models"""
    curate: dict[str, Any]
    """options of the curate step, with held_out; each objective gets its own kind of data from it"""
    align: dict[str, Any] = Field(default_factory=dict)
    """options of the align step that all objectives share: the budget"""
    sensitivity: list[float] = Field(default_factory=list)
    """factors on each objective's main hyperparameter (its strength), tried beside its own value"""
    sensitivity_seeds: int = Field(1, gt=0)
    """seeds for those factors, the first ones of `seeds`"""
    level: float = Field(0.95, gt=0, lt=1)
    """coverage of the intervals"""

    @field_validator("seeds", mode="before")
    @classmethod
    def _counted(cls, value: Any) -> Any:
        return list(range(value)) if isinstance(value, int) and not isinstance(value, bool) else value

    @field_validator("sensitivity")
    @classmethod
    def _positive(cls, value: list[float]) -> list[float]:
        if any(not x > 0 or x == 1 for x in value):
            raise ValueError("factors are above 0, and not 1, which is always there")
        return value

    @model_validator(mode="after")
    def _distinct(self) -> Study:
        for objective in self.objectives:
            parse(_rows(objective))  # a misspelt one is told before anything is run
        for what, names in (("objectives", [label(o) for o in self.objectives]), ("seeds", self.seeds)):
            if len(set(names)) < len(names):
                raise ValueError(f"{what} holds one thing twice: {', '.join(map(str, names))}")
        if len({s.name for s in self.scenarios}) < len(self.scenarios):
            raise ValueError("two scenarios have one name")
        if "objective" in self.align:
            raise ValueError("align.objective is what the study varies; list them under objectives")
        if "view" in self.curate:
            raise ValueError("curate.view follows from each objective; leave it out")
        if not self.curate.get("held_out", 0.1):
            raise ValueError("a study compares on held-out pairs, so curate.held_out must be above 0")
        return self


@dataclass(frozen=True, slots=True)
class Cell:
    """One run of a study. factor: what its objective's strength was multiplied by; 1 is its own value."""

    scenario: Scenario
    seed: int
    objective: Any
    factor: float = 1.0

    @property
    def label(self) -> str:
        return label(self.objective)


def read_study(path: str | Path, overrides: Sequence[str] = ()) -> tuple[Study, Path]:
    """The study in a file, and the folder from which its relative paths are read."""
    path = Path(path)
    return Source.read(path).override(overrides).validate(Study), path.resolve().parent


def label(objective: Any) -> str:
    """What an objective is called in the study: `dpo`, `dpo beta=0.3`, `dpo + 0.2 sft`."""
    rows = _rows(objective)
    if len(rows) > 1:
        return parse(rows).title
    options = ", ".join(f"{k}={v}" for k, v in rows[0].items() if k not in ("name", "weight"))
    return f"{rows[0].get('name')} {options}".strip()


def cells(study: Study) -> list[Cell]:
    """Every run, the plain comparison first, then the sensitivity."""
    plain = [Cell(sc, s, o) for sc in study.scenarios for s in study.seeds for o in study.objectives]
    varied = [
        Cell(sc, s, o, factor)
        for sc in study.scenarios
        for s in study.seeds[: study.sensitivity_seeds]
        for o in study.objectives
        if strength(o) is not None
        for factor in study.sensitivity
    ]
    return plain + varied


def strength(objective: Any) -> tuple[str, float] | None:
    """Name and value of the main hyperparameter of an objective's main term; None where it declares none, or 0."""
    made = parse(_rows(objective))
    entry, cfg, _ = next(t for t in made.terms if t[0] is made.main)
    value = getattr(cfg, entry.strength) if entry.strength else None
    return (entry.strength, float(value)) if value else None


def scaled(objective: Any, factor: float) -> list[Row]:
    """The objective with its strength multiplied by `factor`."""
    rows = [dict(row) for row in _rows(objective)]
    found = strength(objective)
    if factor == 1 or found is None:
        return rows
    main = parse(rows).main.name
    for row in rows:
        if row["name"] == main:
            row[found[0]] = found[1] * factor
    return rows


def recipe_of(study: Study, cell: Cell, model: ModelConfig, folder: Path) -> Recipe:
    """The run of one cell: curate for the objective's kind of data, align."""
    rows = scaled(cell.objective, cell.factor)
    steps = [{"step": "curate", **study.curate}, {"step": "align", **study.align, "objective": rows}]
    slug = "-".join([study.name, cell.scenario.name, parse(rows).main.name])
    return recipe_named(slug, cell.seed, model, steps, folder)


def start_of(study: Study, scenario: Scenario, seed: int, folder: Path) -> Recipe | None:
    """The first training of a scenario that has one; its merged model is where the objectives start."""
    if scenario.before is None:
        return None
    before = {"objective": "sft", **scenario.before}
    steps = [
        {"step": "curate", **study.curate},
        {"step": "align", **before, "merge": before.get("lora", {}) is not None},
    ]
    return recipe_named(f"{study.name}-{scenario.name}-start", seed, here(scenario.model, folder), steps, folder)


def _rows(objective: Any) -> list[Row]:
    rows = objective if isinstance(objective, list) else [objective]
    return [{"name": r} if isinstance(r, str) else dict(r) if isinstance(r, Mapping) else {"name": r} for r in rows]


def recipe_named(slug: str, seed: int, model: ModelConfig, steps: list[Row], folder: Path) -> Recipe:
    name = "".join(c if c.isalnum() or c in "-_" else "-" for c in slug)
    body = {"name": name, "seed": seed, "model": model.model_dump(mode="json"), "steps": steps}
    try:
        return parse_recipe(Source(body, {}, "the study"), folder)
    except ConfigError as error:
        raise ConfigError(f"the study's run {name} cannot be meant: {error}") from None


def here(model: ModelConfig, folder: Path) -> ModelConfig:
    """The model with files beside the study found from wherever it is run."""
    changes = {}
    for key in ("name", "adapter", "chat_template"):
        value = getattr(model, key)
        if value is not None and (folder / value).exists():
            changes[key] = str((folder / value).resolve())
    return model.model_copy(update=changes)
