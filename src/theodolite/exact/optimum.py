"""The best possible policy, in closed form: arg max of E[r] - beta KL(. || p) is p exp(r/beta) / Z.

With lam = 1/beta the optima are one exponential family, phi_lam = p exp(lam r - Lambda(lam)), where Lambda(lam) =
log E_p exp(lam r). Its derivatives are the cumulants of r under phi_lam, and KL(phi_lam || p) = lam Lambda' - Lambda
grows with lam, so the best reward at a given KL is found by monotone root finding. Prompts share one lam: that is
what maximises mean reward under a mean KL. Worlds are float64 arrays (..., X, Y), results (...) are means over X, in nats
or units of r; many worlds, or one world and many lam, are one call.
Source: "Asymptotics of Language Model Alignment" (arXiv:2404.01730); the identities are derived in the tests.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from theodolite.exact.world import Floats, logsumexp


def cumulant(logp: Floats, reward: Floats, lam: ArrayLike) -> Floats:
    """Lambda(lam) = log E_p exp(lam r) of each prompt, in nats; lam broadcasts against (X,)."""
    return np.asarray(logsumexp(logp + np.asarray(lam, float)[..., None] * reward)[..., 0])


def tilted(logp: Floats, reward: Floats, lam: ArrayLike) -> Floats:
    """log phi_lam (..., Y) = log p + lam r - Lambda(lam); lam = inf (-inf) keeps p on the best (worst) responses only."""
    lam = np.asarray(lam, float)[..., None]
    gap = reward - np.where(lam >= 0, reward.max(-1, keepdims=True), reward.min(-1, keepdims=True))
    with np.errstate(invalid="ignore"):  # inf * 0, at the best responses, is no push at all
        scores = logp + np.where(gap == 0, 0.0, lam * gap)
    return np.asarray(scores - logsumexp(scores))


def optimum(logp: Floats, reward: Floats, beta: float) -> Floats:
    """(X, Y) log-probabilities of the policy that maximises E[r] - beta KL(. || p); beta in nats per unit of reward.

    beta = 0 is p restricted to the best responses; beta = inf is p itself.
    """
    if beta < 0 or np.isnan(beta):
        raise ValueError(f"beta must be 0 or more, got {beta}")
    with np.errstate(divide="ignore"):
        return tilted(logp, reward, np.full(logp.shape[:-1], np.divide(1.0, beta)))


def kl(logq: Floats, logp: Floats) -> Floats:
    """KL(q || p) in nats over the last axis; where q is 0 nothing is added."""
    q = np.exp(logq)
    with np.errstate(invalid="ignore"):
        terms = np.where(q == 0, 0.0, q * (logq - logp))
    return np.asarray(np.maximum(terms.sum(-1), 0.0))


def expected(logq: Floats, values: Floats) -> Floats:
    """E_q[values] over the last axis."""
    return np.asarray((np.exp(logq) * values).sum(-1))


def moments(logp: Floats, reward: Floats, lam: ArrayLike) -> tuple[Floats, Floats, Floats]:
    """The first three derivatives of Lambda at lam (...), each (..., X): mean, variance and third central moment of r."""
    phi = np.exp(tilted(logp, reward, np.asarray(lam, float)[..., None]))
    mean = (phi * reward).sum(-1)
    centred = reward - mean[..., None]
    return mean, (phi * centred**2).sum(-1), (phi * centred**3).sum(-1)


def kl_and_reward(logp: Floats, reward: Floats, lam: ArrayLike) -> tuple[Floats, Floats]:
    """(...) mean KL to p and mean reward of the optimum with inverse temperature lam (...), for worlds (..., X, Y)."""
    phi = tilted(logp, reward, np.asarray(lam, float)[..., None])
    return kl(phi, logp).mean(-1), expected(phi, reward).mean(-1)


def lam_at_kl(logp: Floats, reward: Floats, target: ArrayLike) -> Floats:
    """lam (...) at which the optimum's mean KL is `target` (...) nats; inf where no optimum costs that much.

    Newton on KL(lam) = lam Lambda' - Lambda, whose slope is lam Lambda'', kept inside a shrinking bracket.
    """
    return _solve(logp, reward, np.asarray(target, float), signed=False)


def lam_at_reward(logp: Floats, reward: Floats, target: ArrayLike) -> Floats:
    """lam (...), negative below the reference's reward, at which the optimum's mean reward is `target` (...).

    This is the optimum nearest to any policy of that reward: d/dlam KL(pi || phi_lam) = E_phi r - E_pi r.
    """
    return _solve(logp, reward, np.asarray(target, float), signed=True)


def reward_at_kl(logp: Floats, reward: Floats, target: ArrayLike) -> Floats:
    """(...) the exact Pareto frontier: the largest mean reward of any policy whose mean KL to p is `target` (...)."""
    return kl_and_reward(logp, reward, lam_at_kl(logp, reward, target))[1]


def regret(logpi: Floats, logp: Floats, reward: Floats) -> Floats:
    """(...) reward left on the table at equal KL: frontier(KL(pi || p)) - E_pi r, 0 or more, in units of reward."""
    spent = kl(logpi, logp).mean(-1)
    return np.asarray(np.maximum(reward_at_kl(logp, reward, spent) - expected(logpi, reward).mean(-1), 0.0))


def missed_share(logpi: Floats, logp: Floats, reward: Floats, least: float = 1e-6) -> Floats:
    """(...) regret as a share of what the KL could have bought: 0 on the frontier, 1 no better than p, above 1 worse.

    NaN where the policy moved by less than `least` nats, since nothing was spent.
    """
    spent = kl(logpi, logp).mean(-1)
    gain = reward_at_kl(logp, reward, spent) - expected(logp, reward).mean(-1)
    return np.asarray(regret(logpi, logp, reward) / np.where((spent >= least) & (gain > 0), gain, np.nan))


def excess_kl(logpi: Floats, logp: Floats, reward: Floats) -> Floats:
    """(...) KL to the nearest optimum, min over lam of KL(pi || phi_lam), in nats.

    It is also what the policy paid beyond the least that its reward had to cost.
    """
    lam = lam_at_reward(logp, reward, expected(logpi, reward).mean(-1))
    finite = np.isfinite(lam)
    near = kl(logpi, tilted(logp, reward, np.where(finite, lam, 0.0)[..., None])).mean(-1)
    return np.asarray(np.where(finite, near, kl(logpi, logp).mean(-1) - kl_and_reward(logp, reward, lam)[0]))


def closeness(logphi: Floats, logp: Floats, reward: Floats, lam: float) -> float:
    """KL(phi || phi_lam) from KL and reward alone: KL(phi||p) - Delta + lam (E_{phi_lam} r - E_phi r).

    The asymptotics paper's first result, an identity: a policy that equals the optimum in KL and reward is the optimum.
    """
    delta, best = kl_and_reward(logp, reward, lam)
    return float(kl(logphi, logp).mean() - delta + lam * (best - expected(logphi, reward).mean()))


def renyi_cross_entropy(logp: Floats, logq: Floats, order: float) -> Floats:
    """H_a(p, q) = log(sum p q^(a-1)) / (1 - a) in nats; order 1 is the cross-entropy -E_p log q.

    With r = log q the scaled cumulant is Lambda(lam) / lam = -H_{1+lam}(p, q).
    """
    if order == 1:
        return -expected(logp, logq)
    return np.asarray(logsumexp(logp + (order - 1) * logq)[..., 0] / (1 - order))


def _solve(logp: Floats, reward: Floats, target: Floats, signed: bool) -> Floats:
    """Root of a function that grows with lam, mean reward (signed) or mean KL, for every target at once."""

    def height(lam: Floats) -> Floats:
        return kl_and_reward(logp, reward, lam)[1 if signed else 0]

    target = np.broadcast_to(target, np.broadcast_shapes(target.shape, logp.shape[:-2]))
    first = -np.inf if signed else 0.0
    least, most = height(np.full(target.shape, first)), height(np.full(target.shape, np.inf))
    slack = 1e-14 * (1 + np.abs(most))
    unit = 1 / max(float(np.ptp(reward, axis=-1).max()), 1e-300)
    inside = (target > least + slack * signed) & (target < most - slack)
    low, high = np.full(target.shape, -unit if signed else 0.0), np.full(target.shape, unit)
    for _ in range(200):  # widen the bracket by doubling until it holds the root
        below, above = inside & (height(high) < target), inside & signed & (height(low) > target)
        if not (below.any() or above.any()):
            break
        high, low = np.where(below, 2 * high, high), np.where(above, 2 * low, low)
    lam = (low + high) / 2
    for _ in range(100):
        phi = tilted(logp, reward, lam[..., None])
        mean = expected(phi, reward)
        value = (mean if signed else kl(phi, logp)).mean(-1)
        variance = expected(phi, (reward - mean[..., None]) ** 2).mean(-1)
        low, high = np.where(value < target, lam, low), np.where(value >= target, lam, high)
        with np.errstate(divide="ignore", invalid="ignore"):
            newton = lam - (value - target) / (variance if signed else lam * variance)
        step = np.where((newton > low) & (newton < high), newton, (low + high) / 2)
        done = (np.abs(step - lam) <= 1e-14 * (np.abs(lam) + unit)) | (
            np.abs(value - target) <= 1e-15 * (1 + np.abs(most))
        )
        lam = np.where(done, lam, step)
        if (done | ~inside).all():
            break
    return np.where(inside, lam, np.where(target >= most - slack, np.inf, first))
