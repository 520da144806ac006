"""The closed forms: hand-worked numbers, derivative identities, edges."""

from __future__ import annotations

import math

import numpy as np
import pytest

from theodolite.exact import optimum as o
from theodolite.exact.world import log_normalised

COIN = np.log(np.array([[0.5, 0.5]]))
PAYS = np.array([[0.0, 1.0]])


def world(seed: int, prompts: int = 3, responses: int = 6) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return log_normalised(rng.standard_normal((prompts, responses))), rng.standard_normal((prompts, responses))


def test_a_coin_that_pays_one_on_heads() -> None:
    # beta 1: odds e, so P = e / (1 + e) = 0.731059; KL = P - log((1 + e) / 2) = 0.731059 - 0.620115
    pi = np.exp(o.optimum(COIN, PAYS, 1.0))
    assert pi[0, 1] == pytest.approx(0.7310585786)
    assert o.kl(np.log(pi), COIN)[0] == pytest.approx(0.1109440717)
    assert o.cumulant(COIN, PAYS, [1.0])[0] == pytest.approx(math.log((1 + math.e) / 2))


def test_beta_at_its_ends() -> None:
    logp, reward = world(0)
    assert np.exp(o.optimum(logp, reward, 0.0)).max(1) == pytest.approx([1, 1, 1])
    assert o.optimum(logp, reward, math.inf) == pytest.approx(logp)
    tied = np.array([[1.0, 1.0, 0.0]])
    kept = np.exp(o.optimum(np.log(np.array([[0.1, 0.3, 0.6]])), tied, 0.0))
    assert kept[0] == pytest.approx([0.25, 0.75, 0.0])
    with pytest.raises(ValueError, match="beta must be 0 or more"):
        o.optimum(logp, reward, -1.0)


def test_the_derivatives_of_lambda_are_the_moments() -> None:
    logp, reward = world(1)
    step, lam = 1e-3, 0.7
    values = [o.cumulant(logp, reward, np.full(3, lam + i * step)) for i in (-2, -1, 0, 1, 2)]
    mean, variance, third = o.moments(logp, reward, lam)
    assert (values[3] - values[1]) / (2 * step) == pytest.approx(mean, abs=1e-5)
    assert (values[3] - 2 * values[2] + values[1]) / step**2 == pytest.approx(variance, abs=1e-5)
    fourth_point = (values[4] - 2 * values[3] + 2 * values[1] - values[0]) / (2 * step**3)
    assert fourth_point == pytest.approx(third, abs=1e-4)


def test_kl_is_lam_lambda_prime_minus_lambda_and_grows_with_slope_lam_variance() -> None:
    logp, reward = world(2)
    lam, step = 1.3, 1e-5
    mean, variance, _ = o.moments(logp, reward, lam)
    assert o.kl_and_reward(logp, reward, lam)[0] == pytest.approx((lam * mean - o.cumulant(logp, reward, lam)).mean())
    rise = np.diff(o.kl_and_reward(logp, reward, [lam - step, lam + step])[0])[0] / (2 * step)
    assert rise == pytest.approx(lam * variance.mean(), rel=1e-6)


def test_roots_are_found_for_many_targets_at_once() -> None:
    logp, reward = world(3)
    largest = o.kl_and_reward(logp, reward, math.inf)[0]
    targets = np.array([0.0, 1e-6, 0.1, 0.5, largest - 1e-6])
    lam = o.lam_at_kl(logp, reward, targets)
    assert o.kl_and_reward(logp, reward, lam)[0] == pytest.approx(targets, abs=1e-12)
    assert np.all(np.diff(lam) > 0)
    assert np.isinf(o.lam_at_kl(logp, reward, largest + 1e-3))
    below = o.lam_at_reward(logp, reward, (np.exp(logp) * reward).sum(1).mean() - 0.2)
    assert below < 0


def test_many_worlds_are_one_call() -> None:
    pairs = [world(s) for s in range(4)]
    logp, reward = np.stack([p for p, _ in pairs]), np.stack([r for _, r in pairs])
    together = o.lam_at_kl(logp, reward, [0.1, 0.2, 0.3, 0.4])
    alone = [float(o.lam_at_kl(p, r, k)) for (p, r), k in zip(pairs, [0.1, 0.2, 0.3, 0.4])]
    assert together == pytest.approx(alone, rel=1e-10)


def test_regret_is_zero_on_the_optimum_and_positive_elsewhere() -> None:
    logp, reward = world(4)
    best, other = o.optimum(logp, reward, 0.8), o.optimum(logp, -reward, 0.8)
    assert o.regret(best, logp, reward) == pytest.approx(0, abs=1e-12)
    assert o.excess_kl(best, logp, reward) == pytest.approx(0, abs=1e-12)
    assert o.missed_share(best, logp, reward) == pytest.approx(0, abs=1e-12)
    assert o.missed_share(other, logp, reward) > 1  # worse than the reference
    assert np.isnan(o.missed_share(logp, logp, reward))  # stayed: nothing was spent


def test_excess_kl_is_the_least_kl_to_any_optimum() -> None:
    logp, reward = world(5)
    pi = log_normalised(np.random.default_rng(9).standard_normal(logp.shape))
    grid = [o.kl(pi, o.tilted(logp, reward, np.full(3, lam))).mean() for lam in np.linspace(-3, 3, 6001)]
    assert o.excess_kl(pi, logp, reward) == pytest.approx(min(grid), abs=1e-6)


def test_the_closeness_identity() -> None:
    logp, reward = world(6)
    phi = log_normalised(np.random.default_rng(1).standard_normal(logp.shape))
    for lam in (0.0, 0.5, 2.0):
        direct = o.kl(phi, o.tilted(logp, reward, np.full(3, lam))).mean()
        assert o.closeness(phi, logp, reward, lam) == pytest.approx(direct, abs=1e-12)


def test_renyi_cross_entropy_is_the_scaled_cumulant_of_log_q() -> None:
    logp, logq = world(7)[0], world(8)[0]
    lam = 0.6
    assert o.cumulant(logp, logq, lam) / lam == pytest.approx(-o.renyi_cross_entropy(logp, logq, 1 + lam))
    assert o.renyi_cross_entropy(logp, logq, 1 + 1e-7) == pytest.approx(o.renyi_cross_entropy(logp, logq, 1), abs=1e-5)
    assert o.renyi_cross_entropy(logp, logp, 1) == pytest.approx(-(np.exp(logp) * logp).sum(-1))


def test_kl_ignores_what_has_no_mass() -> None:
    with np.errstate(divide="ignore"):
        assert o.kl(np.log(np.array([1.0, 0.0])), np.log(np.array([0.5, 0.5]))) == pytest.approx(math.log(2))
