"""Log-probs of options behind many prompts, where what they have in common is computed once.

    [Is this statement true? Answer with yes or no.]  [statement 1 ...]  Yes | No | yes | no
                                                      [statement 2 ...]  Yes | No | yes | no

Three things are shared, and none of them changes a log-prob:

- the opening of several prompts is the packed prompt of `token_logps`, what follows it in each is a response;
- options are a tree: ' 1' to ' 9', where a tokenizer keeps digits apart, all begin with one space token, so that two
  states behind a prompt tell nine labels;
- one walk over the vocabulary tells all tokens that may follow a state. The engine gives log p of one of them, t0, and

      log p(t) = log p(t0) + z(t) - z(t0)        z: logits of two tokens, a dot product each
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from theodolite.engine import packs, token_logps
from theodolite.engine.forward import head_of, inner
from theodolite.engine.head import Head
from theodolite.engine.route import Path
from theodolite.types import Group

Ids = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Asked:
    """A prompt and its options as a tree. after: each beginning of an option -> the tokens that may follow it."""

    prompt: Ids
    after: Mapping[Ids, tuple[int, ...]]

    @classmethod
    def of(cls, prompt: Ids, options: Iterable[Ids]) -> Asked:
        after: dict[Ids, dict[int, None]] = {}
        for option in options:
            for depth, token in enumerate(option):
                after.setdefault(option[:depth], {})[token] = None
        return cls(prompt, {node: tuple(tokens) for node, tokens in after.items()})

    @property
    def paths(self) -> list[Ids]:
        """The beginnings that no longer one contains: with these, all are computed."""
        return [node for node, tokens in self.after.items() if not any((*node, t) in self.after for t in tokens)]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a state's log-prob stands: `token` behind `node` of prompt `number`, in this row and column."""

    number: int
    node: Ids
    row: int
    column: int
    token: int


def option_logps(model: Any, groups: Sequence[Group], budget: int, share: bool = True) -> list[list[float]]:
    """Log-prob in nats of every response of every group, as `token_logps` sums it, to float32's rounding.

    budget: tokens a forward pass. share: compute a common opening once, which only packed rows can; where a model is
    scored in padded ones this raises ModelError, and false still shares the rest. Either way ModelError where a
    model keeps its last states to itself.
    """
    options: dict[Ids, list[Ids]] = {}
    for g in groups:
        options.setdefault(g.prompt, []).extend(g.responses)
    number = {prompt: i for i, prompt in enumerate(options)}
    asked = [Asked.of(prompt, found) for prompt, found in options.items()]
    alone = [(len(a.prompt), [i]) for i, a in enumerate(asked)]
    cut = openings([a.prompt for a in asked], [len(a.paths) for a in asked], budget) if share else alone
    laid = [_laid(asked, numbers, length) for length, numbers in cut]
    known: dict[tuple[int, Ids, int], float] = {}
    for part in packs([g for g, _ in laid], budget):
        known |= _scored(model, [laid[i] for i in part], asked, budget, "packed" if share else "auto")
    return [
        [sum(known[number[g.prompt], r[:depth], token] for depth, token in enumerate(r)) for r in g.responses]
        for g in groups
    ]


def openings(prompts: Sequence[Ids], copies: Sequence[int], budget: int) -> list[tuple[int, list[int]]]:
    """Prompts in groups that share an opening: (tokens of the opening, numbers of the prompts).

        cost of a group = opening + sum of copies * (prompt - opening)        cost of a prompt alone = its length

    copies: how often what follows the opening is computed. Sorted, prompts with a long common opening stand side by
    side; the cheapest cut of that order into stretches is found by dynamic programming, no group above `budget` tokens.
    A prompt alone is its own opening.
    """
    order = sorted(range(len(prompts)), key=lambda i: prompts[i])
    common = [_common(prompts[a], prompts[b]) for a, b in pairwise(order)]
    least, begins = [0], []
    for end, last in enumerate(order):
        best, begin = least[end] + len(prompts[last]), end
        length, tails, tokens = len(prompts[last]), copies[last], copies[last] * len(prompts[last])
        for first in range(end - 1, -1, -1):
            length = min(length, common[first])
            tails += copies[order[first]]
            tokens += copies[order[first]] * len(prompts[order[first]])
            cost = length + tokens - tails * length
            if length == 0 or cost > budget:
                break
            if least[first] + cost < best:
                best, begin = least[first] + cost, first
        least.append(best)
        begins.append(begin)
    found, end = [], len(order)
    while end:
        begin = begins[end - 1]
        opening = min([len(prompts[order[end - 1]]), *common[begin : end - 1]])
        found.append((opening, order[begin:end]))
        end = begin
    return found


def _common(a: Ids, b: Ids) -> int:
    """How many tokens two texts begin with alike."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def _laid(asked: Sequence[Asked], numbers: Sequence[int], opening: int) -> tuple[Group, list[Place]]:
    """One group: the opening, and behind it the rest of each prompt with each path of its options.

    Each node is scored once, on one of the tokens that may follow it: the one its path takes, or the first.
    """
    responses: list[Ids] = []
    weights: list[tuple[float, ...]] = []
    places: dict[tuple[int, Ids], Place] = {}
    for number in numbers:
        one = asked[number]
        rest = one.prompt[opening:]
        for path in one.paths:
            text = (*rest, *path, one.after[path][0])
            weight = [0.0] * len(text)
            for depth in range(len(path) + 1):
                node, column = path[:depth], len(rest) + depth
                if (number, node) not in places:
                    weight[column] = 1.0
                    places[number, node] = Place(number, node, len(responses), column, text[column])
            responses.append(text)
            weights.append(tuple(weight))
    return Group(asked[numbers[0]].prompt[:opening], tuple(responses), tuple(weights)), list(places.values())


def _scored(
    model: Any, laid: Sequence[tuple[Group, list[Place]]], asked: Sequence[Asked], budget: int, path: Path
) -> dict[tuple[int, Ids, int], float]:
    """(prompt, node, token) -> log-prob, for every token that may follow every node of these groups."""
    with torch.inference_mode():
        got = token_logps(model, [g for g, _ in laid], extras=("state",), path=path, budget=budget)
        places, rows, first = [], [], 0
        for group, found in laid:
            places += found
            rows += [first + p.row for p in found]
            first += len(group)
        columns = [p.column for p in places]
        known, states = got.policy[rows, columns], got.extras["state"][rows, columns]
        asks = [(i, t) for i, p in enumerate(places) for t in asked[p.number].after[p.node]]
        of = torch.tensor([i for i, _ in asks], device=states.device)
        head = head_of(inner(model))
        assert head is not None  # else nothing was intercepted
        z = _logits(head, states[of], torch.tensor([t for _, t in asks], device=states.device))
        z_known = _logits(head, states, torch.tensor([p.token for p in places], device=states.device))
        logp = (known[of] + (z - z_known[of])).tolist()
    return {(places[i].number, places[i].node, t): value for (i, t), value in zip(asks, logp, strict=True)}


def _logits(head: Head, states: Tensor, tokens: Tensor) -> Tensor:
    """(n,) the logit of one token a state, in at least float32. states: (n, D), tokens: (n,)."""
    if not head.linear:
        parts = zip(torch.split(states, 64), torch.split(tokens, 64), strict=True)
        return torch.cat([head.logits(s).gather(1, t[:, None])[:, 0] for s, t in parts])
    wide = torch.promote_types(states.dtype, torch.float32)
    weight, bias = head.module.weight, head.module.bias
    z = (states.to(wide) * weight[tokens].to(wide)).sum(-1)
    return head.finish(z if bias is None else z + bias[tokens].to(wide))
