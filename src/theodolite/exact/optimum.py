"""The best possible policy, in closed form: arg max of E[r] - beta KL(. || p) is p exp(r/beta) / Z.

With lam = 1/beta the optima are one exponential family, phi_lam = p exp(lam r - Lambda(lam)), where Lambda(lam) =
log E_p exp(lam r). Its derivatives are the cumulants of r under phi_lam, and KL(phi_lam || p) = lam Lambda' - Lambda
grows with lam, so the best reward at a given KL is found by monotone root finding. Prompts share one lam: that is
what maximises mean reward under a mean KL. Arrays are (X, Y) float64; results are means over X, in nats or units of r.
Source: "Asymptotics of Language Model Alignment" (arXiv:2404.01730); the identities are derived in the tests.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import logsumexp

from theodolite.exact.world import Floats


def cumulant(logp: Floats, reward: Floats, lam: ArrayLike) -> Floats:
    """Lambda(lam) = log E_p exp(lam r) of each prompt, in nats; lam broadcasts against (X,)."""
    return np.asarray(logsumexp(logp + np.asarray(lam, float)[..., None] * reward, axis=-1))


def tilted(logp: Floats, reward: Floats, lam: ArrayLike) -> Floats:
    """log phi_lam (..., Y) = log p + lam r - Lambda(lam); lam = inf (-inf) keeps p on the best (worst) responses only."""
    lam = np.asarray(lam, float)[..., None]
    gap = reward - np.where(lam >= 0, reward.max(-1, keepdims=True), reward.min(-1, keepdims=True))
    with np.errstate(invalid="ignore"):  # inf * 0, at the best responses, is no push at all
        scores = logp + np.where(gap == 0, 0.0, lam * gap)
    return np.asarray(scores - logsumexp(scores, axis=-1, keepdims=True))


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
    return np.maximum(terms.sum(-1), 0.0)


def expected(logq: Floats, values: Floats) -> Floats:
    """E_q[values] over the last axis."""
    return np.asarray((np.exp(logq) * values).sum(-1))


def moments(logp: Floats, reward: Floats, lam: float) -> tuple[Floats, Floats, Floats]:
    """Lambda', Lambda'' and Lambda''' at lam for each prompt: mean, variance and third central moment under phi_lam."""
    phi = np.exp(tilted(logp, reward, np.full(logp.shape[:-1], lam)))
    mean = (phi * reward).sum(-1)
    centred = reward - mean[..., None]
    return mean, (phi * centred**2).sum(-1), (phi * centred**3).sum(-1)


def kl_and_reward(logp: Floats, reward: Floats, lams: ArrayLike) -> tuple[Floats, Floats]:
    """(S,) mean KL to p and (S,) mean reward of the optima with inverse temperatures `lams` (S,)."""
    lams = np.atleast_1d(np.asarray(lams, float))
    phi = tilted(logp[None], reward[None], np.broadcast_to(lams[:, None], (len(lams), len(logp))))
    return kl(phi, logp[None]).mean(-1), expected(phi, reward[None]).mean(-1)


def lam_at_kl(logp: Floats, reward: Floats, target: ArrayLike) -> Floats:
    """(S,) lam at which the optimum's mean KL is `target` nats; inf where no optimum costs that much.

    Newton on KL(lam) = lam Lambda' - Lambda, whose slope is lam Lambda'', kept inside a shrinking bracket.
    """
    return _solve(logp, reward, np.atleast_1d(np.asarray(target, float)), kind=0)


def lam_at_reward(logp: Floats, reward: Floats, target: ArrayLike) -> Floats:
    """(S,) lam (negative below the reference's reward) at which the optimum's mean reward is `target`.

    This is the optimum nearest to any policy of that reward: d/dlam KL(pi || phi_lam) = E_phi r - E_pi r.
    """
    return _solve(logp, reward, np.atleast_1d(np.asarray(target, float)), kind=1)


def reward_at_kl(logp: Floats, reward: Floats, target: ArrayLike) -> Floats:
    """(S,) the exact Pareto frontier: the largest mean reward of any policy whose mean KL to p is `target`."""
    return kl_and_reward(logp, reward, lam_at_kl(logp, reward, target))[1]


def regret(logpi: Floats, logp: Floats, reward: Floats) -> float:
    """Reward left on the table at equal KL: frontier(KL(pi || p)) - E_pi r, 0 or more, in units of reward."""
    spent = kl(logpi, logp).mean()
    return float(max(reward_at_kl(logp, reward, spent)[0] - expected(logpi, reward).mean(), 0.0))


def missed_share(logpi: Floats, logp: Floats, reward: Floats, least: float = 1e-6) -> float:
    """Regret as a share of what the KL could have bought: 0 on the frontier, 1 no better than p, above 1 worse.

    NaN where the policy moved by less than `least` nats, since nothing was spent.
    """
    spent = kl(logpi, logp).mean()
    gain = reward_at_kl(logp, reward, spent)[0] - expected(logp, reward).mean()
    return regret(logpi, logp, reward) / float(gain) if spent >= least and gain > 0 else float("nan")


def excess_kl(logpi: Floats, logp: Floats, reward: Floats) -> float:
    """KL to the nearest optimum, min over lam of KL(pi || phi_lam): nats paid beyond what this reward had to cost."""
    lam = lam_at_reward(logp, reward, expected(logpi, reward).mean())[0]
    if not np.isfinite(lam):
        return float(kl(logpi, logp).mean() - kl_and_reward(logp, reward, lam)[0][0])
    return float(kl(logpi, tilted(logp, reward, np.full(len(logp), lam))).mean())


def closeness(logphi: Floats, logp: Floats, reward: Floats, lam: float) -> float:
    """KL(phi || phi_lam) from KL and reward alone: KL(phi||p) - Delta + lam (E_{phi_lam} r - E_phi r).

    The asymptotics paper's first result, an identity: a policy that equals the optimum in KL and reward is the optimum.
    """
    delta, best = kl_and_reward(logp, reward, lam)
    return float(kl(logphi, logp).mean() - delta[0] + lam * (best[0] - expected(logphi, reward).mean()))


def renyi_cross_entropy(logp: Floats, logq: Floats, order: float) -> Floats:
    """H_a(p, q) = log(sum p q^(a-1)) / (1 - a) in nats; order 1 is the cross-entropy -E_p log q.

    With r = log q the scaled cumulant is Lambda(lam) / lam = -H_{1+lam}(p, q).
    """
    if order == 1:
        return -expected(logp, logq)
    return np.asarray(logsumexp(logp + (order - 1) * logq, axis=-1) / (1 - order))


def _solve(logp: Floats, reward: Floats, target: Floats, kind: int) -> Floats:
    """Root of a function that grows with lam, mean KL (kind 0) or mean reward (kind 1), for every target at once."""
    signed = kind == 1
    ends = np.array([-np.inf if signed else 0.0, np.inf])
    first, last = (kl_and_reward(logp, reward, e)[kind][0] for e in ends)
    slack = 1e-14 * (1 + abs(last))
    spread = float(np.ptp(reward, axis=-1).max()) or 1.0
    low, high = np.full(target.shape, -1.0 / spread if signed else 0.0), np.full(target.shape, 1.0 / spread)
    inside = (target > first + slack * signed) & (target < last - slack)
    for _ in range(200):  # widen the bracket by doubling until it holds the root
        below = inside & (kl_and_reward(logp, reward, high)[kind] < target)
        above = inside & signed & (kl_and_reward(logp, reward, low)[kind] > target)
        if not (below.any() or above.any()):
            break
        high, low = np.where(below, 2 * high, high), np.where(above, 2 * low, low)
    lam = (low + high) / 2
    for _ in range(200):
        value = kl_and_reward(logp, reward, lam)[kind]
        low, high = np.where(value < target, lam, low), np.where(value >= target, lam, high)
        variance = np.array([moments(logp, reward, v)[1].mean() for v in lam])
        slope = variance if signed else lam * variance
        with np.errstate(divide="ignore", invalid="ignore"):
            newton = lam - (value - target) / slope
        step = np.where((newton > low) & (newton < high), newton, (low + high) / 2)
        done = np.abs(step - lam) <= 1e-15 * (np.abs(lam) + 1 / spread)
        lam = step
        if (done | ~inside).all():
            break
    return np.where(inside, lam, np.where(target >= last - slack, np.inf, ends[0]))
