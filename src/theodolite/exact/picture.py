"""The frontier as one self-contained page: one picture, one table, no scripts, light and dark, printable."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape

import numpy as np

from theodolite.exact.results import FrontierResult, Method, Point

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 1180, 640, 64, 210, 20, 52
TICKS = (0.0, 0.05, 0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)
KINDS = {
    "pairs": "comparisons",
    "labels": "thumbs",
    "rankings": "rankings",
    "sft": "demonstrations",
    "negatives": "bad answers",
    "teacher": "a teacher",
    "reward": "the judge itself",
}


def html(result: FrontierResult) -> str:
    """The page. Every number on it is in `result.to_json()` too."""
    hover = "".join(
        f"body:has(.m-{m.name}:hover) .m-{m.name}{{--w:3.2;--o:1;--r:6.5}}" for m in result.methods.values()
    )
    how = "every verdict counted exactly" if result.exact else f"{result.samples:,} sampled verdicts a prompt"
    kinds = [k for k in KINDS if any(m.data == k for m in result.methods.values())]
    legend = "".join(f'<span class="k-{k}"><i></i>{KINDS[k]}</span>' for k in kinds)
    worlds = ", ".join(n.replace("_", " ") for n in result.headline)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>The frontier</title><style>{_STYLE}{hover}</style></head><body><main>
<h1>How far each method ends from the best possible policy</h1>
<p class="lead">Each method was trained to its end in small worlds where the best policy is known exactly
({how}, {result.seeds} seeds). The line on top is the most reward that any policy can have at that distance from
the reference; the dashed line is best-of-n. A dot is a method at the strength that serves it best near
{result.budget:g} nats, its thin line the sweep of its own strength. Pooled over the worlds whose annotators are
faithful: {escape(worlds)}.</p>
<p class="legend"><span class="k-frontier"><i></i>exact frontier</span><span class="k-bon"><i></i>best-of-n</span>{legend}</p>
{_svg(result)}
<h2>Regret</h2>
<p>The share of the reward gain that a method missed at the KL it spent: 0 % is the best possible policy, 100 % is no better
than not training. The interval is over seeds. On the right, the same in each world; where annotators err, the frontier is
that of the true reward, which nobody was told: only a method that knows how they err can reach 0.</p>
{_table(result)}
{_notes(result)}
<p class="foot">{result.seconds:.0f} s. Rewards have mean 0 and standard deviation 1 under the reference of every prompt;
KL is KL(policy ‖ reference), in nats. ∞ marks a loss without a minimum. A teacher, where a method has one, is itself an
optimum. <i>KL to optimum</i> is measured to p exp(r / strength) where a method's strength names
such an optimum (marked =), else to the nearest optimum. <i>Verdicts</i>: how many a prompt until regret stays below 10 %,
at the same strength.</p>
</main></body></html>
"""


