"""How far every method ends from the best possible policy, over a sweep of its own strength, in worlds known exactly.

Each objective is trained to its end in every world, seed and strength. A policy is then a point (KL spent, true reward
got), and the exact frontier says what that KL could have bought. The headline regret is the share of it that was
missed, sum(frontier - got) / sum(frontier - reference) over the faithful worlds, at the strength that serves the method
best among those whose training ended and whose KL is within a factor of `REACH` of `budget`: 0 is the best possible
policy, 1 no better than the reference. (Regret in units of reward, which is reported beside it, would praise a method
for not moving.) Worlds whose annotators err are reported one by one: there even a perfect learner is led astray, and the
frontier is that of the true reward.
"""

from __future__ import annotations

import functools
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context

import numpy as np
import torch
from pydantic import ValidationError

from theodolite.config import Config
from theodolite.errors import UsageError
from theodolite.exact import best_of_n
from theodolite.exact.designs import NotApplicable
from theodolite.exact.results import FrontierResult, Method, Point, crossing, share
from theodolite.exact.stage import DRAWS, Stage
from theodolite.registry import Entry, get, names
from theodolite.stats import bootstrap_mean

DEFAULT_WORLDS = (
    "random", "clustered", "multi_objective", "hmm", "length_biased", "noisy", "misspecified", "proxy",
)  # fmt: skip
STRENGTHS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
"""multiples of each objective's own default strength"""
SAMPLES = (16, 64, 256, 1024, 4096)
"""verdicts a prompt, tried for `samples_to_90`"""
REACH = 2.0
"""strengths whose KL lies between budget / 2 and 2 budget compete for a method's headline"""
INVERSE_TEMPERATURES = ("beta", "tau", "gamma")
"""strengths that, beside a reference, name an optimum p exp(r / strength)"""

Progress = Callable[[int, int, str], None]


def run(
    worlds: list[str] | None = None, exact: bool = False, seeds: int = 5, progress: Progress | None = None
) -> FrontierResult:
    """`frontier` over every registered objective that a world can train, on up to two cores; the command line's call.

    It starts fresh interpreters, so a script that calls it needs the usual `if __name__ == "__main__":`.
    """
    return frontier(worlds, None, seeds=seeds, exact=exact, progress=progress, workers=min(2, os.cpu_count() or 1))


def frontier(
    worlds: Sequence[str] | None = None,
    objectives: Sequence[str] | None = None,
    *,
    seeds: int = 5,
    strengths: Sequence[float] = STRENGTHS,
    exact: bool = False,
    samples: int = 2048,
    sample_grid: Sequence[int] = SAMPLES,
    budget: float = 0.7,
    progress: Progress | None = None,
    workers: int = 1,
) -> FrontierResult:
    """Train every objective in every world and measure it against the exact frontier.

    strengths: multiples of each objective's default. exact: expectations over all verdicts instead of `samples` drawn
    a prompt. sample_grid: verdicts a prompt tried for samples_to_90; empty skips it. budget: KL in nats near which
    methods are compared. progress: called with (finished, all, name). workers: processes to spread objectives over.
    """
    began = time.perf_counter()
    if seeds < 1:
        raise UsageError(f"seeds must be at least 1, got {seeds}. Intervals need 2.")
    settings = (tuple(worlds or DEFAULT_WORLDS), seeds, None if exact else samples, budget)
    stage = _stage(settings)
    wanted = list(dict.fromkeys(objectives if objectives is not None else names("objective")))
    wanted.sort(key=lambda n: get("objective", n).data not in ("rankings", "negatives"))  # the slow ones first
    jobs = [(name, settings, tuple(strengths), tuple(sample_grid)) for name in wanted]
    methods, refused = {"best_of_n": _best_of_n(stage)}, {}
    for i, (name, found) in enumerate(_in_turn(jobs) if workers == 1 else _in_parallel(jobs, workers)):
        if isinstance(found, Method):
            methods[name] = found
        else:
            refused[name] = found
        if progress:
            progress(i + 1, len(wanted), name)
    curves = {name: stage.curves([name], get("world", name).summary) for name in stage.names}
    pooled = stage.curves(stage.headline, "the worlds of the headline together")
    seconds = time.perf_counter() - began
    return FrontierResult(
        seconds, exact, None if exact else samples, seeds, budget, stage.headline, pooled, curves, methods, refused
    )


Settings = tuple[tuple[str, ...], int, int | None, float]
Job = tuple[str, Settings, tuple[float, ...], tuple[int, ...]]


def _work(job: Job) -> Method | str:
    """One objective in all worlds, or the reason why no world can train it."""
    name, settings, strengths, grid = job
    try:
        return _method(get("objective", name), _stage(settings), strengths, grid)
    except NotApplicable as reason:
        return str(reason)


def _in_turn(jobs: Sequence[Job]) -> Iterator[tuple[str, Method | str]]:
    for job in jobs:
        yield job[0], _work(job)


