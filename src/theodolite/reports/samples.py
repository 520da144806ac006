"""Which answers to show side by side. The first answer of each side is compared, in file order: nothing is picked by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from theodolite.reports import words

OUTCOMES = ("improved", "worsened", "unchanged", "unscored")
SHOWN = 6
FOLD = 600
"""Characters of an answer shown before the rest is folded away."""


def side_by_side(rows: Sequence[Mapping[str, Any]], shown: int = SHOWN) -> dict[str, Any] | None:
    """Counts of every outcome and a mixed handful: outcomes take turns until `shown` are found."""
    pairs = [p for p in (pair(r) for r in rows) if p["before"] or p["after"]]
    if not pairs:
        return None
    queues = {o: [p for p in pairs if p["outcome"] == o] for o in OUTCOMES}
    picked: list[dict[str, Any]] = []
    turn = 0
    while len(picked) < min(shown, len(pairs)):
        picked += [queue[turn] for queue in queues.values() if turn < len(queue)]
        turn += 1
    chosen = {id(p) for p in picked[:shown]}
    ordered = [p for o in OUTCOMES for p in queues[o] if id(p) in chosen]
    return {"counts": {o: len(q) for o, q in queues.items() if q}, "of": len(pairs), "shown": ordered}


def pair(row: Mapping[str, Any]) -> dict[str, Any]:
    before, after = answer(row.get("before")), answer(row.get("after"))
    return {
        "id": str(row.get("id", "")),
        "prompt": str(row.get("prompt") or ""),
        "constraints": [words.rule(str(c)) for c in row.get("constraints") or ()],
        "outcome": outcome(before, after),
        "before": before,
        "after": after,
    }


def answer(side: Any) -> dict[str, Any] | None:
    """The first of a side's answers, with its checks as a list and long text folded."""
    first = side[0] if isinstance(side, list) and side else side
    if not isinstance(first, Mapping):
        return None
    text, checks = str(first.get("text") or ""), first.get("checks")
    checks = checks if isinstance(checks, Mapping) else {}
    score = first.get("score")
    head, rest = fold(text)
    return {
        "text": head,
        "rest": rest,
        "score": float(score) if isinstance(score, int | float) else None,
        "checks": [{"name": words.rule(str(k)), "met": None if v is None else bool(v)} for k, v in checks.items()],
    }


def fold(text: str, limit: int = FOLD) -> tuple[str, str]:
    """Head and rest, cut at the last space before the limit; short texts, and those hardly over it, stay whole."""
    if len(text) <= 1.25 * limit:
        return text, ""
    cut = max(text.rfind(" ", 0, limit), text.rfind("\n", 0, limit))
    cut = cut if cut > limit // 2 else limit
    return text[:cut], text[cut:]


def outcome(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> str:
    """'improved', 'worsened' or 'unchanged' by score, or by the share of checks met where a score is missing."""
    a, b = _mark(before), _mark(after)
    if a is None or b is None:
        return "unscored"
    return "improved" if b > a + 1e-9 else "worsened" if b < a - 1e-9 else "unchanged"


def _mark(side: Mapping[str, Any] | None) -> float | None:
    if side is None:
        return None
    known = [c["met"] for c in side["checks"] if c["met"] is not None]
    return side["score"] if side["score"] is not None else sum(known) / len(known) if known else None
