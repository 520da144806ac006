"""The worlds of a comparison, all seeds of them, trained and measured together."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from theodolite.config import Config
from theodolite.exact import best_of_n
from theodolite.exact.designs import Design, design
from theodolite.exact.optimum import excess_kl, expected, kl, kl_and_reward, reward_at_kl, tilted
from theodolite.exact.results import Point, WorldCurves
from theodolite.exact.tabular import Trained, train
from theodolite.exact.world import Floats, World
from theodolite.exact.worlds import build
from theodolite.registry import Entry

LAMS = (0.0, *np.geomspace(0.02, 300, 60).tolist(), math.inf)
"""inverse temperatures at which the frontier is drawn"""
DRAWS = (2, 3, 4, 6, 8, 12, 16, 32, 64, 128)
"""n of best-of-n"""
EVALUATIONS = 120
"""of every loss; smooth ones need 40, hinges are then as a median within 1e-5 of the regret they reach after 400"""


class Stage:
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