def _in_parallel(jobs: Sequence[Job], workers: int) -> Iterator[tuple[str, Method | str]]:
    """As they finish. New interpreters, because a process that has used autograd must not be forked."""
    with ProcessPoolExecutor(workers, get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        names_of = {pool.submit(_work, job): job[0] for job in jobs}
        for done in as_completed(names_of):
            yield names_of[done], done.result()


@functools.lru_cache(maxsize=1)
def _stage(settings: Settings) -> Stage:
    return Stage(*settings)


def _method(entry: Entry, stage: Stage, strengths: Sequence[float], grid: Sequence[int]) -> Method:
    """Sweep one objective over its strengths, then over numbers of samples at the strength of the headline."""
    made = Method(entry.name, entry.summary, str(entry.data), entry.strength)
    named = entry.reference and entry.strength in INVERSE_TEMPERATURES and entry.data in ("pairs", "labels")
    made.optimum = "same strength" if named else "nearest"
    sweep = _configs(entry, strengths)
    costs = [_sweep_point(made, entry, stage, *at, named) for at in sweep]
    if (between := _between([s for s, _ in sweep], costs, stage.budget)) is not None:
        sweep += _configs(entry, [between / _default(entry)])
        _sweep_point(made, entry, stage, *sweep[-1], named)
    at = _headline(made, stage)
    if grid:
        made.share_by_samples = [_sampled_share(entry, sweep[at][1], stage, m) for m in grid]
        made.samples_to_90 = crossing(grid, made.share_by_samples)
    order = np.argsort([s for s, _ in sweep], kind="stable")
    made.points = {name: [points[i] for i in order] for name, points in made.points.items()}
    return made


def _sweep_point(made: Method, entry: Entry, stage: Stage, strength: float, cfg: Config | None, named: bool) -> float:
    """Add one strength to the method's points in all worlds; returns its mean KL over the headline worlds."""
    points, made.solver = stage.train(entry, cfg, stage.names, stage.samples, strength, 1 / strength if named else None)
    for name, point in points.items():
        made.points.setdefault(name, []).append(point)
    return float(np.mean([points[name].kl for name in stage.headline]))


def _between(strengths: Sequence[float], costs: Sequence[float], budget: float) -> float | None:
    """The strength at which a straight line in logarithms through two neighbours' KL meets the budget, if they span it."""
    for s, t, a, b in zip(strengths, strengths[1:], costs, costs[1:]):
        if min(a, b) > 0 and (a - budget) * (b - budget) < 0:
            way = math.log(budget / a) / math.log(b / a)
            return float(f"{math.exp(math.log(s) + way * math.log(t / s)):.3g}")
    return None


def _default(entry: Entry) -> float:
    """The default of the objective's strength, 1 where that is 0."""
    assert entry.config is not None
    assert entry.strength is not None
    return float(getattr(entry.config(), entry.strength)) or 1.0


def _configs(entry: Entry, strengths: Sequence[float]) -> list[tuple[float, Config | None]]:
    """(strength, config) for every multiple of the default that the config allows; one where nothing can be swept."""
    if entry.config is None or entry.strength is None:
        return [(math.nan, entry.config() if entry.config else None)]
    default = _default(entry)
    found: list[tuple[float, Config | None]] = []
    for factor in strengths:
        value = float(f"{default * factor:.12g}")
        try:
            found.append((value, entry.config(**{entry.strength: value})))
        except ValidationError:  # outside the limits that the config itself declares
            continue
    return found


def _headline(made: Method, stage: Stage) -> int:
    """Fill in the numbers of the method's best strength near the budget; returns its place in the sweep."""
    chosen = [made.points[name] for name in stage.headline]
    costs = [float(np.mean([p[i].kl for p in chosen])) for i in range(len(chosen[0]))]
    shares_at = [
        share(np.array([p[i].best for p in chosen]), np.array([p[i].reward for p in chosen])) for i in range(len(costs))
    ]
    away = [abs(math.log(max(c, 1e-9) / stage.budget)) for c in costs]
    ended = [i for i in range(len(costs)) if _unfinished(p[i] for p in chosen) <= 0.25] or list(range(len(costs)))
    near = [i for i in ended if away[i] <= math.log(REACH)] or [min(ended, key=lambda i: away[i])]
    at = min(near, key=lambda i: (round(shares_at[i], 9), away[i]))
    here = [p[at] for p in chosen]
    best, got = np.array([p.best for p in here]), np.array([p.reward for p in here])  # (worlds, seeds)
    shares = [share(best[:, s], got[:, s]) for s in range(stage.seeds)]
    made.strength, made.kl, made.reward = here[0].strength, float(costs[at]), float(got.mean())
    made.regret, made.regret_reward = float(np.mean(shares)), float((best - got).mean())
    span = bootstrap_mean(shares, np.random.default_rng(0))
    made.low, made.high = span.low, span.high
    made.kl_to_optimum = float(np.mean([p.to_optimum for p in here]))
    made.worlds = {name: points[at].missed for name, points in made.points.items()}
    return at


def _unfinished(points: Iterable[Point]) -> float:
    """Share of trainings that ran out of evaluations: where they stand says little about the loss."""
    ends = [p.ending for p in points]
    return sum(e.get("budget", 0) for e in ends) / sum(sum(e.values()) for e in ends)


def _sampled_share(entry: Entry, cfg: Config | None, stage: Stage, m: int) -> float:
    """Regret over the headline worlds when each prompt has m verdicts."""
    points, _ = stage.train(entry, cfg, stage.headline, m, math.nan, None)
    return share(np.array([p.best for p in points.values()]), np.array([p.reward for p in points.values()]))


def _best_of_n(stage: Stage) -> Method:
    """Best-of-n as a method: the annotators' own choice among n draws, its law exact, whatever the samples."""
    made = Method("best_of_n", "The best of n draws, as the annotators see it; no training.", "reward", "n")
    made.solver = "closed form"
    for n in DRAWS:
        for group in stage.groups(stage.names):
            laws = np.stack([best_of_n.best_of_n(w.logp, w.judged, n) for name in group for w in stage.worlds[name]])
            for name, point in stage.measure(group, laws, ["exact"] * len(laws), n, None).items():
                made.points.setdefault(name, []).append(point)
    _headline(made, stage)
    return made
