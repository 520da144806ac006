"""Everything the page says, as plain JSON values. The page is drawn from this and report.json is this."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from theodolite.reports import words
from theodolite.reports.folder import RunData
from theodolite.reports.samples import side_by_side
from theodolite.reports.training import curves
from theodolite.reports.verdict import detectable, headline
from theodolite.types import Reading

STATES = {
    "done": "",
    "running": "The run had not ended when this page was written; what follows is what there was.",
    "failed": "The run failed; what follows is what it left behind.",
    "interrupted": "The run was interrupted; what follows is what was finished. Running the same command again continues it.",
}
STEP_WORDS = {
    "curate": "Prepared the data",
    "align": "Aligned the model",
    "decode": "Set up decoding",
    "measure": "Measured",
    "survey": "Asked the models",
    "audit": "Audited",
    "report": "Wrote this page",
}
ORDER = (
    "pass_rate",
    "pass_rate_loose",
    "constraint_rate",
    "reward_accuracy",
    "kl",
    "kl.per_token",
    "length",
    "truncated",
)


def contents(data: RunData) -> dict[str, Any]:
    """The page's data. Sections that have nothing to say are None; `absent` tells why."""
    verdict = headline(data.readings)
    page: dict[str, Any] = finite(
        {
            "format": 1,
            "title": str(data.run.get("title") or data.run.get("name") or data.path.name),
            "id": str(data.run.get("id") or data.path.name),
            "created": words.moment(data.run.get("created")),
            "seconds": data.run.get("seconds"),
            "status": status(data),
            "verdict": asdict(verdict) | {"sentence": verdict.sentence},
            "key_numbers": families(data),
            "by_constraint": by_constraint(data.reading("pass_rate.difference")),
            "frontier": frontier(data),
            "training": curves(data.training),
            "steps": steps(data),
            "model": data.run.get("model") if isinstance(data.run.get("model"), dict) else None,
            "data": rows_used(data.data),
            "checks": [event(e) for e in data.said("check")],
            "warnings": [event(e) for e in data.said("warning")],
            "samples": side_by_side(data.samples),
            "readings": [reading(r, decimals(r, data)) for r in data.readings],
            "provenance": provenance(data),
            "recipe": data.recipe_text,
            "absent": dict(data.absent),
            "problems": list(data.problems),
        }
    )
    return page


