"""Two or more Results compared: aligned by item, tested as pairs, corrected for being many, judged in words."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from theodolite.data.results import protocol
from theodolite.data.results.align import Aligned, align
from theodolite.data.results.protocol import Mismatch
from theodolite.data.results.reliability import Reliability
from theodolite.data.results.results import Column, Results, plain
from theodolite.errors import DataError, UnknownName, UsageError, did_you_mean
from theodolite.measures.compare import CORRECTIONS, Correction, Difference, Verdict, corrected, difference, verdict
from theodolite.types import Better

Matched = tuple[Results, Results, str, Aligned]
"""(a, b, metric, its matched items)"""


@dataclass(frozen=True, slots=True)
class Row:
    """b against a on one metric. p: corrected; `difference.p` is the raw one.

    only_a, only_b, changed: item ids left out, see `Aligned`. missing, why: all items left out and the reasons.
    """

    metric: str
    a: str
    b: str
    difference: Difference
    p: float
    verdict: Verdict
    better: Better
    unit: str
    judge: str
    reliability: Reliability | None
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]
    changed: tuple[str, ...]
    why: Mapping[str, int]

    @property
    def missing(self) -> int:
        return sum(self.why.values())


@dataclass(frozen=True, slots=True)
class Comparison:
    """rows: one a metric and pair. tests: how many p-values the correction covers.

    accepted: differences of protocol that the user asked to go on with. unrecorded: parts of a protocol that nobody
    can check, in sentences. left_out: sentences on metrics that were not compared.
    """

    rows: tuple[Row, ...]
    results: tuple[Results, ...]
    level: float
    correction: Correction
    baseline: str
    tests: int
    accepted: tuple[Mismatch, ...]
    unrecorded: tuple[str, ...]
    left_out: tuple[str, ...]


def compare(
    results: Sequence[Results],
    *,
    metrics: Sequence[str] = (),
    baseline: str = "",
    level: float = 0.95,
    correction: Correction = "holm",
    despite: Sequence[str] = (),
    higher: Sequence[str] = (),
    lower: Sequence[str] = (),
    reliability: Sequence[Reliability] = (),
    seed: int = 0,
    resamples: int = 2000,
) -> Comparison:
    """Every pair of results (or each against `baseline`) on every metric that both have, or on those asked for.

    Raises DataError, naming key and both values, where the protocols differ in anything not in `despite`.
    higher, lower: metrics of which more, or less, is better, where that is not known or known wrongly.
    A comparison's chance depends on the seed, its metric and its two names only, not on what else is compared.
    """
    if not 0 < level < 1:
        raise UsageError(f"level must lie between 0 and 1, got {level:g}. 95 % is 0.95.")
    if correction not in CORRECTIONS:
        raise UsageError(f"correction must be holm, bh or none, got '{correction}'.")
    despite = protocol.check_despite(despite, results)
    pairs = _pairs(results, baseline)
    known = list(dict.fromkeys(m for r in results for m in r.metrics))
    wanted = {m for name in metrics for m in _matching(name, known)} or set(known)
    directions: dict[str, Better] = {m: "higher" for name in higher for m in _matching(name, known)}
    for m in (m for name in lower for m in _matching(name, known)):
        if m in directions:
            raise UsageError(f"{m} cannot be better both higher and lower.")
        directions[m] = "lower"
    shared = [_shared(a, b, wanted) for a, b in pairs]
    if not any(names for names, _ in shared):
        have = "; ".join(f"{r.name} has {', '.join(r.metrics)}" for r in results)
        raise DataError(f"no two of these results share a metric{_asked(metrics)}: {have}.")
    matched = [
        (a, b, m, align(a.metrics[m], b.metrics[m]))
        for (a, b), (names, _) in zip(pairs, shared, strict=True)
        for m in names
    ]
    accepted = _checked(pairs, [n for n, _ in shared], matched, despite)
    tests = len(matched) if correction != "none" else 1
    found = [
        difference(x.a, x.b, _rng(seed, m, a.name, b.name), x.clusters, level=level, tests=tests, resamples=resamples)
        for a, b, m, x in matched
    ]
    ps = corrected([f.p for f in found], correction)
    _known_judges(reliability, [a.metrics[m].judge for a, _, m, _ in matched])
    rows = [
        _row(
            a.metrics[m],
            b.metrics[m],
            m,
            a.name,
            b.name,
            x,
            f,
            float(p),
            (*reliability, *a.judges, *b.judges),
            directions.get(m),
        )
        for (a, b, m, x), f, p in zip(matched, found, ps, strict=True)
    ]
    if all(r.difference.n == 0 for r in rows):
        raise DataError(f"the sides have no item in common. {_ids(matched[0][2], matched[0][0], matched[0][1])}")
    judged = {r.name: {m for a, b, m, _ in matched if r is a or r is b} for r in results}
    unknown = protocol.unrecorded(results, judged)
    left_out = dict.fromkeys(s for _, lost in shared for s in lost)
    return Comparison(
        tuple(rows),
        tuple(results),
        level,
        correction,
        baseline,
        tests,
        tuple(accepted),
        tuple(unknown),
        tuple(left_out),
    )


def _pairs(results: Sequence[Results], baseline: str) -> list[tuple[Results, Results]]:
    """(a, b) with b against a: each against the baseline, or every later one against every earlier one."""
    names = [r.name for r in results]
    if len(results) < 2:
        raise UsageError(f"a comparison needs two models or runs, got {len(results)}.")
    if len(set(names)) < len(names):
        raise UsageError(f"two sides have one name: {', '.join(names)}. Give each its own.")
    if not baseline:
        return list(itertools.combinations(results, 2))
    if baseline not in names:
        raise UnknownName(
            f"no side is called '{baseline}'.{did_you_mean(baseline, names)} There are: {', '.join(names)}."
        )
    base = results[names.index(baseline)]
    return [(base, r) for r in results if r is not base]


def _shared(a: Results, b: Results, wanted: Collection[str]) -> tuple[list[str], list[str]]:
    """Wanted metrics of both sides, in a's order, and sentences on those of one side only."""
    both = [m for m in a.metrics if m in b.metrics and m in wanted]
    lost = [(m, a, b) for m in a.metrics if m not in b.metrics] + [(m, b, a) for m in b.metrics if m not in a.metrics]
    return both, [f"{m} is in {here.name} and not in {there.name}" for m, here, there in lost if m in wanted]


