"""How far every method ends from the best possible policy, over a sweep of its own strength, in worlds known exactly.

Each objective is trained to its end in every world, seed and strength. A policy is then a point (KL spent, true reward
got), and the exact frontier says what that KL could have bought. The headline regret is the share of it that was
missed, sum(frontier - got) / sum(frontier - reference) over the faithful worlds, at the strength that serves the method
best among those whose KL is within a factor of `REACH` of `budget`: 0 is the best possible policy, 1 no better than the
reference. (Regret in units of reward, which is reported beside it, would praise a method for not moving.) Worlds whose
annotators err are reported one by one: there even a perfect learner is led astray, and the frontier is that of the true
reward.
"""

from __future__ import annotations

import functools
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from multiprocessing import get_context

import numpy as np
import torch
from pydantic import ValidationError

from theodolite.config import Config
from theodolite.errors import UsageError
from theodolite.exact import best_of_n
from theodolite.exact.designs import Design, NotApplicable, design
from theodolite.exact.optimum import excess_kl, expected, kl, kl_and_reward, reward_at_kl, tilted
from theodolite.exact.tabular import Trained, train
from theodolite.exact.world import Floats, World
from theodolite.exact.worlds import build
from theodolite.registry import Entry, get, names
from theodolite.stats import bootstrap_mean
from theodolite.types import _jsonable

DEFAULT_WORLDS = (
    "random", "clustered", "multi_objective", "hmm", "length_biased", "noisy", "misspecified", "proxy",
)  # fmt: skip
STRENGTHS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
"""multiples of each objective's own default strength"""
SAMPLES = (16, 64, 256, 1024, 4096)
"""verdicts a prompt, tried for `samples_to_90`"""
EVALUATIONS = 160
"""of every loss; smooth ones need 40, hinges are then within 0.1 % of regret of where 400 would end"""
REACH = 2.0
"""strengths whose KL lies between budget / 2 and 2 budget compete for a method's headline"""
LAMS = (0.0, *np.geomspace(0.02, 300, 60).tolist(), math.inf)
"""inverse temperatures at which the frontier is drawn"""
DRAWS = (2, 3, 4, 6, 8, 12, 16, 32, 64, 128)
"""n of best-of-n"""
INVERSE_TEMPERATURES = ("beta", "tau", "gamma")
"""strengths that, beside a reference, name an optimum p exp(r / strength)"""

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True)
class Point:
    """One method in one world at one strength; lists run over seeds. KL in nats, reward in units of its sd under p.

    best: the frontier's reward at this KL. to_optimum: KL(pi || optimum), at the same strength where that is defined.
    """

    strength: float
    kl: list[float]
    reward: list[float]
    best: list[float]
    to_optimum: list[float]
    nearest: list[float]
    ending: dict[str, int]

    @property
    def missed(self) -> float:
        """Share of the attainable gain that was missed, over all seeds; NaN where the policy stayed at the reference."""
        return _share(np.array(self.best), np.array(self.reward))


