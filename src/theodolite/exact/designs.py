"""Every piece of data that a world can give to an objective, listed once, with the chance of each.

A Design is a template of N groups of K rows for a prompt, and `mass[w, x, n]`, how often group n comes up at prompt x
of world w. Exact expectations weigh the groups by their mass; m samples weigh them by multinomial counts over m.
What the data kinds become here:

    sft        the winner of a comparison, as a demonstration
    pairs      two different draws of p, compared; scores are what the annotators go by
    labels     one draw of p with a thumb up or down
    rankings   `listed` different draws of p, ranked; scores are the number of answers ranked below
    teacher    the winner again; the score is log phi / L, phi the optimum at beta 1 of what annotators go by: an aligned model
    negatives  the loser of a comparison, beside fresh draws of p where the objective wants its own samples
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from theodolite.errors import UsageError
from theodolite.exact import annotators
from theodolite.exact.optimum import optimum
from theodolite.exact.world import Floats, World
from theodolite.types import Role

Ints = NDArray[np.int64]


class NotApplicable(UsageError):
    """No world can give what this objective learns from; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class Design:
    """response, role, label, offset: (N, K); score: (W, X, N, K); mass: (W, X, N), each prompt's sums to 1.

    offset 0 is a row under its own prompt, o the same response under the prompt o places further on.
    """

    response: Ints
    role: Ints
    label: Ints
    offset: Ints
    score: Floats
    mass: Floats

    @property
    def coupled(self) -> bool:
        """Whether rows of different prompts meet in one group."""
        return bool(self.offset.any())

    def sampled(self, m: int, rng: np.random.Generator) -> Design:
        """The design seen through m random groups at each prompt: mass becomes counts / m."""
        flat = self.mass.reshape(-1, self.mass.shape[-1])
        counts = rng.multinomial(m, flat / flat.sum(1, keepdims=True)).astype(float)
        return Design(
            self.response, self.role, self.label, self.offset, self.score, counts.reshape(self.mass.shape) / m
        )


def design(data: str, roles: Sequence[str], worlds: Sequence[World], listed: int = 3) -> Design:
    """The design for objectives of that data kind; worlds must agree in their numbers of prompts and responses."""
    if data not in _MAKERS:
        raise NotApplicable(f"learns from {data}, which a world does not have.")
    shapes = {w.shape for w in worlds}
    if len(shapes) != 1:
        raise UsageError(f"worlds trained together need one shape, got {sorted(shapes)}. Train them in groups.")
    made = _MAKERS[data](worlds, roles, listed)
    if "mismatched" in roles:
        made = _mismatched(made, worlds[0].shape[0])
    absent = set(roles) - {Role(r).name.lower() for r in np.unique(made.role)}
    if absent:
        raise NotApplicable(f"needs rows that are {', '.join(sorted(absent))}, which a world's {data} do not have.")
    return made


def _rows(response: Ints, role: int | Ints, label: int | Ints, mass: Floats, score: Floats | None = None) -> Design:
    """A design under its own prompts; role and label broadcast to (N, K), score defaults to unknown."""
    shape = response.shape
    known = (
        np.full((*mass.shape[:2], *shape), np.nan)
        if score is None
        else np.broadcast_to(score, (*mass.shape[:2], *shape))
    )
    spread = [np.broadcast_to(np.asarray(v, np.int64), shape) for v in (role, label)]
    return Design(response, spread[0], spread[1], np.zeros(shape, np.int64), known, mass)


def _stack(function: Callable[[World], Floats], worlds: Sequence[World]) -> Floats:
    return np.stack([function(w) for w in worlds])


def _sft(worlds: Sequence[World], roles: Sequence[str], listed: int) -> Design:
    y = np.arange(worlds[0].shape[1])[:, None]
    role = Role.CHOSEN if "chosen" in roles else Role.OTHER
    return _rows(y, role, -1, _stack(annotators.winners, worlds))


