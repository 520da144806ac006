"""What a comparison says in sentences: its claim, what carries it, and what must be known before it is believed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from theodolite.data.results.comparing import Comparison, Row
from theodolite.measures.compare import CORRECTIONS
from theodolite.reports import words

CHANGES = ("better", "worse", "higher", "lower")
UNMEASURED = "judge not measured"


def claim(rows: Sequence[Row]) -> str:
    """The page's first sentence, without its full stop."""
    if len(rows) == 1:
        r = rows[0]
        if r.verdict in ("better", "worse"):
            return f"{r.b} is {r.verdict} than {r.a} on {r.metric}"
        if r.verdict in ("higher", "lower"):
            return f"{r.metric} is {r.verdict} for {r.b} than for {r.a}"
        if r.verdict == "no detectable change":
            return f"No detectable change in {r.metric} from {r.a} to {r.b}"
        return f"Too few items to tell {r.b} from {r.a} on {r.metric}"
    counts: Counter[str] = Counter(r.verdict for r in rows)
    changed = [r for r in rows if r.verdict in CHANGES]
    few = counts["too few items to tell"]
    if not changed:
        if few == len(rows):
            return f"Too few items to tell the sides apart in any of {len(rows)} comparisons"
        return f"No detectable change in any of {len(rows)} comparisons" + (
            f", {few} of them too small to tell" if few else ""
        )
    pairs = {(r.a, r.b) for r in rows}
    if len({(r.a, r.metric) for r in rows}) == 1:
        return _against_one(rows)
    kinds = [k for k in CHANGES if counts[k]]
    if len(pairs) == 1:
        a, b = next(iter(pairs))
        parts = []
        for k in kinds:
            names = [r.metric for r in changed if r.verdict == k]
            parts.append(f"{k} on {', '.join(names)}" if len(names) <= 2 else f"{k} on {len(names)} metrics")
        rest = len(rows) - len(changed)
        return f"Against {a}, {b} is {' and '.join(parts)}" + (
            f"; {rest} of {len(rows)} show no detectable change" if rest else ""
        )
    return f"{len(changed)} of {len(rows)} comparisons show a difference"


def _against_one(rows: Sequence[Row]) -> str:
    """Several sides against one, on one metric."""
    by_verdict: dict[str, list[str]] = {}
    for r in rows:
        by_verdict.setdefault(r.verdict, []).append(r.b)
    told = [
        f"{' and '.join(names)} {'is' if len(names) == 1 else 'are'} {k}"
        for k, names in by_verdict.items()
        if k in CHANGES
    ]
    rest = sum(len(names) for k, names in by_verdict.items() if k not in CHANGES)
    flat = f"; {rest} of {len(rows)} show no detectable change" if rest else ""
    return f"Against {rows[0].a} on {rows[0].metric}, {' and '.join(told)}{flat}"


def standfirst(found: Comparison, rows: Sequence[Mapping[str, Any]]) -> str:
    """What carries the claim: the numbers of one comparison, or how many were made."""
    if len(rows) > 1:
        return f"{how_corrected(found)} Differences are paired by item, later side minus earlier."
    r = rows[0]
    if not r["n"]:
        return "No item has a value on both sides."
    parts = [f"{r['shown']['b']} for {r['b']}, {r['shown']['a']} for {r['a']}, over {words.plural(r['n'], 'item')}"]
    if r["clusters"] != r["n"]:
        parts[0] += f" in {words.plural(r['clusters'], 'cluster')}"
    span = f" ({words.level_text(found.level)} interval {r['shown']['span']})" if r["shown"]["span"] else ""
    parts.append(f"a difference of {r['shown']['difference']}{span}")
    parts.append(words.p_text(r["p"]))
    told = ", ".join(p for p in parts if p)
    could = r["shown"]["detectable"]
    return (
        f"{told}. This sample would have found a difference of {could} four times out of five." if could else f"{told}."
    )


def how_corrected(found: Comparison) -> str:
    count = len(found.rows)
    if count == 1:
        return "One comparison, so there is nothing to correct for."
    if found.correction == "none":
        chance = count * (1 - found.level)
        return f"{count} comparisons, not corrected for being many: expect {chance:.2g} to look clear by chance."
    return f"{count} comparisons, corrected for being many ({CORRECTIONS[found.correction]})."


def cautions(found: Comparison) -> Iterable[str]:
    """What must be known before the numbers are believed."""
    for m in found.accepted:
        yield f"Compared despite a difference of protocol. {m}."
    for name in dict.fromkeys(r.judge for r in found.rows if r.judge and r.reliability is None):
        yield (
            f"{UNMEASURED[0].upper()}{UNMEASURED[1:]}: how far the judge '{name}' agrees with people is unknown, so its "
            "numbers may be its own taste."
        )
    if found.correction == "none" and len(found.rows) > 1:
        yield how_corrected(found)
    for r in found.rows:
        d = r.difference
        clear = d.low > 0 or d.high < 0
        if clear and r.verdict == "no detectable change":
            yield f"{r.metric}, {r.b} against {r.a}: the interval leaves out 0, but the corrected test does not reach the level."
        elif not clear and r.verdict in CHANGES:
            yield f"{r.metric}, {r.b} against {r.a}: the test reaches the level, but the interval contains 0. Weak evidence."
        if r.missing > 0.1 * (d.n + r.missing):
            why = "; ".join(f"{reason}: {count}" for reason, count in r.why.items())
            yield f"{r.metric}, {r.b} against {r.a}: {r.missing:,} of {d.n + r.missing:,} items were left out ({why})."
    for s in found.results:
        for problem in s.problems:
            yield f"{s.name}: {problem}."
    yield from (f"{said}." for said in found.unrecorded)
