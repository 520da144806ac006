"""lm-evaluation-harness: `samples_TASK_DATE.jsonl` (from --log_samples) with the `results_DATE.json` beside it.

A row of the samples, shortened:
{"doc_id": 0, "target": "18", "filtered_resps": ["18"], "filter": "strict-match", "metrics": ["exact_match"],
 "doc_hash": "ab", "prompt_hash": "cd", "exact_match": 1.0}

Items are doc ids, told apart by the document's hash. A metric is called TASK/METRIC, with the filter in brackets
where it is not 'none'. A list of yes and no (IFEval's instruction level) counts with its share; a metric whose values
are not numbers for each item (corpus BLEU, perplexities with their weights) cannot be compared by item and is named.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from theodolite.data.results._rows import Row, rows_of
from theodolite.data.results.results import Column, Results, digest, number, usual_direction
from theodolite.errors import DataError
from theodolite.types import Better

FORMAT = "lm-evaluation-harness"
_NAME = re.compile(r"samples_(?P<task>.+?)(?:_(?P<date>\d{4}-\d{2}-\d{2}T[\d.:-]+))?\.jsonl(?:\.gz)?$")
_OTHER = {
    "doc_id", "doc", "target", "arguments", "resps", "filtered_resps", "filter", "metrics",
    "doc_hash", "prompt_hash", "target_hash",
}  # fmt: skip


def recognises(row: Row) -> bool:
    return "doc_id" in row and ("filtered_resps" in row or "resps" in row)


def read(path: Path, rows: list[Row], problems: list[str]) -> list[Results]:
    """One samples file: one task of one model."""
    return [_joined([(path, rows, problems)])]


def folder(path: Path) -> list[Results] | None:
    """A folder with samples files, or with one folder a model that has some; None where there are none."""
    homes: dict[Path, dict[str, tuple[str, Path]]] = {}
    older = 0
    for file in sorted(path.rglob("samples_*.jsonl*")):
        found = _NAME.match(file.name)
        if found is None:
            continue
        known = homes.setdefault(file.parent, {})
        task, date = found["task"], found["date"] or ""
        older += task in known
        known[task] = max(known.get(task, ("", file)), (date, file))
    made = []
    for files in homes.values():
        note = [f"{older} older samples files of the same tasks were left out"] if older else []
        made.append(_joined([(f, *_noted(rows_of(f), note)) for _, f in files.values()]))
    return made or None


def _noted(read: tuple[list[Row], list[str]], note: list[str]) -> tuple[list[Row], list[str]]:
    return read[0], read[1] + note


def _joined(files: list[tuple[Path, list[Row], list[str]]]) -> Results:
    """All tasks of one model as one Results."""
    metrics: dict[str, Column] = {}
    problems: dict[str, None] = {}
    summary: dict[str, Any] = {}
    for path, rows, faults in files:
        name = _NAME.match(path.name)
        task = name["task"] if name else path.name.split(".")[0]
        beside = _summary(path, task, name["date"] if name else None)
        summary = summary or beside
        if not beside:
            faults = [*faults, f"no results_*.json lies beside {path.name}, so the protocol of {task} is unknown"]
        found, lost = _task(task, rows, beside)
        metrics |= found
        problems |= dict.fromkeys([*faults, *lost])
    if not metrics:
        raise DataError(f"{files[0][0]} has no metric with a number for each item. {'; '.join(problems)}")
    home = files[0][0]
    model = str(summary.get("model_name") or "") or home.parent.name or home.name
    about = {"model": model, "date": str(summary.get("date") or "")}
    about["version"] = str(summary.get("lm_eval_version") or "")
    return Results(
        name=model.rstrip("/").split("/")[-1],
        metrics=metrics,
        protocol=_protocol(summary),
        about={k: v for k, v in about.items() if v},
        format=FORMAT,
        path=str(home if len(files) == 1 else home.parent),
        part=model,
        problems=tuple(problems),
    )


def _task(task: str, rows: list[Row], summary: Mapping[str, Any]) -> tuple[dict[str, Column], list[str]]:
    """The metrics of one task, and those that have no number for an item."""
    directions = _at(summary, "higher_is_better", task)
    protocol = _task_protocol(task, summary)
    metrics: dict[str, Column] = {}
    lost = []
    for chosen in dict.fromkeys(str(r.get("filter") or "none") for r in rows):
        here = [r for r in rows if str(r.get("filter") or "none") == chosen]
        names = dict.fromkeys(m for r in here for m in (r.get("metrics") or [k for k in r if k not in _OTHER]))
        for metric in names:
            values = [r.get(metric) for r in here]
            if all(math.isnan(number(v)) for v in values):
                lost.append(f"{task}/{metric} has no number for an item, so it cannot be compared item by item")
                continue
            key = f"{task}/{metric}" + ("" if chosen == "none" else f" ({chosen})")
            says = directions.get(metric) if isinstance(directions, Mapping) else None
            better: Better = usual_direction(metric) if says is None else "higher" if says else "lower"
            share = {"unit": "share"} if any(isinstance(v, list) for v in values) else {}
            metrics[key] = Column.of(
                metric,
                [r.get("doc_id") for r in here],
                values,
                prompts=_hashes(here, "doc_hash"),
                shown=_hashes(here, "prompt_hash"),
                better=better,
                protocol=protocol,
                **share,
            )
    return metrics, lost


def _hashes(rows: list[Row], key: str) -> tuple[str, ...] | None:
    return tuple(str(r[key]) for r in rows) if all(r.get(key) for r in rows) else None


def _summary(path: Path, task: str, date: str | None) -> dict[str, Any]:
    """The results file of the same date, else the newest one that knows the task."""
    files = sorted(path.parent.glob("results*.json"), reverse=True)
    files.sort(key=lambda f: date is None or date not in f.name)
    for file in files:
        try:
            body = json.loads(file.read_bytes())
        except (OSError, ValueError):
            continue
        if isinstance(body, dict) and (task in (body.get("configs") or {}) or task in (body.get("results") or {})):
            return body
    return {}


def _protocol(summary: Mapping[str, Any]) -> dict[str, str]:
    """What holds for all tasks of one call of the harness."""
    made: dict[str, str] = {}
    config = summary.get("config") if isinstance(summary.get("config"), dict) else {}
    assert isinstance(config, dict)
    if "chat_template_sha" in summary or "chat_template" in summary:
        sha = summary.get("chat_template_sha") or (
            digest(summary["chat_template"]) if summary.get("chat_template") else ""
        )
        made["template"] = f"chat template {str(sha)[:12]}" if sha else "none"
    if "system_instruction" in summary or "system_instruction_sha" in summary:
        sha = summary.get("system_instruction_sha") or summary.get("system_instruction") or ""
        made["system"] = f"system prompt {digest(sha)}" if sha else "none"
    backend = config.get("model") or summary.get("model_source")
    if backend:
        made["backend"] = str(backend)
    precision = config.get("model_dtype") or _argument(config.get("model_args"), "dtype")
    if precision:
        made["precision"] = str(precision).removeprefix("torch.")
    return made


def _task_protocol(task: str, summary: Mapping[str, Any]) -> dict[str, str]:
    """What holds for one task: its version, examples in the prompt, and how answers were drawn."""
    made: dict[str, str] = {}
    version = _at(summary, "versions", task)
    if version is not None and not isinstance(version, Mapping):
        made["task_version"] = str(version)
    shots = _at(summary, "n-shot", task)
    own = _at(summary, "configs", task)
    own = own if isinstance(own, Mapping) else {}
    shots = own.get("num_fewshot") if shots is None or isinstance(shots, Mapping) else shots
    if shots is not None:
        turns = ", as turns of a conversation" if shots and summary.get("fewshot_as_multiturn") else ""
        made["few_shot"] = f"{shots}{turns}"
    if own.get("output_type") and own["output_type"] != "generate_until":
        made["decoding"] = f"none ({own['output_type']})"
    elif own.get("generation_kwargs"):
        config = summary.get("config") if isinstance(summary.get("config"), Mapping) else {}
        asked = config.get("gen_kwargs") if isinstance(config, Mapping) else None
        kwargs = dict(own["generation_kwargs"]) | (asked if isinstance(asked, dict) else {})
        made["decoding"] = json.dumps(kwargs, sort_keys=True, ensure_ascii=False)
        if isinstance(asked, str) and asked:
            made["decoding"] += f" with {asked}"
    return made


def _at(summary: Mapping[str, Any], key: str, task: str) -> Any:
    """summary[key][task], or None."""
    table = summary.get(key)
    return table.get(task) if isinstance(table, Mapping) else None


def _argument(arguments: Any, name: str) -> str:
    """One of the model's arguments, which are a dict or 'pretrained=x,dtype=float16'."""
    if isinstance(arguments, Mapping):
        return str(arguments.get(name) or "")
    found = re.search(rf"(?:^|,){name}=([^,]+)", str(arguments or ""))
    return found.group(1) if found else ""
