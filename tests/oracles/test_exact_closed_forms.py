"""The exact worlds against slow or independent versions: SciPy's optimisers, enumeration, simulation, linear programs."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy.optimize import linprog, minimize
from scipy.special import log_softmax
from scipy.stats import binom

from theodolite.exact import annotators, best_of_n
from theodolite.exact import optimum as o
from theodolite.exact.designs import design
from theodolite.exact.tabular import Blocks, train
from theodolite.exact.worlds import build
from theodolite.registry import get


@pytest.mark.parametrize("beta", [0.3, 1.0, 4.0])
def test_the_optimum_is_what_a_numerical_optimiser_finds(beta: float) -> None:
    world = build("random", 0)

    def loss(x: np.ndarray) -> float:
        pi = log_softmax(x.reshape(world.shape), axis=1)
        return float(-(o.expected(pi, world.reward) - beta * o.kl(pi, world.logp)).mean())

    found = minimize(loss, world.logp.ravel(), method="BFGS", options={"gtol": 1e-8})
    pi = log_softmax(found.x.reshape(world.shape), axis=1)
    assert np.exp(pi) == pytest.approx(np.exp(o.optimum(world.logp, world.reward, beta)), abs=1e-5)


def test_the_frontier_is_what_a_constrained_optimiser_finds() -> None:
    world = build("clustered", 2)
    for limit in (0.1, 0.6, 1.5):

        def cost(x: np.ndarray) -> float:
            return float(o.kl(log_softmax(x.reshape(world.shape), axis=1), world.logp).mean())

        found = minimize(
            lambda x: -float(o.expected(log_softmax(x.reshape(world.shape), axis=1), world.reward).mean()),
            world.logp.ravel(),
            method="SLSQP",
            constraints=[{"type": "ineq", "fun": lambda x, limit=limit: limit - cost(x)}],
            options={"maxiter": 1000, "ftol": 1e-12},
        )
        assert -found.fun == pytest.approx(float(o.reward_at_kl(world.logp, world.reward, limit)), abs=1e-5)


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_best_of_n_against_every_possible_draw(n: int) -> None:
    world = build("clustered", 1, responses=4, clusters=2, within=0.0)  # with ties
    p, reward = np.exp(world.logp[0]), world.reward[0].round(9)
    law = np.zeros(4)
    for draws in itertools.product(range(4), repeat=n):
        top = [d for d in draws if reward[d] == max(reward[list(draws)])]
        for d in top:
            law[d] += np.prod(p[list(draws)]) / len(top)
    assert np.exp(best_of_n.best_of_n(world.logp[:1], reward[None], n))[0] == pytest.approx(law)


def test_best_of_n_against_simulation() -> None:
    world, n, draws = build("random", 3), 5, 400_000
    rng = np.random.default_rng(0)
    drawn = rng.choice(6, (draws, n), p=np.exp(world.logp[0]))
    picked = drawn[np.arange(draws), world.reward[0][drawn].argmax(1)]
    seen = np.bincount(picked, minlength=6) / draws
    law = np.exp(best_of_n.best_of_n(world.logp, world.reward, n))[0]
    assert np.all(np.abs(seen - law) < 5 * np.sqrt(law * (1 - law) / draws) + 1e-9)
    pool = world.reward[0][rng.choice(6, (4000, 12), p=np.exp(world.logp[0]))]
    estimates = [best_of_n.from_samples(r, n) for r in pool]
    error = np.std(estimates) / np.sqrt(len(estimates))
    assert np.mean(estimates) == pytest.approx(law @ world.reward[0], abs=5 * error)


def test_the_memoryless_source_against_scipy_s_binomial() -> None:
    for m in (50, 200):
        n, upto = np.exp(0.05 * m), binom.cdf(np.arange(m + 1), m, 0.3)
        law = upto**n - np.append(0, upto[:-1]) ** n
        assert best_of_n.memoryless_reward([0.7, 0.3], m, 0.05) == pytest.approx(law @ np.arange(m + 1) / m, abs=1e-9)


def test_preferences_against_simulated_annotators() -> None:
    world, draws = build("noisy", 1, flip=0.2), 300_000
    rng = np.random.default_rng(1)
    pairs = rng.choice(6, (draws, 2), p=np.exp(world.logp[0]))
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    noise = rng.logistic(size=len(pairs))  # Bradley-Terry is a logistic race
    first = world.judged[0][pairs[:, 0]] - world.judged[0][pairs[:, 1]] + noise > 0
    first ^= rng.random(len(pairs)) < world.flip
    won, lost = np.where(first, pairs[:, 0], pairs[:, 1]), np.where(first, pairs[:, 1], pairs[:, 0])
    seen = np.zeros((6, 6))
    np.add.at(seen, (won, lost), 1 / len(pairs))
    mass = annotators.pair_mass(world)[0]
    assert np.all(np.abs(seen - mass) < 5 * np.sqrt(mass / len(pairs)) + 1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_hinges_end_where_a_linear_program_does(seed: int) -> None:
    """min sum_n mass_n xi_n with xi_n >= 1 - gamma (u_w - u_l), xi_n >= 0, over log-ratios u."""
    worlds, gamma = [build("random", seed)], 0.5
    entry = get("objective", "rso_hinge_norm")
    cfg = entry.config(gamma=gamma)
    blocks = Blocks.of(worlds, design("pairs", entry.roles, worlds), joint=False)
    ended = torch.as_tensor(np.concatenate(train(entry, worlds, cfg).logpi))
    values, _ = blocks.field(entry, cfg, ended, torch.arange(2))
    for b in range(2):
        rows = np.zeros((30, 36))
        for n, (i, j) in enumerate(blocks.index.tolist()):
            rows[n, i], rows[n, j], rows[n, 6 + n] = -gamma, gamma, -1
        weights = np.r_[np.zeros(6), blocks.mass[b].numpy()]
        bounds = [(0, 0)] + [(None, None)] * 5 + [(0, None)] * 30
        best = linprog(weights, rows, -np.ones(30), bounds=bounds)
        assert values[b].item() == pytest.approx(best.fun, abs=1e-6)


def test_dpo_against_scipy() -> None:
    world = build("noisy", 0)
    mass, beta = annotators.pair_mass(world)[0], 0.5

    def loss(u: np.ndarray) -> float:
        return float((mass * np.logaddexp(0, -beta * (u[:, None] - u[None, :]))).sum())

    found = minimize(loss, np.zeros(6), method="BFGS", options={"gtol": 1e-9})
    ours = train("dpo", [world], get("objective", "dpo").config(beta=beta)).logpi[0][0]
    assert np.exp(ours) == pytest.approx(np.exp(log_softmax(world.logp[0] + found.x)), abs=1e-6)