def _teacher(worlds: Sequence[World], roles: Sequence[str], listed: int) -> Design:
    own = _sft(worlds, roles, listed)
    score = _stack(lambda w: optimum(w.logp, w.judged, 1.0) / w.length, worlds)[..., None]
    return _rows(own.response, Role.OTHER, -1, own.mass, score)


def _labels(worlds: Sequence[World], roles: Sequence[str], listed: int) -> Design:
    y = np.arange(worlds[0].shape[1])
    up = _stack(annotators.likes, worlds)
    p = np.exp(_stack(lambda w: w.logp, worlds))
    label = np.repeat([1, 0], len(y))[:, None]
    return _rows(np.tile(y, 2)[:, None], Role.OTHER, label, np.concatenate([p * up, p * (1 - up)], -1))


def _pairs(worlds: Sequence[World], roles: Sequence[str], listed: int) -> Design:
    pairs = np.array(list(itertools.permutations(range(worlds[0].shape[1]), 2)))
    mass = _stack(annotators.pair_mass, worlds)[..., pairs[:, 0], pairs[:, 1]]
    score = _stack(lambda w: w.judged, worlds)[..., pairs]
    return _rows(pairs, np.array([Role.CHOSEN, Role.REJECTED]), -1, mass, score)


def _rankings(worlds: Sequence[World], roles: Sequence[str], listed: int) -> Design:
    k = min(listed, worlds[0].shape[1])
    lists = annotators.orders(worlds[0].shape[1], k)
    mass = _stack(lambda w: annotators.order_mass(w, lists), worlds)
    role = np.array([Role.CHOSEN] + [Role.REJECTED] * (k - 1)) if "chosen" in roles else Role.OTHER
    return _rows(lists, role, -1, mass, np.arange(k, 0, -1.0) - 1)


def _negatives(worlds: Sequence[World], roles: Sequence[str], listed: int) -> Design:
    """Each loser, beside every pair of self-samples where the objective wants them."""
    size = worlds[0].shape[1]
    lost = _stack(annotators.losers, worlds)
    if "self" not in roles:
        return _rows(np.arange(size)[:, None], Role.REJECTED, 0, lost)
    own = np.array(list(itertools.combinations_with_replacement(range(size), 2)))
    p = np.exp(_stack(lambda w: w.logp, worlds))
    drawn = p[..., own[:, 0]] * p[..., own[:, 1]] * np.where(own[:, 0] == own[:, 1], 1, 2)
    response = np.concatenate([np.repeat(np.arange(size), len(own))[:, None], np.tile(own, (size, 1))], 1)
    mass = (lost[..., :, None] * drawn[..., None, :]).reshape(*lost.shape[:2], -1)
    return _rows(response, np.array([Role.REJECTED, Role.SELF, Role.SELF]), -1, mass)


def _mismatched(own: Design, prompts: int) -> Design:
    """Each group beside its first response under every other prompt in turn, each as likely."""
    if prompts < 2:
        raise NotApplicable("sets a prompt's answers under another prompt, and this world has one prompt.")
    n = len(own.response)
    others = np.repeat(np.arange(1, prompts), n)

    def beside(rows: Ints, extra: Ints) -> Ints:
        return np.concatenate([np.tile(rows, (prompts - 1, 1)), extra[:, None]], 1)

    score = np.concatenate([own.score, np.full((*own.score.shape[:3], 1), np.nan)], -1)
    return Design(
        beside(own.response, np.tile(own.response[:, 0], prompts - 1)),
        beside(own.role, np.full(len(others), Role.MISMATCHED)),
        beside(own.label, np.tile(own.label[:, 0], prompts - 1)),
        beside(own.offset, others),
        np.tile(score, (1, 1, prompts - 1, 1)),
        np.tile(own.mass, prompts - 1) / (prompts - 1),
    )


_MAKERS: dict[str, Callable[[Sequence[World], Sequence[str], int], Design]] = {
    "sft": _sft, "pairs": _pairs, "labels": _labels, "rankings": _rankings, "negatives": _negatives,
    "teacher": _teacher,
}  # fmt: skip
