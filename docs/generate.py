"""Writes the generated pages: docs/recipes.md from the configs. `python docs/generate.py`; a test keeps it current."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel

from theodolite import registry
from theodolite.runs.recipe import Head

HEADER = """# Recipes

A recipe is one YAML file: a model, a seed, and steps in order. `theodolite run RECIPE` does it, `theodolite plan
RECIPE` looks at it first. Any option can be set on the command line: `theodolite run r.yaml seed=1
steps.align.epochs=2` (a step is named by its `name`, which is its kind unless given).

Relative paths are read from the recipe's folder, `~` and `$VARIABLES` are filled in. An unknown key is an error that
names the nearest right one. Finished steps are kept in `RUNS/cache` by the hash of everything that went into them
(options, seed, model, files, this package's code), so a second run or a killed one does not redo them.

This page is generated from the code by `python docs/generate.py`.
"""


def inner(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [m for a in get_args(annotation) for m in inner(a)]


def kind(annotation: Any) -> str:
    text = annotation.__name__ if isinstance(annotation, type) else str(annotation)
    return text.replace("typing.", "").replace("theodolite.", "").replace("|", "or")


def table(config: type[BaseModel], title: str, done: set[type]) -> str:
    """One table a config class, then the tables of the configs inside it."""
    lines = [f"\n{title}\n", "| option | type | default | what it is |", "|---|---|---|---|"]
    later = []
    for name, field in config.model_fields.items():
        if config is Head and name == "steps":
            continue
        default = "required" if field.is_required() else field.get_default(call_default_factory=True)
        if isinstance(default, BaseModel):
            default = "see below"
        nested = [m for m in inner(field.annotation) if m not in done]
        later += [(m, name) for m in nested]
        text = " ".join((field.description or "").split()).replace("|", "or")
        type_ = " or ".join(m.__name__.lower() for m in inner(field.annotation)) or kind(field.annotation)
        lines.append(f"| `{name}` | {type_} | {default if default != '' else 'empty'} | {text} |")
    for model, name in later:
        if model not in done:
            done.add(model)
            lines.append(table(model, f"### `{name}:`", done))
    return "\n".join(lines) + "\n"


def recipes() -> str:
    done: set[type] = set()
    parts = [HEADER, table(Head, "## The head", done)]
    for entry in registry.entries("step"):
        assert entry.config is not None
        parts.append(table(entry.config, f"## `step: {entry.name}`\n\n{entry.summary}", done))
    return "\n".join(parts)


if __name__ == "__main__":
    Path(__file__).with_name("recipes.md").write_text(recipes(), encoding="utf-8")
