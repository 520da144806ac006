"""Run folders of theodolite: answers before and after alignment, and the items of surveys.

A measure step leaves the answers of both models. Every answer, where the run's cache is still beside the folder
(`before.jsonl`, `after.jsonl` of the steps), else those kept for looking at in samples.jsonl (up to two a prompt,
which is said). Metrics, a value an answer: pass_rate, pass_rate_loose, constraint_rate (verifiable instructions),
length. A survey step leaves items.json: {model: {reading: {item: value}}}.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from theodolite.data.results.results import Column, Results, digest, number
from theodolite.errors import DataError
from theodolite.rewards.rules import check
from theodolite.types import Example

FORMAT = "theodolite run"
SIDES = ("before", "after")
DECODING = ("temperature", "top_k", "top_p", "min_p", "max_new_tokens", "stop")
Answer = tuple[str, str, Mapping[str, float]]
"""(item, its prompt, metric -> value)"""


def recognises(path: Path) -> bool:
    return any((path / name).is_file() for name in ("run.json", "items.json"))


def read(path: Path) -> list[Results]:
    """Before and after, or one Results a surveyed model, or both."""
    run = _json(path / "run.json", {})
    name = str(run.get("id") or path.name)
    found = _surveyed(path, name) + _answered(path, run, name)
    if not found:
        state = f" It says of itself: {run['status']}." if run.get("status") not in (None, "done") else ""
        raise DataError(
            f"the run {path} holds no items to compare: neither answers (samples.jsonl of a measure step) nor the "
            f"items of a survey (items.json).{state}"
        )
    return found


def _answered(path: Path, run: Mapping[str, Any], name: str) -> list[Results]:
    """The two sides of a measure step."""
    step = _recipe_step(path, "measure")
    model = str((run.get("model") or {}).get("name", "")) if isinstance(run.get("model"), dict) else ""
    kept = _lines(path / "samples.jsonl")
    cached = {side: _cached(path, side) for side in SIDES}
    asked = {e.id for e in cached["after"]}
    made = []
    for side in SIDES:
        whole = [e for e in cached[side] if e.id in asked] if cached["before"] else []
        answers, note = (list(_scored(whole)), "") if whole else (list(_kept(kept, side)), _note(kept))
        if answers:
            made.append(
                Results(
                    name=f"{name} {side}" if side == "before" else name,
                    metrics=_metrics(answers),
                    protocol=_protocol(path, step),
                    about={
                        "model": model + (", aligned" if side == "after" else ""),
                        "date": str(run.get("created", "")),
                    },
                    format=FORMAT,
                    path=str(path),
                    part=side,
                    problems=(note,) if note else (),
                )
            )
    return made if len(made) == len(SIDES) else []


def _metrics(answers: Sequence[Answer]) -> dict[str, Column]:
    names = dict.fromkeys(metric for _, _, values in answers for metric in values)
    made = {}
    for metric in names:
        unit = {"length": "tokens", "characters": "characters"}.get(metric, "share")
        made[metric] = Column.of(
            metric,
            [item for item, _, _ in answers],
            [values.get(metric, math.nan) for _, _, values in answers],
            prompts=tuple(prompt for _, prompt, _ in answers),
            unit=unit,
        )
    return made


def _scored(examples: Iterable[Example]) -> Iterable[Answer]:
    """Every answer of a step's own file, its constraints checked again."""
    for e in examples:
        prompt, rules = digest(e.question), e.meta.get("constraints")
        for r in e.responses:
            values: dict[str, float] = {}
            if rules:
                strict, loose = check(rules, r.text), check(rules, r.text, loose=True)
                values["pass_rate"] = float(all(strict.values()))
                values["pass_rate_loose"] = float(all(loose.values()))
                values["constraint_rate"] = sum(strict.values()) / len(strict)
            values |= {"length": float(len(r.tokens))} if r.tokens else {"characters": float(len(r.text))}
            yield e.id, prompt, values


def _kept(rows: Sequence[Mapping[str, Any]], side: str) -> Iterable[Answer]:
    """The answers of samples.jsonl."""
    for row in rows:
        for answer in row.get(side) or ():
            values: dict[str, float] = {}
            checks = answer.get("checks") or {}
            if checks:
                values["pass_rate"] = float(all(checks.values()))
                values["constraint_rate"] = sum(map(bool, checks.values())) / len(checks)
            elif answer.get("score") is not None:
                values["score"] = number(answer["score"])
            values["characters"] = float(len(str(answer.get("text") or "")))
            yield str(row.get("id")), digest(row.get("prompt") or ""), values


