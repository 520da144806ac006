"""Another model's distribution beside the policy's, token by token and in the same pass.

Extras of `token_logps` named after an entry of its `others` compare the two next-token distributions over the whole
vocabulary at every scored token; with T the other's and S the policy's, in nats, with gradient for S alone:

    NAME_kl            sum_v T_v log(T_v / S_v)                        the policy must cover what the other does
    NAME_kl_reverse    sum_v S_v log(S_v / T_v)                        the policy must stay where the other is
    NAME_js            KL(T || M) / 2 + KL(S || M) / 2, M = (S + T)/2  between 0 and log 2

Both run packed and hand over hidden states, so no logits are kept; see `head.divergence` for the arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from theodolite.engine.head import Divergence, Head, divergence
from theodolite.errors import UsageError, did_you_mean
from theodolite.types import Group

KINDS: dict[str, Divergence] = {"_kl_reverse": "reverse_kl", "_kl": "kl", "_js": "js"}
"""ending of an extra's name -> divergence"""


@dataclass(frozen=True, slots=True)
class Other:
    """A model to compare the policy with, and on what.

    groups: one for each group of the policy, with the same responses, under whatever prompt the other shall see;
        None in a place leaves that group out (its divergence is 0). Without `groups` the policy's own are used.
    mode: a context in which the other answers, such as `reference.reference_mode` when it is the policy without its
        adapter. By default in eval mode without gradient.
    """

    model: Any
    groups: Sequence[Group | None] | None = None
    mode: Callable[[Any], AbstractContextManager[None]] | None = None

    def counterpart(self, number: int, group: Group) -> Group | None:
        """What the other scores beside group `number` of the policy; UsageError where the answers differ."""
        if self.groups is None:
            return group
        found = self.groups[number]
        if found is not None and (found.responses != group.responses or _scored(found) != _scored(group)):
            raise UsageError(
                f"group {number} has other responses or weights than its counterpart. A divergence is taken token by "
                "token, so both must score the same answer; only the prompts may differ."
            )
        return found


@dataclass(frozen=True, slots=True)
class Seen:
    """What another model saw at the scored tokens it is compared on: which of the pack's (S',), its states (S', D)."""

    at: Tensor
    states: Tensor
    head: Head

    def apart(self, hidden: Tensor, head: Head, kind: Divergence) -> Tensor:
        """(S,) divergence at each scored token of the pack, 0 where there is nothing to compare with."""
        values = divergence(hidden[self.at], head, self.states, self.head, kind)
        return values.new_zeros(len(hidden)).index_copy(0, self.at, values)


def asked(extras: Sequence[str], others: Mapping[str, Other]) -> dict[str, tuple[str, Divergence]]:
    """extra -> (name in `others`, divergence) for those extras that compare; UsageError where the other is missing."""
    found: dict[str, tuple[str, Divergence]] = {}
    for extra in extras:
        ending = next((e for e in KINDS if extra.endswith(e)), None)
        if ending is None:
            continue
        name = extra.removesuffix(ending)
        if name not in others:
            raise UsageError(
                f"the extra '{extra}' compares the policy with '{name}', which was not given."
                f"{did_you_mean(name, others)} Give others={{'{name}': Other(model)}}."
            )
        found[extra] = (name, KINDS[ending])
    return found


def _scored(group: Group) -> list[list[bool]] | None:
    if group.weights is None or all(w != 0 for row in group.weights for w in row):
        return None
    return [[w != 0 for w in row] for row in group.weights]
