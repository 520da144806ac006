"""The page of a comparison: which side is better on what, how sure that is, what could have been seen, what was held equal.

Data first: `contents` is everything the page, the terminal and the JSON say.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from markupsafe import Markup

from theodolite.data.results.comparing import Comparison, Row, shortened
from theodolite.data.results.protocol import KEYS
from theodolite.data.results.results import Results
from theodolite.errors import StorageError
from theodolite.reports import page, svg, words
from theodolite.reports.comparison_words import CHANGES, UNMEASURED, cautions, claim, how_corrected, standfirst
from theodolite.reports.contents import finite
from theodolite.reports.folder import clean
from theodolite.reports.svg import Axis, dot, figure, group, line, text
from theodolite.types import Reading

NAMED = 5
"""ids of left-out items that are written down"""
LONG = 34
"""characters of a label from which it stands above its row"""


def write(found: Comparison, path: str | Path) -> Path:
    """Write the page; its numbers as data are `contents`."""
    path = Path(path)
    if not path.parent.is_dir():
        raise StorageError(f"the page {path} cannot be written: there is no folder {path.parent}. Make it first.")
    return page.save(path, render(contents(found)))


def as_json(found: Comparison) -> str:
    return json.dumps(contents(found), ensure_ascii=False, allow_nan=False)


def render(data: Mapping[str, Any]) -> str:
    """The page as HTML text."""
    figures = [page.both(dots, rows, f"dots-{i}") for i, rows in enumerate(plots(data["rows"]))]
    return page.fill("comparison.html.jinja", {**data, "figures": figures})


def contents(found: Comparison) -> dict[str, Any]:
    """Everything a reader is told, as JSON values."""
    one_pair = len({(r.a, r.b) for r in found.rows}) == 1
    rows = [row(r, one_pair) for r in found.rows]
    made: dict[str, Any] = finite(
        {
            "format": 1,
            "kind": "comparison",
            "title": " and ".join(r.name for r in found.results)
            if len(found.results) < 4
            else f"{len(found.results)} sides",
            "claim": claim(found.rows),
            "standfirst": standfirst(found, rows),
            "level": found.level,
            "correction": found.correction,
            "how_corrected": how_corrected(found),
            "one_pair": one_pair,
            "methods": methods(rows),
            "baseline": found.baseline,
            "tests": found.tests,
            "cautions": list(cautions(found)),
            "rows": rows,
            "sides": [side(r) for r in found.results],
            "protocol": protocol_table(found.results),
            "accepted": [asdict(m) | {"said": str(m)} for m in found.accepted],
            "unrecorded": list(found.unrecorded),
            "left_out": list(found.left_out),
        }
    )
    return clean(made)  # type: ignore[no-any-return]


def row(r: Row, one_pair: bool = False) -> dict[str, Any]:
    """One comparison with the words that stand beside its numbers."""
    d = r.difference
    change = Reading(f"{r.metric}.difference", d.value, d.low, d.high, d.level, unit=r.unit)
    means = [Reading(r.metric, v, unit=r.unit) for v in (d.a, d.b)]
    places = words.agreeing(means[0], means[1], change)
    numbers = {k: getattr(d, k) for k in ("value", "low", "high", "level", "p", "detectable", "alpha", "n", "clusters")}
    return {
        "metric": r.metric,
        "a": r.a,
        "b": r.b,
        "label": r.metric if one_pair else f"{r.metric}: {r.b} against {r.a}",
        "mean_a": d.a,
        "mean_b": d.b,
        **numbers,
        "p_corrected": r.p,
        "verdict": r.verdict,
        "better": r.better,
        "unit": r.unit,
        "interval": d.interval,
        "test": d.test,
        "note": d.note,
        "missing": r.missing,
        "why": dict(r.why),
        **{k: _named(getattr(r, k)) for k in ("only_a", "only_b", "changed")},
        "judge": judge(r),
        "shown": {
            "a": words.amount(means[0], places),
            "b": words.amount(means[1], places),
            "difference": words.amount(change, places),
            "span": words.span(change, places),
            "p": _p(d.p),
            "p_corrected": _p(r.p),
            "detectable": _detectable(r, places),
        },
    }


def methods(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """How intervals and tests were made, once for all rows of one method."""
    found: dict[str, list[str]] = {}
    for r in rows:
        said = "; ".join(s for s in (r["interval"], r["test"], r["note"]) if s)
        found.setdefault(said, []).append(r["label"])
    return [{"how": said, "rows": labels} for said, labels in found.items()]


def _named(items: Sequence[str]) -> dict[str, Any]:
    return {"count": len(items), "items": [shortened(i) for i in items[:NAMED]]}


def _p(p: float) -> str:
    return words.p_text(p).removeprefix("p ").removeprefix("= ")


def _detectable(r: Row, places: int) -> str:
    gap = r.difference.detectable
    if math.isnan(gap):
        return ""
    return words.number(gap * words.factor(r.unit), places) + words.suffix(r.unit, difference=True)


def judge(r: Row) -> dict[str, Any] | None:
    """Who gave the numbers and how far that can be trusted; None where a rule did."""
    if not r.judge:
        return None
    known = r.reliability
    said = str(known) if known else UNMEASURED
    return {"name": r.judge, "said": said, "reliability": asdict(known) if known else None}


def side(r: Results) -> dict[str, Any]:
    return {
        "name": r.name,
        "format": r.format,
        "path": r.path,
        "part": r.part,
        "items": len(r.items),
        "about": dict(r.about),
        "problems": list(r.problems),
    }


def protocol_table(results: Sequence[Results]) -> list[dict[str, Any]]:
    """A row a key: its value for each side, '' where it is not recorded; a task's own values are joined."""
    tables = []
    for r in results:
        own: dict[str, dict[str, None]] = {}
        for column in r.metrics.values():
            for key, value in column.protocol.items():
                own.setdefault(key, {})[value] = None
        tables.append({**{k: "; ".join(vs) for k, vs in own.items()}, **r.protocol})
    keys = [k for k in KEYS if any(k in t for t in tables)] + sorted({k for t in tables for k in t if k not in KEYS})
    return [{"key": k, "what": KEYS.get(k, ""), "values": [t.get(k, "") for t in tables]} for k in keys]


