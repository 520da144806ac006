"""AlpacaEval: `annotations.json` (a judge's preferences against a reference) and `model_outputs.json` (answers alone).

{"instruction": "...", "output_1": "...", "generator_1": "reference", "output_2": "...", "generator_2": "mine",
 "annotator": "weighted_alpaca_eval_gpt4_turbo", "preference": 1.97}
{"instruction": "...", "output": "...", "generator": "mine"}

Items are instructions. win_rate is preference - 1: 1 where the model's answer was preferred, 0 where the reference's
was, 0.5 for a draw (1.5, or 0 in old files), between for judges that give probabilities. A missing preference is
missing. This is the plain win rate; for the length-controlled one see the measure `length_controlled_win_rate`.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from theodolite.data.results._rows import Row
from theodolite.data.results.results import Column, Results, number

FORMAT = "AlpacaEval"


def recognises(row: Row) -> bool:
    return "instruction" in row and ("preference" in row or ("output" in row and "generator" in row))


def read(path: Path, rows: list[Row], problems: list[str]) -> list[Results]:
    """One Results a model, which is `generator_2` of annotations and `generator` of outputs."""
    judged = "preference" in rows[0]
    key = "generator_2" if judged else "generator"
    models = dict.fromkeys(str(r.get(key) or path.stem) for r in rows)
    make = _annotations if judged else _outputs
    return [make(m, [r for r in rows if str(r.get(key) or path.stem) == m], path, problems) for m in models]


def _annotations(model: str, rows: list[Row], path: Path, problems: list[str]) -> Results:
    judges = list(dict.fromkeys(str(r.get("annotator") or "unnamed") for r in rows))
    metrics = {}
    for judge in judges:
        here = [r for r in rows if str(r.get("annotator") or "unnamed") == judge]
        wins = [_win(r.get("preference")) for r in here]
        odd = sum(math.isnan(w) and r.get("preference") is not None for w, r in zip(wins, here, strict=True))
        if odd:
            problems = [
                *problems,
                f"{odd} preferences are not between 1 and 2, so they count as missing",
            ]
        metrics["win_rate" if len(judges) == 1 else f"win_rate ({judge})"] = Column.of(
            "win_rate", [r["instruction"] for r in here], wins, unit="share", judge=judge, protocol={"judge": judge}
        )
    first = [r for r in rows if str(r.get("annotator") or "unnamed") == judges[0]]
    metrics["length"] = _lengths(first, "output_2")
    references = sorted({str(r["generator_1"]) for r in rows if r.get("generator_1")})
    return Results(
        name=model,
        metrics=metrics,
        protocol={"reference": ", ".join(references)} if references else {},
        about={"model": model},
        format=FORMAT,
        path=str(path),
        part=model,
        problems=tuple(problems),
    )


def _outputs(model: str, rows: list[Row], path: Path, problems: list[str]) -> Results:
    note = "the file holds answers without anybody's judgment, so only their length can be compared"
    return Results(
        name=model,
        metrics={"length": _lengths(rows, "output")},
        about={"model": model},
        format=f"{FORMAT} outputs",
        path=str(path),
        part=model,
        problems=(*problems, note),
    )


def _lengths(rows: list[Row], key: str) -> Column:
    sizes = [len(r[key]) if isinstance(r.get(key), str) else None for r in rows]
    return Column.of("length", [r["instruction"] for r in rows], sizes, unit="characters")


def _win(preference: Any) -> float:
    value = number(preference)
    value = 1.5 if value == 0 else value
    return value - 1 if 1 <= value <= 2 else math.nan
