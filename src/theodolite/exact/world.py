"""A World: X prompts, Y responses that every prompt shares, a reference policy and a true reward, all known.

Everything is NumPy float64 and log-space. Prompts weigh the same: an expectation over a world is a mean over x of an
expectation over y. The responses are the same texts for every prompt (their probabilities and rewards differ), so
that "this answer under another prompt", which KTO and CCA ask for, has a meaning.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from theodolite.errors import UsageError

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class World:
    """A finite language model with a true reward and the annotators who judge its answers.

    logp: (X, Y) log p(y|x), each row a normalised distribution without zeros.
    reward: (X, Y) what is truly good, higher is better.
    judged: (X, Y) what the annotators go by; equal to `reward` where they are faithful.
    flip: share of verdicts that are turned round by accident, in [0, 0.5).
    length: (Y,) tokens of each response, at least 1.
    parts, weights: (M, X, Y) and (M,) the rewards that `reward` is the weighted sum of; empty where there is one.
    texts: Y names of the responses, empty where they have none.
    """

    name: str
    logp: Floats
    reward: Floats
    judged: Floats
    length: NDArray[np.int64]
    flip: float = 0.0
    parts: Floats = field(default_factory=lambda: np.zeros((0, 0, 0)))
    weights: Floats = field(default_factory=lambda: np.zeros(0))
    texts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        shape = self.logp.shape
        if len(shape) != 2 or shape[1] < 2:
            raise UsageError(f"world '{self.name}' needs logp of shape (prompts, at least 2 responses), got {shape}.")
        if self.reward.shape != shape or self.judged.shape != shape or self.length.shape != shape[1:]:
            got = f"reward {self.reward.shape}, judged {self.judged.shape}, length {self.length.shape}"
            raise UsageError(f"world '{self.name}' has logp of shape {shape}; reward and judged must match it: {got}.")
        if not np.isfinite(self.logp).all() or np.abs(logsumexp(self.logp)).max() > 1e-9:
            raise UsageError(f"world '{self.name}': every row of logp must be finite and sum to probability 1.")
        if not 0 <= self.flip < 0.5:
            raise UsageError(f"world '{self.name}': flip must be in [0, 0.5), got {self.flip}. 20 % is 0.2.")

    @property
    def shape(self) -> tuple[int, int]:
        """(X, Y): how many prompts and responses there are."""
        return self.logp.shape[0], self.logp.shape[1]

    @property
    def faithful(self) -> bool:
        """Whether annotators judge by the true reward and never slip, so that the truth can be learned from them."""
        return self.flip == 0 and bool(np.array_equal(self.reward, self.judged))

    def weighted(self, weights: ArrayLike) -> World:
        """The same world under other weights of its several rewards; annotators follow the new sum."""
        w = np.asarray(weights, float)
        if not len(self.parts) or w.shape != self.weights.shape:
            raise UsageError(f"world '{self.name}' has {len(self.parts)} rewards to weigh, got {w.size} weights.")
        reward = np.tensordot(w, self.parts, 1)
        return replace(self, reward=reward, judged=reward, weights=w)


def log_normalised(scores: ArrayLike) -> Floats:
    """Rows of scores as log-probabilities: scores - logsumexp(scores)."""
    s = np.asarray(scores, float)
    return np.asarray(s - logsumexp(s))


def logsumexp(scores: Floats) -> Floats:
    """(..., 1) log sum exp over the last axis, stable; SciPy's does the same in ten times the time on small arrays."""
    top = scores.max(-1, keepdims=True)
    return np.asarray(top + np.log(np.exp(scores - top).sum(-1, keepdims=True)))


def standardised(values: Floats, logp: Floats) -> Floats:
    """Each prompt's values with mean 0 and standard deviation 1 under p, so that nats and rewards compare."""
    p = np.exp(logp)
    centred = values - (p * values).sum(-1, keepdims=True)
    sd = np.sqrt((p * centred**2).sum(-1, keepdims=True))
    return np.asarray(centred / np.where(sd == 0, 1.0, sd))
