"""A study as one self-contained page: a picture and two tables a scenario, no scripts, light, dark and paper."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

from theodolite.reports.page import stylesheet

WIDTH, ROW, LEFT, RIGHT = 720, 26, 190, 70
LONG = 110
"""characters; a claim longer than this is no headline"""
Result = Mapping[str, Any]

STYLE = """svg{width:100%} th,td{text-align:right} th:first-child,td:first-child{text-align:left} td:first-child{white-space:nowrap}
h2+.aside{margin-top:-.4rem}"""
"""what a study adds to the sheet of all pages"""


def html(result: Result) -> str:
    """The page. Every number on it is in study.json too."""
    lead = (
        f"{len(result['seeds'])} seed{'s' * (len(result['seeds']) != 1)}, one budget, one data set. Accuracy is the share of "
        "held-out pairs whose chosen answer has gained more, log pi/start, than the rejected one; ties count half and 50 % "
        f"is chance. Intervals ({100 * result['level']:.3g} %) are bootstrapped over prompts and take the trained models as "
        "given; what other seeds give stands beside them."
    )
    parts = [_scenario(s, i, result["seeds"]) for i, s in enumerate(result["scenarios"])]
    title, claim = result["title"], sentence(result)
    claim = claim[0].upper() + claim[1:]
    # a claim that is too long for a headline stands below the title
    opening = f'<p class="kicker"><span>{escape(title)}</span></p><h1>{escape(claim)}</h1>'
    if len(claim) > LONG:
        opening = f'<h1>{escape(title)}</h1><p class="standfirst">{escape(claim)}</p>'
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>{escape(title)}</title><style>{stylesheet()}{STYLE}</style></head><body><header>"
        f'{opening}<p class="lead">{escape(lead)}</p></header><main>{"".join(parts)}{_failed(result)}{_foot(result)}'
        "</main></body></html>\n"
    )


def sentence(result: Result) -> str:
    """The study in one sentence, for a terminal."""
    told = []
    for s in result["scenarios"]:
        surer = [r for r in s["objectives"] if r["difference"] and (r["difference"].get("p_holm") or 1) < 0.05]
        names = ", ".join(f"{r['objective']} ({_points(r['difference']['value'])})" for r in surer)
        told.append(
            f"{s['title']}: {names} differ from {s['baseline']}" if surer else f"{s['title']}: no objective can be told "
            f"from {s['baseline']}" if len(s["objectives"]) > 1 else f"{s['title']}: {s['baseline']} alone"
        )  # fmt: skip
    return "; ".join(told) + "."


def _scenario(s: Result, number: int, seeds: Sequence[int]) -> str:
    start = f" after {escape(str(s['start'].get('objective', 'sft')))}" if s["start"] is not None else ""
    if not s["objectives"]:
        return (
            f"<section><h2>{escape(s['title'])}</h2>"
            f"<p>No objective could be run from {escape(s['model'])}{start}.</p></section>"
        )
    return (
        f'<section><h2>{escape(s["title"])}</h2><p class="aside">from {escape(s["model"])}{start}</p>'
        f"<figure>{_picture(s, number)}<figcaption>Dot and bar: accuracy over all seeds and its interval. Rings: single "
        f'seeds. Dashed: chance.</figcaption></figure><div class="scroll" tabindex="0">{_table(s, seeds)}</div>'
        f"{_sensitivity(s)}</section>"
    )


def _picture(s: Result, number: int) -> str:
    """A dot and an interval an objective, the line of chance, and a small mark for every seed."""
    rows = s["objectives"]
    known = [
        v for r in rows for v in (r["accuracy"]["low"], r["accuracy"]["high"], *r["by_seed"].values()) if v is not None
    ]
    low, high = min([*known, 0.5]) - 0.02, max([*known, 0.5]) + 0.02
    height = ROW * len(rows) + 34

    def x(value: float) -> float:
        return float(LEFT + (WIDTH - LEFT - RIGHT) * (value - low) / (high - low))

    drawn = [
        f'<line x1="{x(0.5):.1f}" x2="{x(0.5):.1f}" y1="0" y2="{height - 26}" class="grid" stroke-dasharray="4 4"/>',
        f'<text x="{x(0.5):.1f}" y="{height - 8}" class="tick" text-anchor="middle">50 %</text>',
    ]
    for i, r in enumerate(rows):
        y, a = ROW * i + 16, r["accuracy"]
        drawn.append(f'<text x="0" y="{y + 4}">{escape(r["objective"])}</text>')
        if a["low"] is not None:
            ends = f'x1="{x(a["low"]):.1f}" x2="{x(a["high"]):.1f}"'
            drawn.append(f'<line {ends} y1="{y}" y2="{y}" class="interval after-line"/>')
        seen = [v for v in r["by_seed"].values() if v is not None]
        drawn += [f'<circle cx="{x(v):.1f}" cy="{y}" r="2.5" class="ring"/>' for v in seen]
        if a["value"] is not None:
            drawn.append(f'<circle cx="{x(a["value"]):.1f}" cy="{y}" r="4.5" class="after-dot"/>')
            drawn.append(f'<text x="{WIDTH}" y="{y + 4}" text-anchor="end">{_percent(a["value"])}</text>')
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-labelledby="p{number}"><title id="p{number}">'
        f"Accuracy on held-out pairs by objective; rings are single seeds</title>{''.join(drawn)}</svg>"
    )


def _table(s: Result, seeds: Sequence[int]) -> str:
    head = ["objective", "accuracy", f"difference to {s['baseline']}", "p (Holm)", "over seeds"]
    head += ["log π/start (chosen)", *(f"seed {x}" for x in seeds), "loss, first to last 5", "seconds"]
    lines = [_line("th", head)]
    for r in s["objectives"]:
        d = r["difference"] or {}
        over = d.get("over_seeds")
        lines.append(
            _line(
                "td",
                [
                    r["objective"],
                    _span(r["accuracy"], _percent),
                    _span(d, _points) if d else "baseline",
                    "" if d.get("p_holm") is None else "<0.001" if d["p_holm"] < 0.001 else f"{d['p_holm']:.3f}",
                    _span(over, _points) if over else "",
                    _span(r["chosen_logratio"], lambda v: f"{v:+.2f}"),
                    *(_percent(r["by_seed"].get(str(x))) for x in seeds),
                    f"{_plain(r['first_loss'])} to {_plain(r['last_loss'])}",
                    f"{r['seconds']:.0f}",
                ],
            )
        )
    n = max((r["accuracy"]["n"] for r in s["objectives"]), default=0)
    missing = max((r["missing"] for r in s["objectives"]), default=0)
    left = f", {missing} pairs that do not fit the model left out" if missing else ""
    return f'<table>{"".join(lines)}</table><p class="aside">{n} prompts{left}.</p>'


def _sensitivity(s: Result) -> str:
    """What the main hyperparameter of each objective does, one line an objective."""
    if not s["sensitivity"]:
        return ""
    factors = sorted({p["factor"] for v in s["sensitivity"] for p in v["points"]})
    lines = [_line("th", ["objective", "option", *(f"× {f:g}" for f in factors)])]
    for v in s["sensitivity"]:
        at = {p["factor"]: p for p in v["points"]}
        told = []
        for f in factors:
            p = at.get(f)
            value = "" if p is None or p["value"] is None else f" ({p['value']:.3g})"
            told.append("" if p is None else f"{_span(p['accuracy'], _percent)}{value}")
        lines.append(_line("td", [v["objective"], str(v["option"]), *told]))
    seeds = ", ".join(map(str, s["sensitivity"][0]["seeds"]))
    return (
        f"<h3>Sensitivity</h3><p>Accuracy when the main hyperparameter is multiplied; its value stands in brackets. "
        f"Seeds: {seeds}.</p>"
        f'<div class="scroll" tabindex="0"><table>{"".join(lines)}</table></div>'
    )


def _failed(result: Result) -> str:
    if not result.get("failed"):
        return ""
    rows = "".join(
        f"<li><b>{escape(f['objective'])}</b> ({escape(f['scenario'])}): {escape(f['why'])}</li>"
        for f in result["failed"]
    )
    return f"<section><h2>Could not be run</h2><ul>{rows}</ul></section>"


def _foot(result: Result) -> str:
    budget = _settings(result["budget"]) or "the defaults of align"
    return (
        f'<section><h2>How</h2><p class="settings">Budget: {budget}</p><p class="settings">Data: {_settings(result["data"])}</p>'
        f"<p>{len(result['runs'])} runs. Not measured: whether the answers themselves became better, only whether the model "
        "tells better answers from worse ones, and only on these data.</p></section>"
    )


def _settings(options: Result) -> str:
    """Options as a reader would write them; a nested one with its path."""
    told = []
    for name, value in options.items():
        if isinstance(value, Mapping):
            told += [_settings({f"{name}.{k}": v for k, v in value.items()})]
        else:
            text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
            told.append(f"<span>{escape(name)} <b>{escape(text)}</b></span>")
    return " ".join(filter(None, told))


def _line(cell: str, values: Sequence[str]) -> str:
    kept = (escape(v).replace(" %", "\N{NO-BREAK SPACE}%") for v in values)
    return "<tr>" + "".join(f"<{cell}>{v}</{cell}>" for v in kept) + "</tr>"


def _span(row: Result, text: Callable[[Any], str]) -> str:
    if row.get("value") is None:
        return "undefined"
    return text(row["value"]) + ("" if row["low"] is None else f" [{text(row['low'])}, {text(row['high'])}]")


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f} %"


def _points(value: float) -> str:
    return f"{100 * value:+.1f}"


def _plain(value: float | None) -> str:
    return "?" if value is None else f"{value:.3g}"
