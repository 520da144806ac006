"""Writes docs/recipes.md from the configs and docs/objectives.md from the registry.

`python docs/generate.py`; a test keeps both current.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel

from theodolite import registry
from theodolite.runs.recipe import Head
from theodolite.training.bundles import KINDS

HEADER = """# Recipes

A recipe is one YAML file: a model, a seed, and steps in order. `theodolite run RECIPE` does it, `theodolite plan
RECIPE` looks at it first. Any option can be set on the command line: `theodolite run r.yaml seed=1
steps.align.epochs=2` (a step is named by its `name`, which is its kind unless given).

Relative paths are read from the recipe's folder, else from the current one; `~` and `$VARIABLES` are filled in. An unknown key is an error that
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


OBJECTIVES = """# Objectives

Every objective is a pure function of per-token log-probs, usable from a recipe (`objective: NAME` or
`{name: NAME, option: value}`, or a weighted list) and in the exact worlds. `theodolite show NAME` prints an entry,
`theodolite loss NAME --data FILE.json` evaluates one on given numbers, `conformance/objectives.json` holds reference
vectors for testing another implementation against this one.

This page is generated from the code by `python docs/generate.py`.

## Which one?

| I have | start with | why |
|---|---|---|
| pairs, chosen and rejected | `dpo` with 0.1 of `sft` | the reference point; the sft term holds the chosen answers up |
| pairs, some labelled the wrong way round | `robust_dpo`, `cdpo` | unbiased under a known rate of flips; or merely smoothed |
| pairs whose chosen answers are mostly longer | `ln_dpo`, `simpo` | log-probs per token, so length is worth nothing by itself |
| pairs and no memory for a reference | `simpo`, `orpo`, `cpo` | no reference pass |
| thumbs up and down, not paired | `kto`, `bco` | need labels alone |
| only bad examples | `npo`, `d2o` | move away from them; d2o holds on to the model's own samples |
| ranked or scored lists | `rrhf`, `pro`, `aft` | use the whole list |
| verdicts sentence by sentence | `mask_dpo` | learns from the true sentences of the one and the false ones of the other |
| written judgments | `cut` | finds the inappropriate tokens through the judgment |
| edits of the model's text | `salt` | raises what was written, lowers what was struck out |
| several wrong answers in a long context | `logo` | many negatives, no reference |
| good demonstrations | `sft`, `constrained_sft` | the second keeps the first tokens near the reference |
"""


def facts(entry: registry.Entry) -> str:
    """What an objective needs, in words."""
    needs = [f"data: {entry.data}"]
    needs += ["a reference"] if entry.reference else ["no reference"]
    needs += [f"extras: {', '.join(entry.extras)}"] if entry.extras else []
    needs += [f"shared by a step: {', '.join(entry.shared)}"] if entry.shared else []
    needs += [f"conventions: {', '.join(entry.conventions)}"] if entry.conventions else []
    needs += [] if entry.data in KINDS and set(entry.extras) <= {"log1mp"} else ["no recipe feeds it yet"]
    needs += ["experimental: the formula is ours or unverified"] if entry.experimental else []
    return "; ".join(needs)


def objectives() -> str:
    parts = [OBJECTIVES]
    for entry in registry.entries("objective"):
        text = inspect.getdoc(entry.function) or ""
        parts.append(f"\n## {entry.name}\n\n*{entry.source}. {facts(entry)}.*\n\n```text\n{text}\n```\n")
        rows = [
            f"| `{n}` | {f.get_default(call_default_factory=True)} | {' '.join((f.description or '').split())} |"
            for n, f in (getattr(entry.config, "model_fields", None) or {}).items()
        ]
        if rows:
            parts.append("\n".join(["| option | default | what it is |", "|---|---|---|", *rows]) + "\n")
    return "\n".join(parts)


PAGES = {"recipes.md": recipes, "objectives.md": objectives}

if __name__ == "__main__":
    for name, page in PAGES.items():
        Path(__file__).with_name(name).write_text(page(), encoding="utf-8")