def plots(rows: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """Rows that one axis can hold: all shares together, every other metric by itself."""
    found: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for r in rows:
        if r["value"] is not None:
            found.setdefault(("share", "") if r["unit"] == "share" else (r["unit"], r["metric"]), []).append(r)
    return list(found.values())


def dots(rows: Sequence[Mapping[str, Any]], name: str, width: float) -> Markup:
    """Differences as dots with their intervals around zero; the pale band is what the sample could not have seen."""
    unit = rows[0]["unit"]
    f = words.factor(unit)
    stacked = width < 480 or any(len(r["label"]) > LONG for r in rows)
    height, top = (52.0, 26.0) if stacked else (30.0, 30.0)
    shown = [v for r in rows for v in (r["value"], r["low"], r["high"], r["detectable"]) if v is not None]
    ends = [v * f for v in shown] + [-r["detectable"] * f for r in rows if r["detectable"] is not None]
    low, high = svg.limits(ends, zero=True)
    axis = Axis(low, high, 12.0, width - 12) if stacked else Axis(low, high, 0.34 * width, 0.72 * width)
    bottom = top + height * len(rows)
    about = 4
    ticks = axis.ticks(about)
    spans = (
        [(top + height * i + 22, top + height * i + 42) for i in range(len(rows))] if stacked else [(top - 6, bottom)]
    )
    grid = [line(axis(v), y0, axis(v), y1, "limb" if v == 0 else "grid") for v in ticks for y0, y1 in spans]
    heads = [text(axis(v), top - 12, words.number(v, axis.decimals(about), True), "tick", "middle") for v in ticks]
    drawn = [group(*_dot_row(r, axis, f, top + i * height, width, stacked)) for i, r in enumerate(rows)]
    scale = words.suffix(unit, difference=True).strip() or rows[0]["metric"]
    desc = " ".join(f"{r['label']}: {r['shown']['difference']}, {r['verdict']}." for r in rows)
    return figure(name, width, bottom + 8, f"Differences with their intervals, {scale}", desc, *grid, *heads, *drawn)


def _dot_row(r: Mapping[str, Any], axis: Axis, f: float, top: float, width: float, stacked: bool) -> Iterable[Markup]:
    y = top + (32 if stacked else 15)
    sure = r["verdict"] in CHANGES
    kind = "after" if sure else "before"
    said = r["shown"]["difference"] + (f" ({r['shown']['span']})" if r["shown"]["span"] else "")
    yield text(0, top + 13 if stacked else y + 4.5, r["label"], "label")
    yield text(width, top + 13 if stacked else y + 4.5, said, "value" if sure else "value weak", "end")
    if r["detectable"] is not None:
        yield line(axis(-r["detectable"] * f), y, axis(r["detectable"] * f), y, "shift unsure")
    if r["low"] is not None and r["high"] is not None:
        yield line(axis(r["low"] * f), y, axis(r["high"] * f), y, f"interval {kind}-line")
    yield dot(axis(r["value"] * f), y, f"{kind}-dot", 4)