@dataclass(slots=True)
class Method:
    """Everything about one method. regret, low, high: the headline, with an interval over seeds.

    optimum: 'same strength' where kl_to_optimum is measured to p exp(r / strength), else 'nearest', to the optimum of
    equal reward. samples_to_90: verdicts a prompt until regret is at most 10 %; None where it never is, or where the
    method learns from no verdicts.
    """

    name: str
    summary: str
    data: str
    knob: str | None
    points: dict[str, list[Point]] = field(default_factory=dict)
    strength: float = math.nan
    kl: float = math.nan
    reward: float = math.nan
    regret: float = math.nan
    low: float = math.nan
    high: float = math.nan
    regret_reward: float = math.nan
    kl_to_optimum: float = math.nan
    optimum: str = "nearest"
    samples_to_90: float | None = None
    share_by_samples: list[float] = field(default_factory=list)
    solver: str = ""
    worlds: dict[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class WorldCurves:
    """The exact frontier, (KL, reward), and best-of-n, (n, KL, reward), averaged over seeds.

    Averaging at equal inverse temperature gives the frontier of all seeds taken together, so no average lies above it.
    """

    summary: str
    faithful: bool
    frontier: list[tuple[float, float]]
    best_of_n: list[tuple[int, float, float]]


@dataclass(slots=True)
class FrontierResult:
    """What `frontier` found. headline: the worlds that the table's numbers are over, pooled: their curves together."""

    seconds: float
    exact: bool
    samples: int | None
    seeds: int
    budget: float
    headline: list[str]
    pooled: WorldCurves
    worlds: dict[str, WorldCurves]
    methods: dict[str, Method]
    not_applicable: dict[str, str]

    def ranked(self) -> list[Method]:
        """Methods by regret, the best first; undefined last."""
        return sorted(self.methods.values(), key=lambda m: (math.isnan(m.regret), round(m.regret, 9), m.name))

    def to_json(self) -> dict[str, object]:
        """{"seconds", "worlds": {...}, "methods": {NAME: {"regret", "regret_low", "regret_high", ...}}}; NaN is null."""
        methods = {m.name: _method_json(m) for m in self.ranked()}
        worlds = {
            n: asdict(w) | {"methods": {k: m.worlds.get(n) for k, m in self.methods.items()}}
            for n, w in self.worlds.items()
        }
        plain: dict[str, object] = _jsonable(
            {
                "seconds": self.seconds,
                "exact": self.exact,
                "samples": self.samples,
                "seeds": self.seeds,
                "budget_kl": self.budget,
                "headline_worlds": self.headline,
                "pooled": asdict(self.pooled),
                "units": {
                    "regret": "share of the reward that the KL spent could have bought",
                    "kl": "nats",
                    "reward": "sd under p",
                },
                "worlds": worlds,
                "methods": methods,
                "not_applicable": self.not_applicable,
            }
        )
        return plain


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
def _stage(settings: Settings) -> _Stage:
    return _Stage(*settings)


class _Stage:
    """The worlds of all seeds, grouped by shape so that each group trains as one."""

    def __init__(self, world_names: Sequence[str], seeds: int, samples: int | None, budget: float) -> None:
        self.names, self.seeds, self.samples, self.budget = world_names, seeds, samples, budget
        self.worlds: dict[str, list[World]] = {n: [build(n, s) for s in range(seeds)] for n in world_names}
        faithful = [n for n in world_names if all(w.faithful for w in self.worlds[n])]
        self.headline = faithful or list(world_names)
        self._designs: dict[tuple[str, tuple[str, ...], tuple[str, ...]], Design] = {}

    def groups(self, chosen: Sequence[str]) -> list[list[str]]:
        """World names that share a shape."""
        by_shape: dict[tuple[int, int], list[str]] = {}
        for name in chosen:
            by_shape.setdefault(self.worlds[name][0].shape, []).append(name)
        return list(by_shape.values())

    def train(
        self,
        entry: Entry,
        cfg: Config | None,
        chosen: Sequence[str],
        samples: int | None,
        strength: float,
        lam: float | None,
    ) -> tuple[dict[str, Point], str]:
        """Train and measure the worlds `chosen`: name -> Point, and the solver's name. lam: see `measure`."""
        found: dict[str, Point] = {}
        solver = ""
        for group in self.groups(chosen):
            flat = [w for name in group for w in self.worlds[name]]
            key = (entry.data, tuple(entry.roles), tuple(group))
            if key not in self._designs:
                self._designs[key] = design(entry.data, entry.roles, flat)
            rng = np.random.default_rng([0 if samples is None else samples, len(group)])
            result: Trained = train(
                entry, flat, cfg, samples=samples, rng=rng, made=self._designs[key], budget=EVALUATIONS
            )
            found |= self.measure(group, np.stack(result.logpi), result.ending, strength, lam)
            solver = result.solver
        return found, solver

    def measure(
        self, group: Sequence[str], pi: Floats, endings: Sequence[str], strength: float, lam: float | None
    ) -> dict[str, Point]:
        """A Point for each world of a group from its seeds' policies pi (worlds * seeds, X, Y).

        lam: the inverse temperature of the optimum the policies aim at; None measures to the nearest.
        """
        flat = [w for name in group for w in self.worlds[name]]
        logp, reward = np.stack([w.logp for w in flat]), np.stack([w.reward for w in flat])
        spent, got = kl(pi, logp).mean(-1), expected(pi, reward).mean(-1)
        best, nearest = reward_at_kl(logp, reward, spent), excess_kl(pi, logp, reward)
        aim = nearest if lam is None else kl(pi, tilted(logp, reward, np.full(logp.shape[:-1], lam))).mean(-1)
        found = {}
        for i, name in enumerate(group):
            own = slice(i * self.seeds, (i + 1) * self.seeds)
            ends = list(endings[own])
            cost, won, most, off, near = (v[own].tolist() for v in (spent, got, best, aim, nearest))
            found[name] = Point(strength, cost, won, most, off, near, {e: ends.count(e) for e in sorted(set(ends))})
        return found

    def curves(self, chosen: Sequence[str], summary: str) -> WorldCurves:
        """Frontier and best-of-n, averaged over seeds and worlds at each inverse temperature and each n."""
        flat = [w for name in chosen for w in self.worlds[name]]
        line = np.mean([kl_and_reward(w.logp, w.reward, LAMS) for w in flat], 0)
        best = np.mean([best_of_n.curve(w.logp, w.reward, DRAWS, w.judged) for w in flat], 0)
        return WorldCurves(
            summary,
            all(w.faithful for w in flat),
            [(float(k), float(r)) for k, r in line.T],
            [(n, float(k), float(r)) for n, (k, r) in zip(DRAWS, best.T)],
        )


def _method(entry: Entry, stage: _Stage, strengths: Sequence[float], grid: Sequence[int]) -> Method:
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


def _sweep_point(made: Method, entry: Entry, stage: _Stage, strength: float, cfg: Config | None, named: bool) -> float:
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


def _headline(made: Method, stage: _Stage) -> int:
    """Fill in the numbers of the method's best strength near the budget; returns its place in the sweep."""
    chosen = [made.points[name] for name in stage.headline]
    costs = [float(np.mean([p[i].kl for p in chosen])) for i in range(len(chosen[0]))]
    shares_at = [
        _share(np.array([p[i].best for p in chosen]), np.array([p[i].reward for p in chosen]))
        for i in range(len(costs))
    ]
    away = [abs(math.log(max(c, 1e-9) / stage.budget)) for c in costs]
    near = [i for i in range(len(costs)) if away[i] <= math.log(REACH)] or [int(np.argmin(away))]
    at = min(near, key=lambda i: (round(shares_at[i], 9), away[i]))
    here = [p[at] for p in chosen]
    best, got = np.array([p.best for p in here]), np.array([p.reward for p in here])  # (worlds, seeds)
    shares = [_share(best[:, s], got[:, s]) for s in range(stage.seeds)]
    made.strength, made.kl, made.reward = here[0].strength, float(costs[at]), float(got.mean())
    made.regret, made.regret_reward = float(np.mean(shares)), float((best - got).mean())
    span = bootstrap_mean(shares, np.random.default_rng(0))
    made.low, made.high = span.low, span.high
    made.kl_to_optimum = float(np.mean([p.to_optimum for p in here]))
    made.worlds = {name: points[at].missed for name, points in made.points.items()}
    return at


def _sampled_share(entry: Entry, cfg: Config | None, stage: _Stage, m: int) -> float:
    """Regret over the headline worlds when each prompt has m verdicts."""
    points, _ = stage.train(entry, cfg, stage.headline, m, math.nan, None)
    return _share(np.array([p.best for p in points.values()]), np.array([p.reward for p in points.values()]))


def crossing(grid: Sequence[int], shares: Sequence[float], bar: float = 0.1) -> float | None:
    """Samples at which the share falls to `bar` for good, interpolated in log samples; None where it does not.

    `crossing([10, 100], [0.2, 0.0])` is 10^1.5 = 31.6; a share below the bar from the first gives the first.
    """
    over = [i for i, s in enumerate(shares) if not s <= bar]
    if not over:
        return float(grid[0])
    i = over[-1]
    if i == len(grid) - 1 or math.isnan(shares[i]):
        return None
    way = (shares[i] - bar) / (shares[i] - shares[i + 1])
    return float(math.exp(math.log(grid[i]) + way * (math.log(grid[i + 1]) - math.log(grid[i]))))


def _best_of_n(stage: _Stage) -> Method:
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


def _share(best: Floats, got: Floats) -> float:
    """sum(best - got) / sum(best); rewards have mean 0 under the reference, so best is also the gain. NaN if none."""
    gain = float(best.sum())
    return float(max((best - got).sum(), 0.0)) / gain if gain > 1e-4 * best.size else math.nan


def _method_json(m: Method) -> dict[str, object]:
    """One method's entry: the headline numbers, then every point of its sweep (means over seeds) by world."""
    points = {
        world: [
            {
                "strength": p.strength,
                "kl": np.mean(p.kl),
                "reward": np.mean(p.reward),
                "regret": p.missed,
                "regret_reward": np.mean(np.array(p.best) - np.array(p.reward)),
                "kl_to_optimum": np.mean(p.to_optimum),
                "kl_to_nearest_optimum": np.mean(p.nearest),
                "ending": p.ending,
            }
            for p in found
        ]
        for world, found in m.points.items()
    }
    return {
        "regret": m.regret,
        "regret_low": m.low,
        "regret_high": m.high,
        "kl_to_optimum": m.kl_to_optimum,
        "samples_to_90": m.samples_to_90,
        "optimum": m.optimum,
        "regret_reward": m.regret_reward,
        "kl": m.kl,
        "reward": m.reward,
        "strength": m.strength,
        "strength_field": m.knob,
        "data": m.data,
        "solver": m.solver,
        "regret_by_world": m.worlds,
        "regret_by_samples": m.share_by_samples,
        "points": points,
    }
