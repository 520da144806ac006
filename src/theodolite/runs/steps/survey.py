"""survey: one or more models asked the same questions; each model is loaded once and asks nothing twice."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, Self

import numpy as np
from pydantic import Field, field_validator, model_validator

from theodolite import registry
from theodolite.config import Config, Source
from theodolite.errors import DataError, ModelError, UsageError
from theodolite.measures.paired import paired
from theodolite.models.load import ModelConfig, load_model
from theodolite.registry import register
from theodolite.runs.context import Context
from theodolite.runs.folder import read_json, write_json
from theodolite.types import Reading


class Survey(Config):
    """Which models are asked what."""

    surveys: list[str | dict[str, Any]] | Literal["all"] = "all"
    """names of surveys (`theodolite list survey`), or {name: NAME, option: value, ...}; all by default"""
    models: tuple[ModelConfig, ...] = ()
    """further models beside the recipe's own; each is asked the same items"""
    limit: int | None = Field(None, gt=0)
    """most items a survey, for those that do not say their own"""
    level: float = Field(0.95, gt=0, lt=1)
    """coverage of the intervals"""
    rows: int = Field(128, gt=0)
    """answers decoded side by side"""

    @field_validator("models", mode="before")
    @classmethod
    def _names(cls, value: Any) -> Any:
        return [{"name": v} if isinstance(v, str) else v for v in value] if isinstance(value, list) else value

    @model_validator(mode="after")
    def _known(self) -> Self:
        self.asked()
        return self

    def asked(self) -> list[tuple[registry.Entry, Config]]:
        """Each survey with its options, all checked before a model is loaded."""
        rows = registry.names("survey") if self.surveys == "all" else self.surveys
        made = []
        for row in rows:
            body = {"name": row} if isinstance(row, str) else dict(row)
            name = body.pop("name", None)
            if name is None:
                raise UsageError(f"a survey in the list does not say its name: {row!r}.")
            entry = registry.get("survey", str(name))
            assert entry.config is not None
            own = {"level": self.level} | ({"limit": self.limit} if self.limit is not None else {})
            known = {k: v for k, v in own.items() if k in entry.config.model_fields}
            made.append((entry, Source({}, {}, f"survey {name}").validate(entry.config, data=known | body)))
        if len({e.name for e, _ in made}) < len(made):
            raise UsageError("a survey stands twice in the list; keep one.")
        return made


@register("step", "survey", source="ours", config=Survey)
def survey(context: Context, cfg: Survey) -> str:
    """Ask every model every survey, write readings per model, and compare the models pairwise item by item."""
    asked = cfg.asked()
    models = [context.model, *cfg.models]
    if len({m.name for m in models}) < len(models):
        raise UsageError("a model stands twice in the survey; name each once.")
    found: dict[str, list[Reading]] = {}
    gaps: list[dict[str, str]] = []
    passes: dict[str, dict[str, int]] = {}
    for model in models:
        done = context.folder / f"readings-{len(found)}.json"
        before = read_json(done, None)
        if before is None:
            before = _ask(context, cfg, model, asked)
            write_json(done, before)
        found[model.name] = [Reading(**_restored(r)) for r in before["readings"]]
        gaps += before["gaps"]
        passes[model.name] = before["passes"]
    readings = [replace(r, provenance={**r.provenance, "model": name}) for name, rs in found.items() for r in rs]
    differences = _differences(found, context.seed, cfg.level)
    rows = [_told(r, f"{r.name} · {r.provenance['model']}" if len(models) > 1 else r.name) for r in readings]
    write_json(context.folder / "readings.json", rows + [_told(r, r.name) for r in differences])
    write_json(
        context.folder / "survey.json",
        {
            "models": [m.name for m in models],
            "surveys": [_card(e, c) for e, c in asked],
            "readings": [_told(r, r.name) for r in readings],
            "differences": [_told(r, r.name) for r in differences],
            "gaps": gaps,
            "passes": passes,
        },
    )
    write_json(context.folder / "items.json", _items(found))
    lost = f", {len(gaps)} not done" if gaps else ""
    return (
        f"{len(asked)} surveys of {len(models)} model{'s' if len(models) > 1 else ''}, {len(readings)} readings{lost}"
    )


def _ask(context: Context, cfg: Survey, model: ModelConfig, asked: Sequence[tuple[registry.Entry, Config]]) -> Any:
    """All readings of one model. A survey whose items are missing or that this model cannot take is named as a gap."""
    from theodolite.surveys.subject import Subject

    loaded = context.load() if model == context.model else load_model(model, say=lambda t: context.say("model", t))
    subject = Subject(loaded, folder=context.folder, progress=context.progress, seed=context.seed, rows=cfg.rows)
    if not subject.chat:
        context.say("warning", f"{model.name} has no chat template; it is asked as plain 'Question: ... Answer:'.")
    rows: list[dict[str, Any]] = []
    gaps: list[dict[str, str]] = []
    for number, (entry, options) in enumerate(asked):
        context.progress(f"{model.name}: surveys", number, len(asked))
        rng = np.random.default_rng([context.seed, len(entry.name), *entry.name.encode()])
        try:
            readings = entry.function(subject, options, rng)
        except (DataError, ModelError) as error:
            gaps.append({"model": model.name, "survey": entry.name, "why": str(error)})
            context.say("warning", f"{entry.name} was not asked of {model.name}: {error}")
            continue
        rows += [replace(r, provenance={**subject.protocol, "survey": entry.name}).to_json() for r in readings]
    context.progress(f"{model.name}: surveys", len(asked), len(asked))
    passes = dict(subject.passes)
    del subject, loaded
    gc.collect()
    return {"readings": rows, "gaps": gaps, "passes": passes}


def _restored(row: dict[str, Any]) -> dict[str, Any]:
    return row | {k: float("nan") if row[k] is None else row[k] for k in ("value", "low", "high")}


def _told(reading: Reading, name: str) -> dict[str, Any]:
    """The reading as it is written, without its items (they stand in items.json)."""
    parts = {k: v for k, v in reading.parts.items() if k != "items"}
    return replace(reading, name=name, parts=parts).to_json()


def _items(found: dict[str, list[Reading]]) -> dict[str, Any]:
    return {
        model: {r.name: r.parts["items"] for r in readings if "items" in r.parts} for model, readings in found.items()
    }


def _differences(found: dict[str, list[Reading]], seed: int, level: float) -> list[Reading]:
    """For each reading with items and each model after the first: that model minus the first, paired by item."""
    (first, base), *others = found.items()
    made = []
    for name, readings in others:
        there = {r.name: r for r in readings}
        for a in base:
            b = there.get(a.name)
            if b is None or not {"items"} <= a.parts.keys() & b.parts.keys():
                continue
            common = [i for i in a.parts["items"] if i in b.parts["items"]]
            x, y = ([[_number(r.parts["items"][i])] for i in common] for r in (a, b))
            rng = np.random.default_rng([seed, *a.name.encode()])
            *_, gap = paired(a.name, x, y, rng, level=level, unit=a.unit, better=a.better)
            made.append(replace(gap, provenance={"model": name, "minus": first, "survey": a.provenance["survey"]}))
    return made


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)


def _card(entry: registry.Entry, options: Config) -> dict[str, Any]:
    return {
        "name": entry.name,
        "question": entry.question,
        "source": entry.source,
        "data": entry.data,
        "not_measured": entry.not_measured,
        "taxonomy": list(entry.taxonomy),
        "options": options.model_dump(mode="json"),
        "protocol": " ".join((entry.function.__doc__ or "").split()),
    }
