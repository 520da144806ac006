"""The drawings of a report, from the JSON of `contents`: plain numbers in, an svg out. No drawing library.

Every plot takes the width it will be shown at, because text that is scaled down cannot be read: the page draws a
wide and a narrow version and shows the one that fits. Marks never rest on colour alone: before is a hollow dot,
after a filled one, and the aligned point is a reticle whose hairs are its intervals.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from theodolite.reports import svg, words
from theodolite.reports.svg import Axis, dot, figure, group, line, text

NARROW = 480


def scale(family: Mapping[str, Any], name: str, width: float) -> Markup:
    """The headline as a graduated rule: before and after with their intervals, dropped on to the scale."""
    axis = _rule_axis(family, 14, width - 14)
    sides = [s for s in ("before", "after", "alone") if s in family and family[s]["value"] is not None]
    ground = 20 + 30.0 * len(sides)
    marks = [_reading_row(family[s], s, axis, 22 + 30 * i, ground, width) for i, s in enumerate(sides)]
    return figure(
        name,
        width,
        ground + 34,
        family["label"],
        _spoken(family),
        _graduations(axis, ground, family, width),
        _shift(family, axis, ground),
        *marks,
    )


def _reading_row(reading: Mapping[str, Any], side: str, axis: Axis, y: float, ground: float, width: float) -> Markup:
    f = words.factor(reading["unit"])
    x, kind = axis(reading["value"] * f), "before" if side == "before" else "after"
    ends = _ends(reading, axis, f)
    left, right = ends or (x, x)
    said = (f"{side} " if side != "alone" else "") + reading["shown"]["amount"]
    put_left = right + 10 + 7.2 * len(said) > width
    label = (
        text(left - 9, y + 4.5, said, f"label {kind}-text", "end")
        if put_left
        else text(right + 9, y + 4.5, said, f"label {kind}-text")
    )
    hair = line(x, y, x, ground, f"drop {kind}-line")
    return group(
        hair, line(left, y, right, y, f"interval {kind}-line") if ends else Markup(""), _mark(x, y, kind), label
    )


def _mark(x: float, y: float, kind: str, r: float = 5) -> Markup:
    return dot(x, y, f"{kind}-dot", r)


def _ends(reading: Mapping[str, Any], axis: Axis, f: float) -> tuple[float, float] | None:
    if reading.get("low") is None or reading.get("high") is None:
        return None
    return axis(reading["low"] * f), axis(reading["high"] * f)


def _rule_axis(family: Mapping[str, Any], start: float, end: float) -> Axis:
    readings = [family[s] for s in ("before", "after", "alone") if s in family]
    unit = next((r["unit"] for r in readings), "")
    if unit == "share":
        return Axis(0, 100, start, end)
    values = [r[k] for r in readings for k in ("value", "low", "high") if r[k] is not None]
    return Axis(*svg.limits(values, zero=True), start, end)


def _graduations(axis: Axis, y: float, family: Mapping[str, Any], width: float) -> Markup:
    """Long, middle and short strokes as on an instrument's limb, numbers under the long ones."""
    major = axis.ticks(10 if width > NARROW else 5)
    step = major[1] - major[0] if len(major) > 1 else axis.high - axis.low
    fine = step / (10 if width > NARROW else 20 if step * 5 >= axis.high - axis.low else 10)
    strokes, i = [line(axis.start, y, axis.end, y, "limb")], math.ceil(axis.low / fine - 1e-9)
    while i * fine <= axis.high + 1e-9:
        value = i * fine
        near = abs(value / step - round(value / step)) < 1e-6
        half = abs(2 * value / step - round(2 * value / step)) < 1e-6
        strokes.append(
            line(axis(value), y, axis(value), y + (10 if near else 7 if half else 4), "limb" if near else "limb fine")
        )
        i += 1
    unit = next((family[s]["unit"] for s in ("after", "before", "alone") if s in family), "")
    decimals = axis.decimals(10 if width > NARROW else 5)
    names = [
        text(
            axis(v),
            y + 25,
            words.number(v, decimals) + (words.suffix(unit) if v == major[-1] else ""),
            "tick",
            "start" if v == axis.low else "end" if v >= axis.high - 1e-9 else "middle",
        )
        for v in major
    ]
    return group(*strokes, *names)


def _shift(family: Mapping[str, Any], axis: Axis, y: float) -> Markup:
    """A thick stroke on the limb from before to after."""
    if "before" not in family or "after" not in family:
        return Markup("")
    ends = [family[s]["value"] for s in ("before", "after")]
    if None in ends:
        return Markup("")
    f = words.factor(family["after"]["unit"])
    a, b = axis(ends[0] * f), axis(ends[1] * f)
    difference = family.get("difference")
    said = difference["shown"]["amount"] if difference else ""
    low, high = (difference["low"], difference["high"]) if difference else (None, None)
    sure = low is not None and high is not None and (low > 0 or high < 0)
    fits = said and abs(b - a) > 8 * len(said)
    return group(
        line(a, y, b, y, "shift" if sure else "shift unsure") if abs(b - a) > 1 else "",
        text((a + b) / 2, y - 7, said, "tick", "middle") if fits else "",
    )