def _note(rows: Sequence[Mapping[str, Any]]) -> str:
    return (
        f"only the answers kept in samples.jsonl were compared ({len(rows)} prompts, up to two answers each); the run's "
        "cache, which has them all, is not beside it"
    )


def _cached(path: Path, side: str) -> list[Example]:
    """All answers of a side, from the newest step that kept them."""
    steps = _json(path / "steps.json", [])
    for step in reversed(steps if isinstance(steps, list) else []):
        if isinstance(step, dict) and step.get("status") == "done":
            file = path.parent / "cache" / f"{step.get('kind')}-{step.get('hash')}" / f"{side}.jsonl"
            if file.is_file():
                return [Example.from_json(row) for row in _lines(file)]
    return []


def _protocol(path: Path, step: Mapping[str, Any]) -> dict[str, str]:
    """From the recipe as it was run."""
    model = _recipe(path).get("model")
    made: dict[str, str] = {}
    if isinstance(model, dict):
        file = model.get("chat_template")
        made["template"] = f"the file {file}" if file else "the model's own chat template"
        made["precision"] = str(model.get("dtype", ""))
    sample = step.get("sample")
    if isinstance(sample, dict):
        remote = sample.get("remote")
        made["backend"] = "a server" if remote else "vllm" if sample.get("vllm") else "theodolite"
        made["decoding"] = ", ".join(f"{k} {sample[k]}" for k in DECODING if sample.get(k) not in (None, [], ()))
    return {k: v for k, v in made.items() if v}


def _surveyed(path: Path, name: str) -> list[Results]:
    """One Results a model of a survey."""
    items = _json(path / "items.json", {})
    survey = _json(path / "survey.json", {})
    cards = {str(c.get("name")): c.get("options") or {} for c in survey.get("surveys", ()) if isinstance(c, dict)}
    made = []
    for model, readings in items.items():
        told = {
            str(r.get("name")): r
            for r in survey.get("readings", ())
            if isinstance(r, dict) and (r.get("provenance") or {}).get("model") == model
        }
        metrics = {
            metric: _survey_column(metric, values, told.get(metric, {}), cards)
            for metric, values in readings.items()
            if isinstance(values, dict) and values
        }
        if metrics:
            made.append(
                Results(
                    str(model),
                    metrics,
                    {},
                    {"model": str(model), "run": name},
                    f"{FORMAT}, survey",
                    str(path),
                    str(model),
                )
            )
    return made


def _survey_column(metric: str, values: Mapping[str, Any], told: Mapping[str, Any], cards: Mapping[str, Any]) -> Column:
    provenance = told.get("provenance") or {}
    options = cards.get(str(provenance.get("survey")), {})
    own = {k: v for k, v in options.items() if k not in ("data", "limit", "level")}
    known = {
        "template": provenance.get("rendering"),
        "backend": provenance.get("backend"),
        "options": ", ".join(f"{k} {v}" for k, v in sorted(own.items())),
    }
    rest = {k: told[k] for k in ("better", "unit") if told.get(k)}
    protocol = {k: str(v) for k, v in known.items() if v}
    return Column.of(metric, values, values.values(), protocol=protocol, **rest)


def _recipe(path: Path) -> dict[str, Any]:
    try:
        body = yaml.safe_load((path / "recipe.yaml").read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError):
        return {}
    return body if isinstance(body, dict) else {}


def _recipe_step(path: Path, kind: str) -> dict[str, Any]:
    steps = _recipe(path).get("steps")
    found = [s for s in steps if isinstance(s, dict) and s.get("step") == kind] if isinstance(steps, list) else []
    return found[-1] if found else {}


def _json(path: Path, default: Any) -> Any:
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return default
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}.") from None
    if not isinstance(body, type(default)):
        raise DataError(f"{path} should hold a JSON {type(default).__name__}, got {type(body).__name__}.")
    return body


def _lines(path: Path) -> list[dict[str, Any]]:
    """Rows of a JSONL file; a last line that a kill cut off is left out."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}.") from None
    found = []
    for line in text.split("\n"):
        try:
            row = json.loads(line)
        except ValueError:
            break
        if isinstance(row, dict):
            found.append(row)
    return found
