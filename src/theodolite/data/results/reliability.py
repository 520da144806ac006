"""How far a judge can be trusted: its agreement with people, as measured on items that people had labelled."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from theodolite.errors import DataError, UsageError

BESIDE = "judge_reliability.json"
"""a file of this name beside the results is read without being asked for"""
TRIVIAL = ("longer", "random", "first_shown")
"""judges that `theodolite judge-eval` runs along only to be beaten"""
ACCURACY = ("accuracy", "per_look", "both_orders")
"""what judge-eval calls a judge's accuracy: of answers, and of pairs"""
LIKE = '{"judge": "gpt-4", "accuracy": 0.86, "kappa": 0.71, "n": 400}'


@dataclass(frozen=True, slots=True)
class Reliability:
    """judge: its name, '' where the file does not say. accuracy: share of items judged as people did.

    kappa: Cohen's, agreement beyond chance. n: items, 0 where unknown. low, high: the accuracy's interval.
    counted: how accuracy was counted, such as 'per look' where each order of a pair counts.
    """

    judge: str
    accuracy: float
    kappa: float
    n: int = 0
    low: float = math.nan
    high: float = math.nan
    counted: str = ""
    source: str = ""

    def __str__(self) -> str:
        span = "" if math.isnan(self.low) else f" ({100 * self.low:.0f} to {100 * self.high:.0f})"
        counted = f" {self.counted}" if self.counted else ""
        agrees = f"agrees with people on {100 * self.accuracy:.1f} %{span}{counted}"
        return ", ".join([agrees, f"kappa {self.kappa:.2f}", *([f"{self.n:,} items"] if self.n else [])])


def read_reliability(path: str | Path) -> list[Reliability]:
    """Every judge of a file.

    `theodolite judge-eval ... --json`, or an object with `accuracy` and `kappa` (numbers, or readings with a `value`)
    and, if known, `judge` and `n`; a list of readings, or one under `readings`, is searched for names that end in
    accuracy and kappa. Of judge-eval's subsets 'all' is taken, of pairs the accuracy per look.
    """
    path = Path(path)
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(
            f"there is no file {path}. --judge-reliability takes what `theodolite judge-eval --json` prints, or {LIKE}."
        ) from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as JSON: {error}.") from None
    if isinstance(body, Mapping) and isinstance(body.get("judges"), Mapping):
        found = [
            _evaluated(str(j), subsets, path) for j, subsets in body["judges"].items() if isinstance(subsets, Mapping)
        ]
        if found:
            return found
    return [_one(_judge(body), {k: _named(body, k) for k in ("accuracy", "kappa")}, body, path)]


def asked_for(texts: Sequence[str]) -> list[Reliability]:
    """From the command line: FILE, or JUDGE=FILE where the results call the judge by another name."""
    found: list[Reliability] = []
    for text in texts:
        name, sign, file = text.partition("=")
        if not sign or Path(text).exists():
            found += read_reliability(text)
            continue
        judges = read_reliability(file)
        real = [r for r in judges if r.judge not in TRIVIAL] or judges
        if len(real) > 1:
            raise UsageError(
                f"{file} measures {', '.join(r.judge for r in real)}, so it is not clear which of them is '{name}'. Give a "
                "file with one judge."
            )
        found.append(replace(real[0], judge=name))
    return found


def beside(path: Path) -> list[Reliability]:
    """What lies beside a result file, or in a result folder."""
    file = (path if path.is_dir() else path.parent) / BESIDE
    return read_reliability(file) if file.is_file() else []


def _evaluated(judge: str, subsets: Mapping[str, Any], path: Path) -> Reliability:
    """One judge of judge-eval: over all subsets, or the only one."""
    chosen = subsets.get("all") or next(iter(subsets.values()), None)
    readings: Mapping[str, Any] = chosen if isinstance(chosen, Mapping) else {}
    name = next((a for a in ACCURACY if a in readings), "accuracy")
    made = _one(judge, {"accuracy": readings.get(name), "kappa": readings.get("kappa")}, {}, path)
    return replace(made, counted="" if name == "accuracy" else name.replace("_", " "))


def _one(judge: str, rows: Mapping[str, Any], body: Any, path: Path) -> Reliability:
    values = {k: _value(row) for k, row in rows.items()}
    lacking = [k for k, value in values.items() if math.isnan(value)]
    if lacking:
        who = f"the judge '{judge}'" if judge else "the judge"
        raise DataError(
            f"{path} does not say {' and '.join(lacking)} of {who}. It should hold an object such as {LIKE}."
        )
    if not 0 <= values["accuracy"] <= 1 or not -1 <= values["kappa"] <= 1:
        raise DataError(
            f"{path}: accuracy is a share of 1 and kappa at most 1, got {values['accuracy']:g} and {values['kappa']:g}."
        )
    row = rows["accuracy"] if isinstance(rows["accuracy"], Mapping) else {}
    n = row.get("n") or (body.get("n") if isinstance(body, Mapping) else 0) or 0
    return Reliability(
        judge=judge,
        accuracy=values["accuracy"],
        kappa=values["kappa"],
        n=int(n) if isinstance(n, int | float) and not isinstance(n, bool) else 0,
        low=_value(row.get("low")),
        high=_value(row.get("high")),
        source=path.name,
    )


def _named(body: Any, word: str) -> Any:
    """The entry `word` of an object, or the first reading whose name ends with it."""
    if isinstance(body, Mapping) and word in body:
        return body[word]
    for row in _readings(body):
        if str(row.get("name", "")).split(".")[-1].split("_")[-1] == word:
            return row
    return None


def _readings(body: Any) -> Iterator[Mapping[str, Any]]:
    rows = body.get("readings", [body]) if isinstance(body, Mapping) else body
    for row in rows if isinstance(rows, list) else []:
        if isinstance(row, Mapping):
            yield row


def _value(row: Any) -> float:
    value = row.get("value") if isinstance(row, Mapping) else row
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan


def _judge(body: Any) -> str:
    for row in ([body] if isinstance(body, Mapping) else []) + list(_readings(body)):
        provenance = row.get("provenance")
        for place in (row, provenance if isinstance(provenance, Mapping) else {}):
            if place.get("judge"):
                judge = place["judge"]
                return str(judge.get("name", "") if isinstance(judge, Mapping) else judge)
    return ""