def _spoken(family: Mapping[str, Any]) -> str:
    said = []
    for side in ("before", "after", "difference", "alone"):
        if side in family:
            r = family[side]
            interval = f" ({words.level_text(r['level'])} interval {r['shown']['span']})" if r["shown"]["span"] else ""
            said.append(f"{side if side != 'alone' else 'value'} {r['shown']['amount']}{interval}")
    return "; ".join(said) + "."


def strips(families: Sequence[Mapping[str, Any]], name: str, width: float) -> Markup:
    """One row a quantity: its name, its marks on its own scale, and the change in words."""
    narrow = width < NARROW
    height = 66.0 if narrow else 46.0
    x0, x1 = (0.0, width) if narrow else (0.32 * width, 0.73 * width)
    rows = [group(*_strip(f, i * height + 4, x0, x1, width, narrow)) for i, f in enumerate(families)]
    desc = " ".join(f"{f['label']}: {_spoken(f)}" for f in families)
    return figure(name, width, height * len(families) + 4, "Key numbers", desc, *rows)


def _strip(family: Mapping[str, Any], top: float, x0: float, x1: float, width: float, narrow: bool) -> Iterable[Markup]:
    axis = _rule_axis(family, x0 + 4, x1 - 4)
    y = top + (36 if narrow else 18)
    unit = next((family[s]["unit"] for s in ("after", "before", "alone") if s in family), "")
    yield text(0, top + (12 if narrow else 22), family["label"], "label")
    for value in axis.ticks(4):
        yield line(axis(value), y - 7, axis(value), y + 7, "grid")
    yield line(axis.start, y, axis.end, y, "grid")
    yield text(axis.start, y + 19, words.number(axis.low, axis.decimals(4)), "tick small")
    yield text(axis.end, y + 19, words.number(axis.high, axis.decimals(4)) + words.suffix(unit), "tick small", "end")
    f = words.factor(unit)
    for side, dy in (("before", -3.5), ("after", 3.5), ("alone", 0.0)):
        r = family.get(side)
        if r is None or r["value"] is None:
            continue
        kind = "before" if side == "before" else "after"
        ends = _ends(r, axis, f)
        if ends:
            yield line(ends[0], y + dy, ends[1], y + dy, f"interval {kind}-line")
        yield _mark(axis(r["value"] * f), y + dy, kind, 4)
    first, second = _change(family)
    if narrow:
        yield text(width, top + 12, first, "value", "end")
        if second:
            yield text(width / 2, y + 19, second, "tick small", "middle")
    else:
        yield text(width, top + (16 if second else 22), first, "value", "end")
        yield text(width, top + 33, second, "tick small", "end")


def _change(family: Mapping[str, Any]) -> tuple[str, str]:
    """What stands beside a strip: ('20 % → 44 %', '+24 points (15 to 33)')."""
    shown = {s: family[s]["shown"] for s in family if s in ("before", "after", "difference", "alone")}
    if "alone" in shown:
        return shown["alone"]["amount"], f"{shown['alone']['span']}"
    first = " → ".join(shown[s]["amount"] for s in ("before", "after") if s in shown)
    d = shown.get("difference")
    return first, f"{d['amount']} ({d['span']})" if d and d["span"] else d["amount"] if d else ""


def dumbbells(rows: Sequence[Mapping[str, Any]], name: str, width: float) -> Markup:
    """Before and after by constraint, each with its interval, sorted by the change."""
    narrow = width < NARROW
    height, top = (52.0, 26.0) if narrow else (30.0, 30.0)
    axis = Axis(0, 100, 8.0, width - 8) if narrow else Axis(0, 100, 0.31 * width, 0.75 * width)
    bottom = top + height * len(rows)
    ticks = axis.ticks(4 if narrow else 5)
    grid = [line(axis(v), top - 6, axis(v), bottom, "grid") for v in ticks]
    heads = [
        text(
            axis(v),
            top - 12,
            words.number(v) + (" %" if v == 100 else ""),
            "tick",
            "end" if narrow and v == 100 else "middle",
        )
        for v in ticks
    ]
    drawn = [group(*_dumbbell(row, axis, top + i * height, width, narrow)) for i, row in enumerate(rows)]
    desc = " ".join(f"{r['constraint']}: {_rates(r)}, change {r['shown']}." for r in rows)
    return figure(name, width, bottom + 8, "Pass rate by constraint, before and after", desc, *grid, *heads, *drawn)


