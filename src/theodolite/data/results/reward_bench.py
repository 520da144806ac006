"""RewardBench: whether a reward model (or a judge) prefers the chosen answer, pair by pair.

{"id": 30, "subset": "alpacaeval-easy", "results": 1, "scores_chosen": 4.2, "scores_rejected": -0.3}   rows or columns
{"chosen": 4.2, "rejected": -0.3}                                                     MODEL_all.jsonl of --save_all

accuracy is `results` where it is there (a judge's tie is 0.5), else whether the chosen answer scores higher; a tie of
scores counts half here, and nothing in rewardbench's own classifiers. Pairs without ids are matched by their place.
Scores themselves are not compared: each reward model has its own scale.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from theodolite.data.results._rows import Row, only
from theodolite.data.results.results import Column, Results, digest, number

FORMAT = "RewardBench"
_SCORES = (("scores_chosen", "scores_rejected"), ("score_chosen", "score_rejected"), ("chosen", "rejected"))


def recognises(row: Row) -> bool:
    if any(not math.isnan(_score(row.get(a))) and not math.isnan(_score(row.get(b))) for a, b in _SCORES):
        return True
    verdict = row.get("results")
    return "results" in row and not isinstance(verdict, dict) and ("subset" in row or "id" in row)


def read(path: Path, rows: list[Row], problems: list[str]) -> list[Results]:
    """One Results: the file's model."""
    model = only(rows, "model") or path.name.removesuffix("_all.jsonl").removesuffix(".json").removesuffix(".jsonl")
    numbered = all(r.get("id") is not None for r in rows)
    if numbered:
        items = [f"{r['subset']}/{r['id']}" if r.get("subset") else str(r["id"]) for r in rows]
    else:
        items = [str(i) for i in range(1, len(rows) + 1)]
        problems = [*problems, "the file has no ids, so pairs are matched by their place in the file"]
    asked = [r.get("prompt") for r in rows]
    template = only(rows, "chat_template")
    return [
        Results(
            name=model.rstrip("/").split("/")[-1],
            metrics={
                "accuracy": Column.of(
                    "accuracy",
                    items,
                    [_right(r) for r in rows],
                    prompts=tuple(digest(p) for p in asked) if all(asked) else None,
                    unit="share",
                )
            },
            protocol={"template": template} if template else {},
            about={k: v for k, v in (("model", model), ("model type", only(rows, "model_type"))) if v},
            format=FORMAT,
            path=str(path),
            part=model,
            problems=tuple(problems),
        )
    ]


def _right(row: Row) -> float:
    """1 where the chosen answer is preferred, 0 where the rejected one is, 0.5 for a tie."""
    said = _score(row.get("results"))
    if not math.isnan(said):
        return said if 0 <= said <= 1 else math.nan
    for chosen, rejected in _SCORES:
        a, b = _score(row.get(chosen)), _score(row.get(rejected))
        if not (math.isnan(a) or math.isnan(b)):
            return 0.5 if a == b else float(a > b)
    return math.nan


def _score(value: Any) -> float:
    """A number, also one that stands alone in a list; text is none."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return math.nan if isinstance(value, str | list) else number(value)
