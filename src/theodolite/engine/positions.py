"""Position ids that are not 0, 1, 2, ...: a short prompt placed as if it were long (LOGO, PoSE)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from theodolite.engine.packing import Packed
from theodolite.errors import ModelError, UsageError
from theodolite.types import Group


@dataclass(frozen=True, slots=True)
class Placed(Group):
    """A group whose prompt tokens stand at `positions`, strictly ascending; responses follow the last of them."""

    positions: tuple[int, ...] = ()

    def of_response(self, number: int) -> list[int]:
        """Positions of the computed tokens of one response (its last token is a target only)."""
        start = self.positions[-1] + 1
        return list(range(start, start + len(self.responses[number]) - 1))


def position_ids(groups: Sequence[Group], pack: Packed) -> Tensor | None:
    """(1, N) or (R', N) position ids of a pack that holds placed groups, or None where every group is natural."""
    if not any(isinstance(g, Placed) for g in groups):
        return None
    rows, line = [], []
    for group in groups:
        head, tails = _places(group)
        if pack.layout is None:
            rows += [head + tail for tail in tails]
        else:
            line += head + [p for tail in tails for p in tail]
    if pack.layout is not None:
        return torch.tensor([line], device=pack.tokens.device)
    made = torch.zeros_like(pack.tokens)
    for i, row in enumerate(rows):
        made[i, : len(row)] = torch.tensor(row)
    return made


def check_positions(base: Any, keys: frozenset[str], groups: Sequence[Group], context: int | None) -> None:
    """Refuse places that the model has no room for, or that it would not honour."""
    placed = [g for g in groups if isinstance(g, Placed)]
    if not placed:
        return
    name = type(base).__name__
    text = base.config.get_text_config()
    kinds = getattr(text, "layer_types", None)
    windowed = "sliding_attention" in kinds if kinds else bool(getattr(text, "sliding_window", None))
    if "position_ids" not in keys:
        raise ModelError(f"{name} takes no position ids, so its positions cannot be stretched.")
    if windowed:
        raise ModelError(f"{name} has a sliding window, which counts tokens and not positions; do not stretch it.")
    for g in placed:
        if len(g.positions) != len(g.prompt) or any(b <= a for a, b in zip(g.positions, g.positions[1:])):
            raise UsageError(f"group '{g.id}' needs one position a prompt token, strictly ascending.")
        last = max(g.of_response(k)[-1] if len(r) > 1 else g.positions[-1] for k, r in enumerate(g.responses))
        if context is not None and last >= context:
            raise UsageError(
                f"group '{g.id}' is placed up to position {last}, but {name} has {context}. Stretch less, or give the "
                "model a longer context first (rope scaling in its config)."
            )


def _places(group: Group) -> tuple[list[int], list[list[int]]]:
    if isinstance(group, Placed):
        return list(group.positions), [group.of_response(k) for k in range(len(group))]
    n = len(group.prompt)
    return list(range(n)), [list(range(n, n + len(r) - 1)) for r in group.responses]
