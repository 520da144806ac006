"""What the frontier found: points, methods, curves, and their JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

import numpy as np

from theodolite.exact.world import Floats
from theodolite.types import _jsonable


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
        return share(np.array(self.best), np.array(self.reward))


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


def share(best: Floats, got: Floats) -> float:
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
