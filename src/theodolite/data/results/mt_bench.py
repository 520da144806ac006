"""MT-Bench: `model_judgment/JUDGE_single.jsonl` (grades) and `model_answer/MODEL.jsonl` (answers alone).

{"question_id": 81, "model": "vicuna-13b-v1.3", "judge": ["gpt-4", "single-v1"], "judgment": "...", "score": 7, "turn": 1}
{"question_id": 81, "model_id": "vicuna-13b-v1.3", "choices": [{"index": 0, "turns": ["...", "..."]}]}

An item is one turn of one question; the two turns of a question are one cluster. A score of -1 means that no grade
could be read: it is missing here, as in FastChat's own tables.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from theodolite.data.results._rows import Row
from theodolite.data.results.results import Column, Results, number
from theodolite.errors import DataError

FORMAT = "MT-Bench"


def recognises(row: Row) -> bool:
    graded = "score" in row and ("judge" in row or "judgment" in row) and "model" in row
    return "question_id" in row and (graded or "choices" in row or "g1_winner" in row)


def read(path: Path, rows: list[Row], problems: list[str]) -> list[Results]:
    """One Results a model of the file."""
    if "g1_winner" in rows[0]:
        raise DataError(
            f"{path} holds pairwise judgments, which compare two models within one row already. Give the grades of "
            "single answers (JUDGE_single.jsonl), or measure the pairs with win_rate."
        )
    key, make = ("model_id", _answers) if "choices" in rows[0] else ("model", _grades)
    models = dict.fromkeys(str(r.get(key) or path.stem) for r in rows)
    return [make(m, [r for r in rows if str(r.get(key) or path.stem) == m], path, problems) for m in models]


def _grades(model: str, rows: list[Row], path: Path, problems: list[str]) -> Results:
    judges = sorted({_judge(r) for r in rows} - {""})
    metrics = {}
    for judge in judges or [""]:
        here = [r for r in rows if _judge(r) == judge]
        metrics["score" if len(judges) < 2 else f"score ({judge})"] = Column.of(
            "score",
            [f"{r['question_id']}/turn {r.get('turn', 1)}" for r in here],
            [_grade(r.get("score")) for r in here],
            prompts=tuple(str(r["question_id"]) for r in here),
            shown=tuple(_wording(r) for r in here) if all(_wording(r) for r in here) else None,
            unit="",
            judge=judge or "unnamed",
            protocol={"judge": judge} if judge else {},
        )
    return Results(model, metrics, {}, {"model": model}, FORMAT, str(path), model, tuple(problems))


def _answers(model: str, rows: list[Row], path: Path, problems: list[str]) -> Results:
    items, sizes, prompts = [], [], []
    for row in rows:
        for choice in row.get("choices") or ():
            for turn, text in enumerate(choice.get("turns") or (), 1):
                items.append(f"{row['question_id']}/turn {turn}")
                sizes.append(len(text) if isinstance(text, str) else None)
                prompts.append(str(row["question_id"]))
    note = "the file holds answers without anybody's judgment, so only their length can be compared"
    column = Column.of("length", items, sizes, prompts=tuple(prompts), unit="characters")
    return Results(
        model, {"length": column}, {}, {"model": model}, f"{FORMAT} answers", str(path), model, (*problems, note)
    )


def _grade(value: Any) -> float:
    score = number(value)
    return math.nan if score < 0 else score


def _judge(row: Row) -> str:
    judge = row.get("judge")
    return str(judge[0]) if isinstance(judge, list) and judge else str(judge or "")


def _wording(row: Row) -> str:
    """The name of the judge's prompt."""
    judge = row.get("judge")
    return str(judge[1]) if isinstance(judge, list) and len(judge) > 1 else ""
