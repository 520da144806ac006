"""The world builders: each a small config and a function of it and a seeded generator.

True rewards have mean 0 and standard deviation 1 under the reference at every prompt. Annotators prefer i to j with
probability sigmoid(judged_i - judged_j), so a DPO beta of 1 has its optimum at p exp(reward).
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from theodolite.config import Config
from theodolite.exact.world import Floats, World, log_normalised, standardised
from theodolite.registry import get, register


class Size(Config):
    """How many prompts and responses, and how unequal the reference is; shared by all worlds but the HMM's."""

    prompts: Annotated[int, Field(ge=1)] = 2
    """X, the number of prompts"""
    responses: Annotated[int, Field(ge=2)] = 6
    """Y, the number of responses, the same texts for every prompt"""
    spread: Annotated[float, Field(ge=0)] = 1.0
    """standard deviation of the reference's logits; 0 is a uniform reference"""
    longest: Annotated[int, Field(ge=1)] = 4
    """lengths are drawn evenly from 1 to this many tokens"""


class Clustered(Size):
    clusters: Annotated[int, Field(ge=1)] = 3
    """responses fall into this many kinds"""
    within: Annotated[float, Field(ge=0)] = 0.1
    """standard deviation of the reward inside a kind, where between kinds it is 1; 0 makes exact ties"""
    rarity: Annotated[float, Field(ge=0)] = 1.0
    """nats by which each better kind is rarer than the one below it"""


class LengthBiased(Size):
    bias: float = 1.0
    """what annotators add per standard deviation of length"""
    longest: Annotated[int, Field(ge=2)] = 4


class Noisy(Size):
    flip: Annotated[float, Field(ge=0, lt=0.5)] = 0.1
    """share of verdicts turned round by accident"""


class Misspecified(Size):
    features: Annotated[int, Field(ge=2)] = 4
    """the true reward is a weighted sum of this many features of a response"""
    unseen: Annotated[int, Field(ge=1)] = 1
    """how many of them the annotators cannot see"""


class Proxy(Size):
    error: Annotated[float, Field(ge=0)] = 0.5
    """standard deviation of the proxy's error at a response of average probability; grows as p^(-1/2)"""


class MultiObjective(Size):
    weights: tuple[float, ...] = (0.5, 0.3, 0.2)
    """how much each of the independent rewards counts"""


def _reference(cfg: Size, rng: np.random.Generator) -> tuple[Floats, np.ndarray]:
    logp = log_normalised(cfg.spread * rng.standard_normal((cfg.prompts, cfg.responses)))
    return logp, rng.integers(1, cfg.longest + 1, cfg.responses)


def _plain(cfg: Size, rng: np.random.Generator, name: str) -> World:
    logp, length = _reference(cfg, rng)
    reward = standardised(rng.standard_normal(logp.shape), logp)
    return World(name, logp, reward, reward, length)


@register("world", "random", source="ours: the plain case, nothing is related to anything", config=Size)
def random(cfg: Size, rng: np.random.Generator) -> World:
    """Gaussian logits and independent Gaussian rewards; annotators judge by the true reward."""
    return _plain(cfg, rng, "random")


@register("world", "clustered", source="ours: answers come in kinds, and the good kind is rare", config=Clustered)
def clustered(cfg: Clustered, rng: np.random.Generator) -> World:
    """Responses in kinds of nearly equal reward, each better kind rarer than the one below it."""
    logp, length = _reference(cfg, rng)
    kind = rng.permuted(np.tile(np.arange(cfg.responses) % cfg.clusters, (cfg.prompts, 1)), axis=1)
    logp = log_normalised(logp - cfg.rarity * kind)
    reward = standardised(kind + cfg.within * rng.standard_normal(logp.shape), logp)
    return World("clustered", logp, reward, reward, length)


@register("world", "length_biased", source="ours: after the length bias of judges", config=LengthBiased)
def length_biased(cfg: LengthBiased, rng: np.random.Generator) -> World:
    """Length says nothing about the true reward, but annotators like long answers."""
    logp, length = _reference(cfg, rng)
    length = rng.permutation(np.resize(np.arange(1, cfg.longest + 1), cfg.responses))  # every length is there
    longness = standardised(np.broadcast_to(length, logp.shape).astype(float), logp)
    noise = rng.standard_normal(logp.shape)
    slope = (np.exp(logp) * longness * noise).sum(-1, keepdims=True)
    reward = standardised(noise - slope * longness, logp)  # uncorrelated with length under p
    return World("length_biased", logp, reward, reward + cfg.bias * longness, length)


@register("world", "noisy", source="ours: Bradley-Terry with flips, as in arXiv:2403.00409", config=Noisy)
def noisy(cfg: Noisy, rng: np.random.Generator) -> World:
    """Annotators judge by the true reward, then a share of their verdicts is flipped."""
    made = _plain(cfg, rng, "noisy")
    return World("noisy", made.logp, made.reward, made.judged, made.length, cfg.flip)


@register("world", "misspecified", source="ours: annotators miss a part of what matters", config=Misspecified)
def misspecified(cfg: Misspecified, rng: np.random.Generator) -> World:
    """The true reward is a sum of features, and annotators do not see all of them."""
    logp, length = _reference(cfg, rng)
    features = rng.standard_normal((cfg.features, *logp.shape))
    total = features.sum(0)
    reward = standardised(total, logp)
    scale = reward.std(-1, keepdims=True) / total.std(-1, keepdims=True)
    seen = features[: max(cfg.features - cfg.unseen, 1)].sum(0) * scale
    return World("misspecified", logp, reward, seen, length)


@register("world", "proxy", source="ours: after reward-model over-optimisation, arXiv:2210.10760", config=Proxy)
def proxy(cfg: Proxy, rng: np.random.Generator) -> World:
    """Labels come from a proxy of the true reward that errs most where the reference seldom goes."""
    made = _plain(cfg, rng, "proxy")
    rare = np.exp(-0.5 * (made.logp + np.log(made.logp.shape[1])))
    judged = made.reward + cfg.error * rare * rng.standard_normal(made.logp.shape)
    return World("proxy", made.logp, made.reward, judged, made.length)


@register("world", "multi_objective", source="ours: one reward is the weighted sum of several", config=MultiObjective)
def multi_objective(cfg: MultiObjective, rng: np.random.Generator) -> World:
    """Several independent rewards; the true one is their weighted sum, and annotators weigh alike."""
    logp, length = _reference(cfg, rng)
    weights = np.asarray(cfg.weights, float)
    parts = np.stack([standardised(rng.standard_normal(logp.shape), logp) for _ in weights])
    mixed = np.tensordot(weights, parts, 1)
    p = np.exp(logp)
    sd = np.sqrt((p * mixed**2).sum(-1, keepdims=True))
    parts = parts / np.where(sd == 0, 1, sd)
    reward = np.tensordot(weights, parts, 1)
    return World("multi_objective", logp, reward, reward, length, 0.0, parts, weights)


def build(name: str, seed: int, **options: object) -> World:
    """The registered world of that name: `build("noisy", seed=3, flip=0.2)`."""
    entry = get("world", name)
    assert entry.config is not None
    cfg = entry.config(**options)
    stream = int.from_bytes(name.encode(), "little") % 2**32  # worlds of one seed do not share their numbers
    made: World = entry.function(cfg, np.random.default_rng([seed, stream]))
    return made