def _dumbbell(row: Mapping[str, Any], axis: Axis, top: float, width: float, narrow: bool) -> Iterable[Markup]:
    y = top + (32 if narrow else 15)
    strong = "value" if row["detectable"] else "value weak"
    change = row["shown"] + (f" ({row['span']})" if row["span"] else "")
    yield text(0, top + 13 if narrow else y + 4.5, row["constraint"], "label")
    yield text(width, top + 13 if narrow else y + 4.5, change, strong, "end")
    if row["before"] is not None and row["after"] is not None:
        yield line(axis(100 * row["before"]), y, axis(100 * row["after"]), y, "link")
    for side, dy in (("before", -6.0), ("after", 6.0)):
        low, high = row[f"{side}_low"], row[f"{side}_high"]
        if low is not None and high is not None:
            yield line(axis(100 * low), y + dy, axis(100 * high), y + dy, f"interval thin {side}-line")
        if row[side] is not None:
            yield _mark(axis(100 * row[side]), y, side, 4)


def _rates(row: Mapping[str, Any]) -> str:
    return " ".join(
        f"{side} {words.percent(row[side])}" if row[side] is not None else f"{side} unknown"
        for side in ("before", "after")
    )


def frontier(plot: Mapping[str, Any], name: str, width: float) -> Markup:
    """KL against reward: how far the model went for what it gained, beside best-of-n sampling of the model before."""
    narrow = width < NARROW
    height = 300.0 if narrow else 360.0
    points = [p for p in (plot["before"], plot["after"], *plot["curve"]) if p]
    kls = [p[k] for p in points for k in ("kl", "kl_high") if p.get(k) is not None]
    tops = [100 * p[k] for p in points for k in ("value", "low", "high") if p.get(k) is not None]
    x = Axis(0, svg.limits([0.0, *kls], zero=True)[1], 42, width - 14)
    y = Axis(0, min(100.0, svg.limits([0.0, *tops], zero=True, room=0.08)[1]), height - 44, 30)
    return figure(
        name,
        width,
        height,
        "KL against pass rate",
        _frontier_words(plot),
        _frame(x, y, height),
        text(x.end, height - 8, "KL from the model before, nats a response", "tick", "end"),
        text(0, 10, "pass rate", "tick"),
        _best_of_n(plot["curve"], x, y, narrow),
        _before_point(plot["before"], x, y) if plot["before"] else "",
        _reticle(plot["after"], x, y, width) if plot["after"] else "",
    )


def _frame(x: Axis, y: Axis, height: float) -> Markup:
    rows = [line(x.start, y(v), x.end, y(v), "grid") for v in y.ticks(5)]
    names = [
        text(x.start - 8, y(v) + 4, words.number(v) + (" %" if v == y.ticks(5)[-1] else ""), "tick", "end")
        for v in y.ticks(5)
    ]
    under = [text(x(v), height - 26, words.number(v, x.decimals(6)), "tick", "middle") for v in x.ticks(6)]
    marks = [line(x(v), y.start, x(v), y.start + 5, "limb") for v in x.ticks(6)]
    return group(*rows, line(x.start, y.start, x.end, y.start, "limb"), *names, *under, *marks)


def _best_of_n(curve: Sequence[Mapping[str, Any]], x: Axis, y: Axis, narrow: bool) -> Markup:
    if not curve:
        return Markup("")
    path = [(x(p["kl"]), y(100 * p["value"])) for p in curve]
    bars = [
        line(px, y(100 * p["low"]), px, y(100 * p["high"]), "interval curve-line")
        for p, (px, _) in zip(curve, path, strict=True)
        if p["low"] is not None and p["high"] is not None
    ]
    dots = [dot(px, py, "curve-dot", 3) for px, py in path]
    names = [
        text(px + 7, py + 14, f"{p['n']:.0f}", "tick small curve-text")
        for i, (p, (px, py)) in enumerate(zip(curve, path, strict=True))
        if p["n"] is not None and p["n"] > 1 and (i == len(curve) - 1 or path[i + 1][0] - px > 22)
    ]
    last_x, last_y = path[-1]
    room = x.end - last_x > 150
    title = (
        text(last_x + 8, last_y - 8, "best of n" if narrow else "best of n samples", "label curve-text")
        if room
        else text(last_x - 4, last_y - 14, "best of n", "label curve-text", "end")
    )
    return group(svg.trace(path, "curve"), *bars, *dots, *names, title)


