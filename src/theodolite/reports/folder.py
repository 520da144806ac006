"""What a run left in its folder, read with patience: a killed run's half-written file is still worth a page."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

import yaml

from theodolite.errors import UsageError
from theodolite.types import Reading

Row = dict[str, Any]
T = TypeVar("T", dict[str, Any], list[Any])

ABSENT: dict[str, str] = {
    "run.json": "the run's identity, versions and machine are unknown",
    "recipe.yaml": "what was asked for cannot be told",
    "steps.json": "the run stopped before its first step was recorded",
    "events.jsonl": "checks and warnings, if there were any, are lost",
    "readings.json": "nothing was measured, or the run stopped before it was",
    "training.jsonl": "nothing was trained, or the run stopped before the first logged step",
    "samples.jsonl": "the run kept none, or stopped before it sampled",
    "data.json": "the rows used and left out were not counted",
}
"""Each file of a run folder, and what its absence means."""


@dataclass(frozen=True)
class RunData:
    """A run folder in memory. `absent` maps each missing file to its meaning; `problems` are letters about broken ones."""

    path: Path
    run: Row = field(default_factory=dict)
    recipe: Row = field(default_factory=dict)
    recipe_text: str = ""
    steps: tuple[Row, ...] = ()
    events: tuple[Row, ...] = ()
    readings: tuple[Reading, ...] = ()
    training: tuple[Row, ...] = ()
    samples: tuple[Row, ...] = ()
    data: Row = field(default_factory=dict)
    absent: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    def reading(self, name: str) -> Reading | None:
        return next((r for r in self.readings if r.name == name), None)

    @property
    def asked(self) -> list[Row]:
        """The recipe's steps, as far as they are steps."""
        steps = self.recipe.get("steps")
        return [s for s in steps if isinstance(s, dict)] if isinstance(steps, list) else []

    def said(self, kind: str) -> list[Row]:
        """The events of one kind, such as 'warning' or 'check', in the order they happened."""
        return [e for e in self.events if e.get("event") == kind and e.get("text")]


def load(run: Path) -> RunData:
    """Read a run folder. Missing and broken files are reported in the result, not raised; a missing folder is."""
    run = Path(run)
    if not run.is_dir():
        raise UsageError(f"there is no run folder {run}. `theodolite runs` lists the runs that there are.")
    problems: list[str] = []
    rows = {name: _rows(run / name, problems) for name in ("events.jsonl", "training.jsonl", "samples.jsonl")}
    text = _text(run / "recipe.yaml", problems)
    return RunData(
        path=run,
        run=_whole(run / "run.json", dict, problems),
        recipe=_recipe(text, problems),
        recipe_text=text,
        steps=tuple(s for s in _whole(run / "steps.json", list, problems) if isinstance(s, dict)),
        events=rows["events.jsonl"],
        readings=tuple(_readings(_whole(run / "readings.json", list, problems), problems)),
        training=rows["training.jsonl"],
        samples=rows["samples.jsonl"],
        data=_whole(run / "data.json", dict, problems),
        absent={name: why for name, why in ABSENT.items() if not (run / name).exists()},
        problems=tuple(problems),
    )


def clean(value: Any) -> Any:
    """The same JSON value with text that can be written anywhere: no lone surrogates, no control characters."""
    if isinstance(value, str):
        text = value.encode("utf-8", "replace").decode("utf-8")
        return "".join(c if c in "\n\t" or (ord(c) >= 32 and not 127 <= ord(c) < 160) else "\ufffd" for c in text)
    if isinstance(value, dict):
        return {clean(str(k)): clean(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [clean(v) for v in value]
    return value


def _text(path: Path, problems: list[str]) -> str:
    """The file's text, or '' where it is missing or cannot be read."""
    try:
        return path.read_bytes().decode("utf-8", "replace")
    except FileNotFoundError:
        return ""
    except OSError as error:
        problems.append(f"{path.name} cannot be read: {error.strerror or error}.")
        return ""


def _whole(path: Path, kind: type[T], problems: list[str]) -> T:
    """A JSON file that should hold a dict or a list; an empty one of that kind where it does not."""
    text = _text(path, problems)
    if not text.strip():
        if path.is_file():
            problems.append(f"{path.name} is empty.")
        return kind()
    try:
        value = clean(json.loads(text))
    except ValueError as error:
        problems.append(f"{path.name} is not valid JSON ({error}); it was left out.")
        return kind()
    if not isinstance(value, kind):
        problems.append(
            f"{path.name} should hold a {kind.__name__}, but holds a {type(value).__name__}; it was left out."
        )
        return kind()
    return value


def _rows(path: Path, problems: list[str]) -> tuple[Row, ...]:
    """The objects of a JSON-lines file; lines that cannot be read (often the last, when a run was killed) are counted."""
    found, bad = [], []
    for number, line in enumerate(_text(path, problems).split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = clean(json.loads(line))
        except ValueError:
            row = None
        if isinstance(row, dict):
            found.append(row)
        else:
            bad.append(number)
    if bad:
        which = ", ".join(map(str, bad[:5])) + (", ..." if len(bad) > 5 else "")
        problems.append(
            f"{path.name}: {len(bad)} of {len(bad) + len(found)} lines cannot be read (line {which}); they were left out."
        )
    return tuple(found)


def _recipe(text: str, problems: list[str]) -> Row:
    try:
        value = yaml.safe_load(text) if text else {}
    except yaml.YAMLError as error:
        problems.append(
            f"recipe.yaml is not valid YAML ({getattr(error, 'problem', error)}); it is shown as it stands."
        )
        return {}
    return clean(value) if isinstance(value, dict) else {}


def _readings(rows: list[Any], problems: list[str]) -> list[Reading]:
    made = []
    for i, row in enumerate(rows):
        try:
            made.append(reading_from(row))
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            problems.append(f"readings.json: entry {i} is not a reading ({error}); it was left out.")
    return made


def reading_from(row: Mapping[str, Any]) -> Reading:
    """The inverse of `Reading.to_json`: null numbers become NaN, keys of a later version are ignored."""
    known = {f.name for f in fields(Reading)}
    made = {k: v for k, v in row.items() if k in known}
    for key in ("value", "low", "high"):
        number = made.get(key)
        made[key] = math.nan if number is None else float(number)
    made["name"] = str(row["name"])
    for key in ("why", "parts", "provenance"):
        made[key] = dict(made.get(key) or {})
    return Reading(**made)
