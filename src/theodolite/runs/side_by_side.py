"""Answers to look at: a handful of held-out prompts, before and after, mixed fairly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from theodolite.measures.evidence import Evidence
from theodolite.runs.folder import write_text
from theodolite.types import Example, Response


def choose(evidence: Evidence, show: int, path: Path) -> None:
    """Write `show` prompts to samples.jsonl: improved, worsened and unchanged ones in turn, in their own order."""
    if not show or not evidence.before or evidence.after is evidence.before:
        return
    kinds: dict[str, list[dict[str, Any]]] = {"improved": [], "worsened": [], "unchanged": []}
    for before, after in zip(evidence.before, evidence.after):
        change = _mean(after) - _mean(before)
        kinds["improved" if change > 0 else "worsened" if change < 0 else "unchanged"].append(_row(before, after))
    rows: list[dict[str, Any]] = []
    while len(rows) < show and any(kinds.values()):
        for waiting in kinds.values():
            if waiting and len(rows) < show:
                rows.append(waiting.pop(0))
    write_text(path, "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows))


def _row(before: Example, after: Example) -> dict[str, Any]:
    return {
        "id": before.id,
        "prompt": before.question,
        "constraints": [c["id"] for c in before.meta.get("constraints", ())],
        "before": [_answer(r) for r in before.responses[:2]],
        "after": [_answer(r) for r in after.responses[:2]],
    }


def _answer(response: Response) -> dict[str, Any]:
    return {
        "text": response.text,
        "score": response.score,
        "checks": dict(response.meta.get("checks", {})),
        "finish": response.finish,
    }


def _mean(example: Example) -> float:
    scores = [r.score for r in example.responses if r.score is not None]
    return sum(scores) / len(scores) if scores else 0.0