def _before_point(p: Mapping[str, Any], x: Axis, y: Axis) -> Markup:
    px, py = x(0), y(100 * p["value"])
    bar = line(px, y(100 * p["low"]), px, y(100 * p["high"]), "interval before-line") if p["low"] is not None else ""
    below = y(100 * (p["low"] if p["low"] is not None else p["value"])) + 15
    return group(
        bar,
        _mark(px, py, "before"),
        text(px + 9, min(below, y.start - 5), f"before {words.percent(p['value'])}", "label before-text"),
    )


def _reticle(p: Mapping[str, Any], x: Axis, y: Axis, width: float) -> Markup:
    """The aligned model as a cross of its two intervals with a ring at their meeting."""
    px, py = x(p["kl"]), y(100 * p["value"])
    hairs = []
    if p["low"] is not None and p["high"] is not None:
        hairs.append(line(px, y(100 * p["low"]), px, y(100 * p["high"]), "interval after-line"))
    if p["kl_low"] is not None and p["kl_high"] is not None:
        hairs.append(line(x(p["kl_low"]), py, x(p["kl_high"]), py, "interval after-line"))
    left = px > 0.6 * width
    said = f"after {words.percent(p['value'])}"
    label = text(px + (-13 if left else 13), py - 12, said, "label after-text", "end" if left else "start")
    return group(*hairs, dot(px, py, "ring", 9), _mark(px, py, "after", 3.5), label)


def _frontier_words(plot: Mapping[str, Any]) -> str:
    said = []
    if plot["before"]:
        said.append(f"Before, at KL 0: {words.percent(plot['before']['value'])}.")
    if plot["after"]:
        said.append(
            f"Aligned, at KL {words.number(plot['after']['kl'], 1)} nats: {words.percent(plot['after']['value'])}."
        )
    said += [
        f"Best of {p['n']:.0f}, KL {words.number(p['kl'], 2)}: {words.percent(p['value'])}."
        for p in plot["curve"]
        if p["n"] is not None
    ]
    return " ".join(said)


STROKES = ("first", "second", "third")


def panel(data: Mapping[str, Any], name: str, width: float = 250, height: float = 158) -> Markup:
    """One small multiple: up to three series over steps, the last value written at the end of each."""
    values = [v for s in data["series"] for _, v in s["points"]]
    steps = [p[0] for s in data["series"] for p in s["points"]]
    low, high = (0.0, 1.0) if data["unit"] == "share" and min(values) >= 0 and max(values) <= 1 else svg.limits(values)
    ends = [_short(low), _short(high)]
    x = Axis(min(steps), max(steps), 8.0 + 6.2 * max(map(len, ends)), width - 48)
    y = Axis(low, high, height - 26, 14)
    grid = [line(x.start, y(v), x.end, y(v), "grid") for v in (low, (low + high) / 2, high)]
    marks = [text(x.start - 6, y(v) + 4, t, "tick small", "end") for v, t in zip((low, high), ends, strict=True)]
    under = (
        [text(x(v), height - 9, f"{v:,.0f}", "tick small", a) for v, a in ((x.low, "start"), (x.high, "end"))]
        if x.low < x.high
        else []
    )
    zero = [line(x.start, y(0), x.end, y(0), "limb fine")] if low < 0 < high else []
    desc = " ".join(f"{s['name']} goes from {_short(s['first'])} to {_short(s['last'])}." for s in data["series"])
    return figure(
        name, width, height, data["title"], desc, *grid, *zero, *marks, *under, *_series(data["series"], x, y)
    )


def _series(series: Sequence[Mapping[str, Any]], x: Axis, y: Axis) -> Iterable[Markup]:
    heights = _apart([y(s["points"][-1][1]) for s in series], 12)
    for s, stroke, label in zip(series, STROKES, heights, strict=False):
        path = [(x(a), y(b)) for a, b in s["points"]]
        yield svg.trace(path, f"curve-{stroke}") if len(path) > 1 else Markup("")
        if len(path) <= 12:
            yield group(*(dot(px, py, f"dot-{stroke}", 2) for px, py in path))
        yield text(path[-1][0] + 6, label + 4, _short(s["last"]), f"tick small text-{stroke}")


def _apart(wanted: Sequence[float], gap: float) -> list[float]:
    """The wanted heights pushed apart until neighbours are at least `gap` from each other."""
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    placed = list(wanted)
    for a, b in itertools.pairwise(order):
        placed[b] = max(placed[b], placed[a] + gap)
    return placed


def _short(value: float) -> str:
    """At most about five characters: '0.693', '−132', '2e−4'."""
    if value != 0 and (abs(value) < 1e-3 or abs(value) >= 1e5):
        mantissa, _, power = f"{value:.1e}".partition("e")
        return f"{mantissa.removesuffix('.0')}e{int(power)}".replace("-", "−")
    return words.number(
        value, 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 1 or value == 0 else 3
    )