def _svg(result: FrontierResult) -> str:
    """The picture. x is the square root of KL, on which the frontier starts as a straight line."""
    frontier = result.pooled.frontier
    tracks = {m.name: _track(m, result.headline) for m in result.methods.values()}
    right = 1.08 * frontier[-1][0]
    shown = [r for t in tracks.values() for k, r in t if k <= right and math.isfinite(r)]
    top, bottom = 1.06 * frontier[-1][1], max(min([0.0, *shown]) - 0.05, -0.6)

    def x(k: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * math.sqrt(max(k, 0) / right)

    def y(r: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (top - r) / (top - bottom)

    def path(points: Iterable[tuple[float, float]]) -> str:
        return "M" + "L".join(f"{x(k):.1f},{y(r):.1f}" for k, r in points)

    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="Reward against KL for every method">']
    parts.append(
        f'<clipPath id="inside"><rect x="{LEFT}" y="{TOP - 8}" width="{WIDTH - LEFT - RIGHT}" '
        f'height="{HEIGHT - TOP - BOTTOM + 8}"/></clipPath>'
    )
    for tick in (t for t in TICKS if t <= right):
        parts.append(f'<path class="grid" d="M{x(tick):.1f},{TOP}V{HEIGHT - BOTTOM}"/>')
        parts.append(
            f'<text class="tick" x="{x(tick):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{tick:g}</text>'
        )
    for value in np.arange(math.ceil(bottom * 2) / 2, top, 0.5):
        parts.append(f'<path class="grid" d="M{LEFT},{y(value):.1f}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text class="tick" x="{LEFT - 8}" y="{y(value) + 4:.1f}" text-anchor="end">{value:g}</text>')
    parts.append(
        f'<text class="axis" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 10}" text-anchor="middle">'
        "KL to the reference, nats (square-root scale)</text>"
        f'<text class="axis" x="16" y="{(TOP + HEIGHT - BOTTOM) / 2}" text-anchor="middle" '
        f'transform="rotate(-90 16 {(TOP + HEIGHT - BOTTOM) / 2})">true reward, standard deviations</text>'
    )
    parts.append('<g clip-path="url(#inside)">')
    for m in result.methods.values():
        if len(tracks[m.name]) > 1 and m.name != "best_of_n":
            title = f"<title>{escape(m.name)}</title>"
            parts.append(f'<path class="track k-{m.data} m-{m.name}" d="{path(tracks[m.name])}">{title}</path>')
    parts.append(f'<path class="bon" d="{path([(0, 0)] + [(k, r) for _, k, r in result.pooled.best_of_n])}"/>')
    parts.append(f'<path class="frontier" d="{path(frontier)}"/></g>')
    parts += _labels(result.ranked(), x, y)
    return "".join(parts) + "</svg>"


def _labels(methods: Sequence[Method], x, y) -> list[str]:  # type: ignore[no-untyped-def]
    """Dots with their names in a column on the right, ordered by height and pushed apart until none overlap."""
    drawn = sorted((m for m in methods if math.isfinite(m.reward)), key=lambda m: -m.reward)
    step = min(19.0, (HEIGHT - TOP - BOTTOM + 16) / max(len(drawn), 1))
    places = _spread([y(m.reward) for m in drawn], step, TOP + 2, HEIGHT - BOTTOM + 14)
    parts = []
    for m, place in zip(drawn, places):
        px, py = min(x(m.kl), WIDTH - RIGHT), min(y(m.reward), HEIGHT - BOTTOM)
        edge = WIDTH - RIGHT + 22
        regret = f"{100 * m.regret:.1f} %" if math.isfinite(m.regret) else "stayed"
        title = f"<title>{escape(m.name)}: KL {m.kl:.3f} nats, reward {m.reward:.3f}, regret {regret}</title>"
        parts.append(
            f'<g class="k-{m.data} m-{m.name}">{title}'
            f'<path class="leader" d="M{px:.1f},{py:.1f}L{edge - 12},{place:.1f}H{edge - 4}"/>'
            f'<circle class="dot" cx="{px:.1f}" cy="{py:.1f}"/>'
            f'<text class="name" x="{edge}" y="{place + 4:.1f}">{escape(m.name)}</text>'
            f'<text class="share" x="{WIDTH - 6}" y="{place + 4:.1f}" text-anchor="end">{regret}</text></g>'
        )
    return parts


def _spread(wanted: Sequence[float], step: float, low: float, high: float) -> list[float]:
    """Ascending places at least `step` apart inside [low, high], near the wanted ones (pool-adjacent-violators).

    `_spread([0, 0, 9], 2, -5, 20)` is [-1, 1, 9].
    """
    shifted = [w - i * step for i, w in enumerate(wanted)]
    blocks: list[list[float]] = []
    for value in shifted:
        blocks.append([value, 1])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            mean, size = blocks.pop()
            blocks[-1] = [(blocks[-1][0] * blocks[-1][1] + mean * size) / (blocks[-1][1] + size), blocks[-1][1] + size]
    flat = [mean for mean, size in blocks for _ in range(int(size))]
    last = high - step * (len(wanted) - 1)
    return [min(max(v, low), max(last, low)) + i * step for i, v in enumerate(flat)]


def _track(method: Method, headline: Sequence[str]) -> list[tuple[float, float]]:
    """(KL, reward) of every strength, in its order, averaged over the headline worlds and seeds."""
    per_world: list[list[Point]] = [method.points[n] for n in headline]
    return [
        (float(np.mean([p.kl for p in at])), float(np.mean([p.reward for p in at])))
        for at in zip(*per_world, strict=True)
    ]


def _table(result: FrontierResult) -> str:
    heads = "".join(f'<th class="w">{escape(n.replace("_", " "))}</th>' for n in result.worlds)
    rows = "".join(_row(i + 1, m, result) for i, m in enumerate(result.ranked()))
    return (
        '<div class="scroll"><table><thead><tr><th>#</th><th class="l">method</th><th>regret, %</th><th>95 %</th>'
        "<th>KL</th><th>reward</th><th>KL to optimum</th><th>verdicts</th>"
        f"<th>strength</th>{heads}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _row(rank: int, m: Method, result: FrontierResult) -> str:
    cells = "".join(_heat(m.worlds.get(n, math.nan), n in result.headline) for n in result.worlds)
    mark = "=" if m.optimum == "same strength" else ""
    verdicts = "never" if m.samples_to_90 is None else f"{m.samples_to_90:,.0f}"
    if not m.share_by_samples:
        verdicts = "–"
    strength = f"{m.knob} {m.strength:.3g}" if m.knob and math.isfinite(m.strength) else "–"
    ends = {e for points in m.points.values() for p in points for e in p.ending}
    flag = ' <abbr title="at some strength or world this loss has no minimum">∞</abbr>' if "unbounded" in ends else ""
    told = f"{escape(m.summary)} Learns from {KINDS.get(m.data, m.data)}."
    return (
        f'<tr class="m-{m.name}"><td>{rank}</td><td class="l"><b class="k-{m.data}" title="{told}"><i></i>'
        f"{escape(m.name)}</b>{flag}</td><td><b>{_percent(m.regret)}</b></td>"
        f"<td>{_percent(m.low)}–{_percent(m.high)}</td><td>{m.kl:.2f}</td><td>{m.reward:.2f}</td>"
        f"<td>{mark}{_small(m.kl_to_optimum)}</td><td>{verdicts}</td><td>{escape(strength)}</td>{cells}</tr>"
    )


def _heat(share: float, faithful: bool) -> str:
    depth = 0 if math.isnan(share) else min(share, 1.0)
    kind = "w" if faithful else "w e"
    return f'<td class="{kind}" style="--d:{100 * math.sqrt(depth):.0f}%">{_percent(share)}</td>'


def _percent(share: float) -> str:
    if math.isnan(share):
        return "–"
    value = 100 * share
    return "0" if value < 1e-6 else "&lt;0.1" if value < 0.05 else f"{value:.1f}" if value < 9.95 else f"{value:.0f}"


def _small(value: float) -> str:
    return (
        "–" if math.isnan(value) else "&lt;1e-9" if value < 1e-9 else f"{value:.1e}" if value < 1e-3 else f"{value:.3f}"
    )


def _notes(result: FrontierResult) -> str:
    refused = "".join(f"<li><b>{escape(n)}</b> {escape(why)}</li>" for n, why in sorted(result.not_applicable.items()))
    worlds = "".join(
        f"<li><b>{escape(n.replace('_', ' '))}</b> {escape(w.summary)}</li>" for n, w in result.worlds.items()
    )
    left_out = f"<div><h2>Not in the picture</h2><ul>{refused}</ul></div>" if refused else ""
    return f'<div class="two"><div><h2>The worlds</h2><ul>{worlds}</ul></div>{left_out}</div>'


_STYLE = """
:root{color-scheme:light dark;--ink:#1c1d21;--soft:#6b6f78;--line:#e3e4e8;--page:#fbfbfa;--heat:#d8543a;
--pairs:#2f6fd0;--labels:#c2571a;--rankings:#7b4bc4;--sft:#4c8c2b;--negatives:#b3316b;--teacher:#0d8a86;--reward:#77797f}
@media(prefers-color-scheme:dark){:root{--ink:#ececea;--soft:#9a9ea8;--line:#32343a;--page:#17181b;--heat:#c2452d;
--pairs:#76a8f5;--labels:#f0955c;--rankings:#b794f0;--sft:#8cc763;--negatives:#ee7fae;--teacher:#4cc6c0;--reward:#a5a7ad}}
body{margin:0;background:var(--page);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
main{max-width:1300px;margin:0 auto;padding:28px 24px 60px}
h1{font-size:26px;margin:0 0 8px;line-height:1.2}h2{font-size:18px;margin:30px 0 6px}
p{max-width:78ch;margin:6px 0}.foot,.two{color:var(--soft);font-size:13px}.foot{margin-top:22px}
.legend{display:flex;flex-wrap:wrap;gap:4px 18px;font-size:13px;max-width:none;margin:14px 0 2px}
.legend i,td b i{display:inline-block;width:10px;height:10px;border-radius:50%;background:var(--c);margin-right:6px}
.legend .k-frontier i,.legend .k-bon i{width:22px;height:0;border-radius:0;background:none;border-top:3px solid var(--ink);
vertical-align:4px}.legend .k-bon i{border-top:2px dashed var(--soft)}
svg{width:100%;height:auto;display:block}
.k-pairs{--c:var(--pairs)}.k-labels{--c:var(--labels)}.k-rankings{--c:var(--rankings)}.k-sft{--c:var(--sft)}
.k-negatives{--c:var(--negatives)}.k-teacher{--c:var(--teacher)}.k-reward{--c:var(--reward)}
.grid{stroke:var(--line);fill:none}.tick{fill:var(--soft);font-size:12px}.axis{fill:var(--soft);font-size:13px}
.frontier{fill:none;stroke:var(--ink);stroke-width:3}.bon{fill:none;stroke:var(--soft);stroke-width:2;stroke-dasharray:7 5}
.track{fill:none;stroke:var(--c);stroke-width:var(--w,1.1);opacity:var(--o,.38);stroke-linejoin:round}
.dot{fill:var(--c);stroke:var(--page);stroke-width:1.5;r:calc(var(--r,4.6)*1px)}
.leader{fill:none;stroke:var(--c);stroke-width:calc(var(--w,.9)*.8);opacity:calc(var(--o,.35))}
.name{fill:var(--ink);font-size:13px}.share{fill:var(--soft);font-size:12px;font-variant-numeric:tabular-nums}
g:hover .name{font-weight:700}
.scroll{overflow-x:auto}table{border-collapse:collapse;font-size:13px;font-variant-numeric:tabular-nums;width:100%}
th{font-weight:500;color:var(--soft);text-align:right;padding:4px 7px;vertical-align:bottom;border-bottom:1px solid var(--line)}
td{text-align:right;padding:3px 7px;border-bottom:1px solid var(--line);white-space:nowrap}
.l{text-align:left}th.w{font-size:12px;line-height:1.15;max-width:70px}
td.w{background:color-mix(in srgb,var(--heat) calc(var(--d)*.55),transparent)}
tr:hover td:not(.w){background:color-mix(in srgb,var(--soft) 14%,transparent)}
.two{display:grid;grid-template-columns:repeat(auto-fit,minmax(340px,1fr));gap:0 40px}.two h2{color:var(--ink)}
ul{padding-left:18px;margin:4px 0}
abbr{text-decoration:none;color:var(--soft)}
@media print{body{background:#fff}.scroll{overflow:visible}}
"""