def _matching(name: str, known: Sequence[str]) -> list[str]:
    """Metrics called so in full, or without their task, or without task and filter."""
    for same in (lambda m: m == name, lambda m: m.split("/")[-1] == name, lambda m: plain(m) == name.lower()):
        found = [m for m in known if same(m)]
        if found:
            return found
    raise UnknownName(f"no metric is called '{name}'.{did_you_mean(name, known)} There are: {', '.join(known)}.")


def _checked(
    pairs: Sequence[tuple[Results, Results]], names: Sequence[Sequence[str]], matched: Sequence[Matched], despite: Sequence[str]
) -> list[Mismatch]:  # fmt: skip
    """All differences of protocol, refused unless accepted; shown texts that differ count where nothing explains them."""
    found: list[Mismatch] = []
    for (a, b), metrics in zip(pairs, names, strict=True):
        known = protocol.mismatches(a, b, metrics)
        explained = any(m.key in protocol.SHOWN_BY for m in known)
        for left, right, metric, x in matched:
            if left is a and right is b and x.reworded and not explained:
                known.append(
                    Mismatch(
                        "prompt", a.name, b.name, f"{len(x.items)} items in common",
                        f"another text for {x.reworded} of them", (metric,),
                    )
                )  # fmt: skip
        found += known
    protocol.refuse(found, despite)
    return found


def _row(
    a: Column, b: Column, metric: str, name_a: str, name_b: str, x: Aligned, f: Difference, p: float, known: Sequence[Reliability],
    direction: Better | None,
) -> Row:  # fmt: skip
    better: Better = direction or (a.better if a.better == b.better else "neither")
    judge = a.judge or b.judge
    return Row(
        metric=metric,
        a=name_a,
        b=name_b,
        difference=f,
        p=p,
        verdict=verdict(f, p, better),
        better=better,
        unit=a.unit if a.unit == b.unit else "",
        judge=judge,
        reliability=next((r for r in known if judge and r.judge in ("", judge)), None),
        only_a=x.only_a,
        only_b=x.only_b,
        changed=x.changed,
        why=x.why,
    )


def _known_judges(reliability: Sequence[Reliability], judges: Sequence[str]) -> None:
    """A measured judge that judged nothing here is a mistake worth a letter."""
    present = sorted({j for j in judges if j})
    by_file: dict[str, list[str]] = {}
    for r in reliability:
        by_file.setdefault(r.source or "the reliability given", []).append(r.judge)
    for file, measured in by_file.items():
        if not present:
            raise UsageError(f"{file} measures a judge, but none of these metrics comes from one.")
        if "" not in measured and not {*measured} & {*present}:
            raise UsageError(
                f"{file} measures {', '.join(measured)}, but these results were judged by {', '.join(present)}. Where "
                f"that is one judge under two names, say so: --judge-reliability {present[0]}={file}"
            )


def _rng(seed: int, *names: str) -> np.random.Generator:
    return np.random.default_rng([seed, *(zlib.crc32(n.encode("utf-8", "surrogatepass")) for n in names)])


def _asked(metrics: Sequence[str]) -> str:
    return f" called {', '.join(metrics)}" if metrics else ""


def _ids(metric: str, a: Results, b: Results) -> str:
    """Examples of ids, so that the reader sees why none match."""
    said = []
    for r in (a, b):
        ids = list(dict.fromkeys(r.metrics[metric].items))[:3]
        said.append(f"{r.name} has {', '.join(shortened(i) for i in ids)}, …")
    return f"Ids of {metric}: {'; '.join(said)}"


def shortened(item: str, limit: int = 60) -> str:
    """An id on one line, cut where it is long (AlpacaEval's ids are whole instructions)."""
    line = " ".join(str(item).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
