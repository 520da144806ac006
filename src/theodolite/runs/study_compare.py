"""A study's numbers: objectives compared on the same held-out pairs, prompt by prompt and seed by seed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from scipy.stats import t as student

from theodolite import stats
from theodolite.runs import folder as disk
from theodolite.runs.study import Row, Study


def compare(study: Study, found: Sequence[Row]) -> Row:
    """The study's numbers from its runs' held-out pairs; see `Desk.row` for a run's row.

    Per scenario and objective: accuracy, the share of pairs with the higher log pi/ref for the chosen answer (ties half);
    chosen_logratio, in nats; both over prompts with a bootstrap interval, and by seed. difference: accuracy minus the
    baseline's (the first objective that ran), paired by prompt, with a sign-flip test, Holm-corrected within a scenario.
    Those intervals take the trained models as given; `over_seeds` (three seeds and more) is the t-interval of the seeds'
    own differences, which holds the chance of training and of the split as well.
    """
    rng = np.random.default_rng(0)
    scenarios = []
    for scenario in study.scenarios:
        rows = [r for r in found if r["scenario"] == scenario.name]
        plain = [r for r in rows if r["factor"] == 1]
        names = list(dict.fromkeys(r["objective"] for r in plain))
        table = [_summary(study, [r for r in plain if r["objective"] == n], n, rng) for n in names]
        for row, name in zip(table, names):
            row["difference"] = None if name == names[0] else _difference(study, plain, name, names[0], rng)
        _holm([row["difference"] for row in table if row["difference"] is not None])
        varied = [_sensitivity(study, rows, n, rng) for n in names]
        scenarios.append(
            {
                "name": scenario.name,
                "title": scenario.title or scenario.name,
                "model": scenario.model.name,
                "start": scenario.before,
                "baseline": names[0] if names else None,
                "objectives": table,
                "sensitivity": [v for v in varied if len(v["points"]) > 1],
            }
        )
    return {
        "name": study.name,
        "title": study.title or study.name,
        "seeds": study.seeds,
        "level": study.level,
        "budget": study.align,
        "data": study.curate,
        "scenarios": scenarios,
        "machine": disk.machine(),
        "versions": disk.versions(),
        "runs": [{k: r[k] for k in ("scenario", "seed", "objective", "factor", "run", "seconds")} for r in found],
    }


def _summary(study: Study, rows: Sequence[Row], name: str, rng: np.random.Generator) -> Row:
    accuracy, units = _column(rows, _right)
    ratio, _ = _column(rows, lambda p: p["chosen"])
    return {
        "objective": name,
        "accuracy": _mean(accuracy, units, rng, study.level),
        "chosen_logratio": _mean(ratio, units, rng, study.level),
        "by_seed": {str(r["seed"]): float(np.mean([_right(p) for p in r["pairs"]])) for r in rows},
        "first_loss": mean_or_none([r["first_loss"] for r in rows]),
        "last_loss": mean_or_none([r["last_loss"] for r in rows]),
        "missing": sum(r["missing"] for r in rows),
        "seconds": float(np.mean([r["seconds"] for r in rows])),
    }


def _difference(study: Study, rows: Sequence[Row], name: str, base: str, rng: np.random.Generator) -> Row:
    """Accuracy of `name` minus that of `base` on the pairs that both were asked, with the same seed."""
    mine, theirs = ({r["seed"]: r["pairs"] for r in rows if r["objective"] == n} for n in (name, base))
    values, units, by_seed = [], [], {}
    for seed in mine.keys() & theirs.keys():
        other = {p["id"]: p for p in theirs[seed]}
        both = [(p["unit"], _right(p) - _right(other[p["id"]])) for p in mine[seed] if p["id"] in other]
        values += [d for _, d in both]
        units += [u for u, _ in both]
        by_seed[str(seed)] = float(np.mean([d for _, d in both])) if both else None
    means = stats.unit_means(values, units) if values else np.empty(0)
    return _mean(values, units, rng, study.level) | {
        "baseline": base,
        "p_value": _number(stats.sign_flip(means, rng)),
        "by_seed": dict(sorted(by_seed.items())),
        "over_seeds": _t_interval([d for d in by_seed.values() if d is not None], study.level),
    }


def _sensitivity(study: Study, rows: Sequence[Row], name: str, rng: np.random.Generator) -> Row:
    """Accuracy at every factor on the seeds that all factors have."""
    mine = [r for r in rows if r["objective"] == name]
    seeds = set(study.seeds[: study.sensitivity_seeds])
    points = []
    for factor in sorted({r["factor"] for r in mine}):
        at = [r for r in mine if r["factor"] == factor and r["seed"] in seeds]
        values, units = _column(at, _right)
        ratio, _ = _column(at, lambda p: p["chosen"])
        found = mine[0]["strength"]
        points.append(
            {
                "factor": factor,
                "value": None if found is None else found[1] * factor,
                "accuracy": _mean(values, units, rng, study.level),
                "chosen_logratio": _mean(ratio, units, rng, study.level),
            }
        )
    option = mine[0]["strength"][0] if mine[0]["strength"] else None
    return {"objective": name, "option": option, "seeds": sorted(seeds), "points": points}


def _right(pair: Row) -> float:
    gap = pair["chosen"] - pair["rejected"]
    return 1.0 if gap > 0 else 0.0 if gap < 0 else 0.5


def _column(rows: Sequence[Row], value: Callable[[Row], float]) -> tuple[list[float], list[str]]:
    """One number a pair over all rows, and the prompt each belongs to."""
    pairs = [p for r in rows for p in r["pairs"]]
    return [value(p) for p in pairs], [p["unit"] for p in pairs]


def _mean(values: Sequence[float], units: Sequence[str], rng: np.random.Generator, level: float) -> Row:
    """Mean of the prompts' means with a percentile bootstrap over prompts; None where it is undefined."""
    if not values:
        return {"value": None, "low": None, "high": None, "n": 0, "pairs": 0, "method": "bootstrap over prompts"}
    means = stats.unit_means(values, units)
    span = stats.bootstrap_mean(means, rng, level)
    return {
        "value": _number(float(np.mean(means))),
        "low": _number(span.low),
        "high": _number(span.high),
        "n": len(means),
        "pairs": len(values),
        "method": "bootstrap over prompts",
    }


def _t_interval(values: Sequence[float], level: float) -> Row | None:
    """Student's interval of a mean over seeds; None for fewer than three."""
    n = len(values)
    if n < 3:
        return None
    half = float(student.ppf(0.5 + level / 2, n - 1)) * float(np.std(values, ddof=1)) / math.sqrt(n)
    mean = float(np.mean(values))
    return {"value": mean, "low": mean - half, "high": mean + half, "n": n, "method": "t over seeds"}


def _holm(rows: Sequence[Row]) -> None:
    """Adds p_holm: the p-values corrected for their number by Holm's step-down rule (Holm 1979)."""
    known = sorted((r for r in rows if r["p_value"] is not None), key=lambda r: float(r["p_value"]))
    highest = 0.0
    for i, row in enumerate(known):
        highest = max(highest, min(1.0, (len(known) - i) * row["p_value"]))
        row["p_holm"] = highest


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def mean_or_none(values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return float(np.mean(known)) if known else None
