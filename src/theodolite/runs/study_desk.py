"""Runs a study: its cells one after the other, what they share once, what is done not again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from theodolite.config import dump
from theodolite.errors import StorageError, TheodoliteError, UsageError
from theodolite.models.load import ModelConfig
from theodolite.runs import folder as disk
from theodolite.runs.context import Progress
from theodolite.runs.recipe import Recipe
from theodolite.runs.study import Cell, Row, Scenario, Study, cells, here, recipe_named, recipe_of, start_of, strength
from theodolite.runs.study_compare import compare, mean_or_none

Hear = Callable[[str, str, str], None]


def run_study(
    study: Study,
    folder: Path,
    *,
    home: Path | None = None,
    progress: Progress = lambda what, done, total: None,
    hear: Hear = lambda step, event, text: None,
) -> Row:
    """Run what is not done yet, ask the held-out pairs, compare; writes study.yaml, study.json in RUNS/study-NAME.

    An objective that this data cannot feed is reported with its letter and left out; every other error stops the study,
    and a later call goes on where it stopped.
    """
    home = (home or disk.runs_home()).resolve()
    desk = Desk(study, folder, home, progress, hear)
    todo, found, failed = cells(study), [], {}
    for cell in todo:  # every recipe is checked before the first is run
        recipe_of(study, cell, cell.scenario.model, folder)
    for number, cell in enumerate(todo):
        progress("study", number, len(todo))
        key = (cell.scenario.name, cell.label)
        if key in failed:
            continue
        try:
            found.append(desk.row(cell))
        except StorageError:
            raise
        except TheodoliteError as error:
            failed[key] = str(error).splitlines()[0]
            hear(cell.label, "warning", failed[key])
    progress("study", len(todo), len(todo))
    if not found:
        letters = "\n".join(f"{name}: {why}" for (_, name), why in failed.items())
        raise UsageError(f"no objective of the study could be run:\n{letters}")
    result = compare(study, found)
    result["failed"] = [{"scenario": s, "objective": o, "why": why} for (s, o), why in failed.items()]
    disk.write_text(desk.place / "study.yaml", dump(study))
    disk.write_json(desk.place / "study.json", result)
    return result | {"folder": str(desk.place)}


@dataclass(slots=True)
class Desk:
    """Runs cells one after the other and remembers what several of them share."""

    study: Study
    folder: Path
    home: Path
    progress: Progress
    hear: Hear
    starts: dict[tuple[str, int], tuple[ModelConfig, Path]] = field(default_factory=dict)

    @property
    def place(self) -> Path:
        return self.home / f"study-{self.study.name}"

    def row(self, cell: Cell) -> Row:
        """A cell's run, seconds, losses and, pair by pair, the log-ratios of both answers under its model."""
        from theodolite.runs.study_pairs import ask

        model, held_out = self._start(cell.scenario, cell.seed)
        done = self._run(recipe_of(self.study, cell, model, self.folder))
        losses = [r["loss"] for r in disk.read_lines(done / "training.jsonl") if "loss" in r]
        kept = self.place / "pairs" / f"{done.name}.json"
        stamp = _stamp(done, held_out)
        asked = disk.read_json(kept)
        if asked is None or asked["stamp"] != stamp:
            asked = {"stamp": stamp} | ask(model, done, held_out, self.progress)
            disk.write_json(kept, asked)
        return {
            "scenario": cell.scenario.name,
            "seed": cell.seed,
            "objective": cell.label,
            "factor": cell.factor,
            "strength": strength(cell.objective),
            "run": done.name,
            "seconds": round(sum(s["seconds"] for s in disk.read_json(done / "steps.json", [])), 1),
            "first_loss": mean_or_none(losses[:5]),
            "last_loss": mean_or_none(losses[-5:]),
            "missing": asked["missing"],
            "pairs": asked["pairs"],
        }

    def _start(self, scenario: Scenario, seed: int) -> tuple[ModelConfig, Path]:
        """The model that this scenario's objectives start from with this seed, and the held-out pairs."""
        key = (scenario.name, seed)
        if key not in self.starts:
            model, before = here(scenario.model, self.folder), start_of(self.study, scenario, seed, self.folder)
            if before is not None:
                model = model.model_copy(update={"name": str(self._run(before) / "model"), "adapter": None})
            steps = [{"step": "curate", **self.study.curate, "view": "pairs"}]
            recipe = recipe_named(f"{self.study.name}-{scenario.name}-pairs", seed, model, steps, self.folder)
            step = disk.read_json(self._run(recipe) / "steps.json")[0]
            self.starts[key] = model, self.home / "cache" / f"curate-{step['hash']}" / "held_out.jsonl"
        return self.starts[key]

    def _run(self, recipe: Recipe) -> Path:
        from theodolite.runs.runner import run_recipe

        return run_recipe(recipe, home=self.home, progress=self.progress, hear=self.hear).folder


def _stamp(run: Path, held_out: Path) -> str:
    """Hash of the weights a run left and of the pairs, so that another training, or other pairs, are asked again."""
    digest = hashlib.sha256()
    for file in sorted([held_out, *run.glob("adapter/*.safetensors"), *run.glob("model/*.safetensors")]):
        with open(file, "rb") as handle:
            digest.update(hashlib.file_digest(handle, "sha256").digest())
    return digest.hexdigest()[:16]
