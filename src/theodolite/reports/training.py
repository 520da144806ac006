"""The training log as small panels that share a step axis, and as a thinned table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

PANELS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("Loss", "", ("loss", "eval_loss")),
    ("Rewards", "β × nats", ("rewards/chosen", "rewards/rejected")),
    ("Reward margin", "β × nats", ("rewards/margins", "eval_rewards/margins")),
    ("Reward accuracy", "share", ("rewards/accuracies", "eval_rewards/accuracies")),
    ("Log-probs", "nats", ("logps/chosen", "logps/rejected")),
    ("KL from the reference", "nats", ("kl", "eval_kl")),
    ("Gradient norm", "", ("grad_norm",)),
    ("Learning rate", "", ("learning_rate",)),
)
"""(title, unit, keys drawn together)."""

CLOCKS = frozenset({"step", "epoch", "time", "total_flos", "num_input_tokens_seen", "num_tokens"})
SPEEDS = ("_runtime", "_per_second")
POINTS, ROWS, MOST = 240, 60, 12


def curves(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """{panels, columns, rows, of, hidden, broken}: known panels first, then every other number that was logged."""
    steps = [(row, row.get("step", i)) for i, row in enumerate(rows)]
    logged = [(row, float(step)) for row, step in steps if _numeric(step)]
    keys = [k for k in dict.fromkeys(k for row, _ in logged for k in row) if _is_series(k, logged)]
    known = [(title, unit, [k for k in wanted if k in keys]) for title, unit, wanted in PANELS]
    named = {k for _, _, wanted in known for k in wanted}
    others = [(k.replace("_", " "), "", [k]) for k in keys if k not in named]
    panels = [panel(title, unit, wanted, logged) for title, unit, wanted in [*known, *others] if wanted]
    broken = sorted(
        {
            k
            for row, _ in logged
            for k in row
            if k not in keys and isinstance(row[k], float) and not math.isfinite(row[k])
        }
    )
    if not panels and not broken:
        return None
    by_step: dict[float, dict[str, Any]] = {}
    for row, step in logged:
        by_step.setdefault(step, {}).update({k: v for k, v in row.items() if _numeric(v)})
    table = [[step, *(row.get(k) for k in keys)] for step, row in by_step.items()]
    return {
        "panels": panels[:MOST],
        "hidden": [p["title"] for p in panels[MOST:]],
        "columns": ["step", *keys],
        "rows": [table[i] for i in spread(len(table), ROWS)],
        "of": len(table),
        "broken": broken,
    }


def panel(
    title: str, unit: str, keys: Sequence[str], logged: Sequence[tuple[Mapping[str, Any], float]]
) -> dict[str, Any]:
    series, undefined = [], 0
    for key in keys:
        points = [[step, float(row[key])] for row, step in logged if _numeric(row.get(key))]
        undefined += sum(1 for row, _ in logged if _broken(row, key))
        series.append({"name": key, "points": thin(points), "first": points[0][1], "last": points[-1][1]})
    return {"title": title, "unit": unit, "series": series, "undefined": undefined}


def thin(points: list[list[float]], most: int = POINTS) -> list[list[float]]:
    """At most about `most` points: means of neighbours, so that a long noisy curve keeps its level."""
    if len(points) <= most:
        return points
    size = math.ceil(len(points) / most)
    parts = [points[i : i + size] for i in range(0, len(points), size)]
    return [[sum(p[0] for p in part) / len(part), sum(p[1] for p in part) / len(part)] for part in parts]


def spread(count: int, most: int) -> list[int]:
    """Indices of at most `most` evenly spread items, first and last included."""
    if count <= most:
        return list(range(count))
    return sorted({round(i * (count - 1) / (most - 1)) for i in range(most)})


def _numeric(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _broken(row: Mapping[str, Any], key: str) -> bool:
    value = row.get(key, 0.0)
    return value is None or (isinstance(value, float) and not math.isfinite(value))


def _is_series(key: str, logged: Sequence[tuple[Mapping[str, Any], float]]) -> bool:
    if key in CLOCKS or key.endswith(SPEEDS):
        return False
    return any(_numeric(row.get(key)) for row, _ in logged)
