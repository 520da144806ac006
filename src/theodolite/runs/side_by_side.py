"""Answers to look at: held-out prompts with what the model said before and after."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from theodolite.measures.evidence import Evidence
from theodolite.runs.folder import write_text
from theodolite.types import Example, Response


def keep(evidence: Evidence, show: int, path: Path) -> None:
    """Write the first `show` prompts to samples.jsonl, in their own order, two answers a side; nothing is picked."""
    if not evidence.before or evidence.after is evidence.before:
        return
    rows = [_row(b, a) for b, a in zip(evidence.before[:show], evidence.after)]
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
