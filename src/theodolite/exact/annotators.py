"""What the people of a world say about its answers, as exact probabilities.

They go by `world.judged`, not by the true reward, and a share `world.flip` of their verdicts is turned round.
"""

from __future__ import annotations

import itertools

import numpy as np
from scipy.special import expit

from theodolite.exact.world import Floats, World, logsumexp


def prefers(world: World) -> Floats:
    """(X, Y, Y) P(i preferred to j | x) = sigmoid(judged_i - judged_j), then flips: (1 - 2f) P + f."""
    clean = expit(world.judged[:, :, None] - world.judged[:, None, :])
    return np.asarray((1 - 2 * world.flip) * clean + world.flip)


def likes(world: World) -> Floats:
    """(X, Y) P(thumbs up | x, y) = sigmoid(judged - mean judged under p), then flips.

    An answer as good as the prompt's average is liked half the time.
    """
    usual = (np.exp(world.logp) * world.judged).sum(-1, keepdims=True)
    return np.asarray((1 - 2 * world.flip) * expit(world.judged - usual) + world.flip)


def winners(world: World) -> Floats:
    """(X, Y) how often each answer wins when two different ones are drawn and compared; rows sum to 1.

    This is what fine-tuning on chosen answers imitates: p(i) sum_j p(j) P(i > j), over pairs i != j.
    """
    mass = pair_mass(world)
    return np.asarray(mass.sum(2))


def losers(world: World) -> Floats:
    """(X, Y) how often each answer loses such a comparison; rows sum to 1."""
    return np.asarray(pair_mass(world).sum(1))


def pair_mass(world: World) -> Floats:
    """(X, Y, Y) chance that two different draws of p are compared and i wins over j; sums to 1 for each prompt."""
    p = np.exp(world.logp)
    mass = p[:, :, None] * p[:, None, :] * prefers(world)
    mass[:, np.arange(p.shape[1]), np.arange(p.shape[1])] = 0
    return np.asarray(mass / mass.sum((1, 2), keepdims=True))


def orders(responses: int, k: int) -> np.ndarray:
    """(L, k) every ordered choice of k different responses, best first: L = Y! / (Y - k)!."""
    return np.array(list(itertools.permutations(range(responses), k)))


def order_mass(world: World, lists: np.ndarray) -> Floats:
    """(X, L) chance that k different draws of p are ranked in this order, by Plackett-Luce; sums to 1 for each prompt.

    P(order) = prod_i exp(judged_i) / sum_{j >= i} exp(judged_j); a flip reads the list from its other end. For k = 2
    this is `pair_mass`.
    """
    judged = world.judged[:, lists]
    clean = _plackett_luce(judged)
    turned = _plackett_luce(judged[..., ::-1])
    mass = np.exp(world.logp[:, lists].sum(-1)) * ((1 - world.flip) * clean + world.flip * turned)
    return np.asarray(mass / mass.sum(1, keepdims=True))


def _plackett_luce(judged: Floats) -> Floats:
    """(..., k) scores in ranked order to the chance of that order."""
    k = judged.shape[-1]
    log_each = [judged[..., i] - logsumexp(judged[..., i:])[..., 0] for i in range(k)]
    return np.asarray(np.exp(sum(log_each)))
