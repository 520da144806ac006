"""Any table with a column of item ids and columns of numbers: CSV, TSV, JSONL, JSON or Parquet.

    item,prompt,correct,tokens
    q1,What is 2+2?,1,12

The items' column is the first of ITEMS that is there, that of the prompt (equal prompts form a cluster) of PROMPTS.
A column `model` splits the table; `judge` names who gave the numbers; columns with a name from a protocol (template,
backend, decoding, ...) and one value are the protocol. Other columns of text are named and left out.
"""

from __future__ import annotations

import math
from pathlib import Path

from theodolite.data.results._rows import Row, only
from theodolite.data.results.protocol import KEYS
from theodolite.data.results.results import Column, Results, digest, number
from theodolite.errors import DataError

FORMAT = "table"
ITEMS = ("item", "item_id", "id", "doc_id", "question_id", "example_id", "key", "index")
PROMPTS = ("cluster", "prompt_id", "prompt", "question", "instruction")


def recognises(row: Row) -> bool:
    return any(name in row for name in ITEMS)


def read(path: Path, rows: list[Row], problems: list[str]) -> list[Results]:
    """One Results a model, or one for the whole table."""
    names = list(dict.fromkeys(k for r in rows for k in r))
    item = next((n for n in ITEMS if n in names), None)
    if item is None:
        raise DataError(f"{path} has no column that names the items. Call it 'item'. It has: {', '.join(names)}.")
    blank = sum(r.get(item) in (None, "") for r in rows)
    if blank:
        raise DataError(f"{path}: {blank} rows have nothing in the column '{item}', so they cannot be matched.")
    models = dict.fromkeys(str(r["model"]) for r in rows if r.get("model") not in (None, ""))
    if len(models) < 2:
        return [_one(next(iter(models), path.name.split(".")[0]), rows, names, item, path, problems)]
    if any(r.get("model") in (None, "") for r in rows):
        raise DataError(f"{path}: the column 'model' is empty in some rows; fill it in every row or leave it out.")
    return [_one(m, [r for r in rows if str(r["model"]) == m], names, item, path, problems) for m in models]


def _one(model: str, rows: list[Row], names: list[str], item: str, path: Path, problems: list[str]) -> Results:
    prompt = next((n for n in PROMPTS if n in names and n != item), None)
    known = (prompt, "model", "judge", *ITEMS)
    protocol = {k: only(rows, k) for k in names if k in KEYS and k != prompt and only(rows, k)}
    metrics, text = {}, []
    for name in names:
        if name in known or name in protocol:
            continue
        values = [r.get(name) for r in rows]
        words = [v for v in values if not _empty(v) and math.isnan(number(v))]
        if words or all(_empty(v) for v in values):
            text.append(name)
            continue
        metrics[name] = Column.of(
            name,
            [r[item] for r in rows],
            values,
            prompts=tuple(digest(r.get(prompt)) for r in rows) if prompt else None,
            judge=only(rows, "judge"),
        )
    if not metrics:
        raise DataError(f"{path} has no column of numbers beside '{item}'. It has: {', '.join(names)}.")
    if text:
        problems = [*problems, f"columns without numbers were left out: {', '.join(text)}"]
    return Results(
        name=model,
        metrics=metrics,
        protocol=protocol,
        about={"model": model} if "model" in names else {},
        format=FORMAT,
        path=str(path),
        part=model,
        problems=tuple(problems),
    )


def _empty(value: object) -> bool:
    return value is None or (isinstance(value, str) and value.strip().lower() in ("", "nan", "na", "none", "null"))