def finite(value: Any) -> Any:
    """The same value with NaN and infinities as None, so that it is valid JSON."""
    if isinstance(value, Mapping):
        return {str(k): finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def status(data: RunData) -> dict[str, str]:
    state = str(data.run.get("status") or "unknown")
    stopped = next((s for s in data.steps if s.get("status") in ("failed", "running", "interrupted")), None)
    where = f"It stopped in step '{stopped.get('name') or stopped.get('kind')}'." if stopped and state != "done" else ""
    note = STATES.get(state, "run.json does not say how the run ended.")
    return {"state": state, "note": f"{note} {where}".strip(), "failure": str(data.run.get("failure") or "")}


def decimals(r: Reading, data: RunData) -> int:
    """Decimals shared by the before, after and difference of one quantity."""
    base, side = words.split(r.name)
    if not side:
        return words.digits(r)
    before, after, difference = (data.reading(f"{base}.{s}") for s in words.SIDES)
    return words.agreeing(before, after, difference)


def reading(r: Reading, places: int) -> dict[str, Any]:
    """The reading's own JSON with the words that the page prints beside it."""
    base, side = words.split(r.name)
    shown = {
        "label": words.label(base),
        "side": side,
        "curve": math.isnan(r.value) and "curve" in r.parts,
        "amount": "a curve" if math.isnan(r.value) and "curve" in r.parts else words.amount(r, places),
        "span": words.span(r, places),
        "p": words.p_text(r.p_value),
        "why_missing": "; ".join(f"{reason}: {count}" for reason, count in r.why.items()),
    }
    return r.to_json() | {"shown": shown}


def families(data: RunData) -> list[dict[str, Any]]:
    """Readings of one quantity together (before, after, difference; or alone), the important ones first."""
    found: dict[str, dict[str, Reading]] = {}
    for r in data.readings:
        base, side = words.split(r.name)
        if not (math.isnan(r.value) and "curve" in r.parts):
            found.setdefault(base, {})[side or "alone"] = r
    rank = {name: i for i, name in enumerate(ORDER)}
    ordered = sorted(found, key=lambda b: rank.get(b, len(ORDER)))
    return [
        {"name": base, "label": words.label(base)}
        | {side: reading(r, decimals(r, data)) for side, r in found[base].items()}
        for base in ordered
        if any(not math.isnan(r.value) for r in found[base].values()) and base != "best_of_n"
    ]


def by_constraint(difference: Reading | None) -> dict[str, Any] | None:
    """Rows sorted by their difference, best first, each told apart from chance or not."""
    rows = [r for r in (difference.parts.get("by_constraint") or () if difference else ()) if isinstance(r, dict)]
    made: list[dict[str, Any]] = []
    for row in rows:
        sides = {k: _float(row.get(k)) for k in BOUNDS}
        change = Reading("x.difference", sides["difference"], sides["low"], sides["high"], unit="share")
        made.append(
            sides
            | {
                "constraint": words.rule(str(row.get("constraint", ""))),
                "n": row.get("n"),
                "shown": words.amount(change),
                "span": words.span(change),
                "detectable": detectable(change),
            }
        )
    made.sort(key=lambda r: -r["difference"] if math.isfinite(r["difference"]) else math.inf)
    return {"rows": made, "beyond_chance": sum(r["detectable"] for r in made)} if made else None


BOUNDS = ("before", "before_low", "before_high", "after", "after_low", "after_high", "difference", "low", "high")


def frontier(data: RunData) -> dict[str, Any] | None:
    """KL against reward: the model before at KL 0, the aligned model, and the best-of-n curve where it was drawn."""
    kl, after, before = data.reading("kl"), data.reading("pass_rate.after"), data.reading("pass_rate.before")
    best = data.reading("best_of_n")
    rows = [p for p in (best.parts.get("curve") or () if best else ()) if isinstance(p, dict)]
    curve = [{k: _float(p.get(k)) for k in ("n", "kl", "value", "low", "high")} for p in rows]
    curve = sorted((p for p in curve if math.isfinite(p["kl"]) and math.isfinite(p["value"])), key=lambda p: p["kl"])
    aligned = kl is not None and after is not None and not math.isnan(kl.value) and not math.isnan(after.value)
    if not aligned and not curve:
        return None
    return {
        "before": None if before is None else _point(before, None),
        "after": _point(after, kl) if aligned and after else None,
        "curve": curve,
        "says": _compare_curve(after, kl, curve) if aligned and after and kl and curve else "",
    }


def _point(value: Reading, kl: Reading | None) -> dict[str, Any]:
    at = {"kl": 0.0, "kl_low": math.nan, "kl_high": math.nan}
    if kl is not None:
        at = {"kl": kl.value, "kl_low": kl.low, "kl_high": kl.high}
    return at | {"value": value.value, "low": value.low, "high": value.high}


def _compare_curve(after: Reading, kl: Reading, curve: list[dict[str, float]]) -> str:
    """What best-of-n reaches at the same KL, by linear interpolation, or at its last point where the curve ends sooner."""
    last = curve[-1]
    if kl.value > last["kl"]:
        return (
            f"The best-of-{last['n']:.0f} curve ends at {words.percent(last['value'])} for {last['kl']:.1f} nats; the aligned "
            f"model reaches {words.percent(after.value)} for {words.number(kl.value, 1)} nats, beyond what the curve can be compared with."
        )
    for left, right in itertools.pairwise(curve):
        if left["kl"] <= kl.value <= right["kl"] and right["kl"] > left["kl"]:
            share = (kl.value - left["kl"]) / (right["kl"] - left["kl"])
            value = left["value"] + share * (right["value"] - left["value"])
            return (
                f"At the same KL of {words.number(kl.value, 1)} nats best-of-n sampling reaches about {words.percent(value)} "
                f"(between its points), the aligned model {words.percent(after.value)}."
            )
    return ""


def steps(data: RunData) -> list[dict[str, Any]]:
    """Recipe steps in words with what the runner recorded; steps never reached are named too."""
    asked = data.asked
    kinds = [str(s.get("step") or next(iter(s), "")) for s in asked]
    count = max(len(asked), len(data.steps))
    made = []
    for i in range(count):
        want = asked[i] if i < len(asked) else {}
        did = data.steps[i] if i < len(data.steps) else {}
        kind = str(did.get("kind") or (kinds[i] if i < len(kinds) else ""))
        made.append(
            {
                "kind": kind,
                "name": str(did.get("name") or want.get("name") or kind),
                "words": STEP_WORDS.get(kind, kind.replace("_", " ").capitalize()),
                "status": str(did.get("status") or "not reached"),
                "cached": bool(did.get("cached")),
                "time": words.duration(did.get("seconds")),
                "summary": str(did.get("summary") or ""),
                "settings": words.settings(want),
            }
        )
    return made


def rows_used(data: Mapping[str, Any]) -> dict[str, Any] | None:
    """The data's counts, with the rows left out gathered by their reason, the commonest first."""
    if not data:
        return None
    by_reason: dict[tuple[str, str], list[Any]] = {}
    for bad in data.get("bad") or ():
        if isinstance(bad, Mapping):
            key = (str(bad.get("reason") or "no reason given"), str(bad.get("fix") or ""))
            by_reason.setdefault(key, []).append(bad.get("row"))
    left_out: list[dict[str, Any]] = [
        {"reason": reason, "fix": fix, "count": len(rows), "rows": rows} for (reason, fix), rows in by_reason.items()
    ]
    left_out.sort(key=lambda group: -group["count"])
    return {k: data.get(k) for k in ("rows", "kept", "length_bias")} | {"left_out": left_out}


def event(row: Mapping[str, Any]) -> dict[str, str]:
    return {"text": str(row.get("text", "")), "step": str(row.get("step") or "")}


def provenance(data: RunData) -> list[tuple[str, str]]:
    """(what, value) lines, known ones only."""
    run = data.run
    machine, versions = mapping(run.get("machine")), mapping(run.get("versions"))
    cores = f"{machine['cores']} cores" if machine.get("cores") else ""
    memory = f"{float(machine['memory_gb']):.0f} GB of memory" if _is_number(machine.get("memory_gb")) else ""
    parts = [str(machine.get("cpu") or ""), cores, memory, str(machine.get("gpu") or "no GPU" if machine else "")]
    lines = [
        ("Run", str(run.get("id") or data.path.name)),
        ("Started", words.moment(run.get("created"))),
        ("Took", words.duration(run.get("seconds"))),
        ("Seed", "" if run.get("seed") is None else str(run["seed"])),
        ("Machine", ", ".join(p for p in parts if p)),
        ("Versions", ", ".join(f"{k} {v}" for k, v in versions.items())),
        ("To repeat", str(run.get("command") or "")),
    ]
    return [(k, v) for k, v in lines if v]


def mapping(value: Any) -> dict[str, Any]:
    """The value where it is a dict, else an empty one."""
    return value if isinstance(value, dict) else {}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _float(value: Any) -> float:
    return float(value) if _is_number(value) else math.nan
