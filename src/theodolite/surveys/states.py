"""Hidden states of whole prompts, one number a prompt, layer and feature, and a memory for them that has an end."""

from __future__ import annotations

import inspect
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from theodolite.engine.forward import inner
from theodolite.errors import ModelError

Pool = Literal["mean", "last"]
TOKENS = 2048
"""tokens of a padded batch"""
BYTES = 1 << 28
"""most bytes of states that a Subject keeps (256 MiB)"""


class Recent:
    """Arrays by name, at most `limit` bytes of them together: the least recently used make room for a new one.

    An array larger than the limit is not kept at all.
    """

    def __init__(self, limit: int) -> None:
        self.limit, self.held = limit, 0
        self._kept: OrderedDict[str, np.ndarray] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, name: str) -> np.ndarray | None:
        """The array of that name, now the most recently used; None where it is not, or no longer, kept."""
        found = self._kept.get(name)
        if found is not None:
            self._kept.move_to_end(name)
        return found

    def put(self, name: str, value: np.ndarray) -> None:
        old = self._kept.pop(name, None)
        self.held -= 0 if old is None else old.nbytes
        if value.nbytes > self.limit:
            return
        while self.held + value.nbytes > self.limit:
            _, gone = self._kept.popitem(last=False)
            self.held -= gone.nbytes
        self._kept[name] = value
        self.held += value.nbytes


def hidden_states(
    model: Any,
    prompts: Sequence[tuple[int, ...]],
    *,
    pool: Pool = "mean",
    layer: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Iterator[tuple[int, np.ndarray]]:
    """(number of the prompt, its states), shortest prompts first, as they are computed.

    States are float32 (layers + 1, d), the embedding first and the last after the final norm, or (d,) of one `layer`;
    the mean over the prompt's tokens, or its last token's. Prompts are padded on the right without a mask: what a causal
    model makes of a token does not depend on what follows. No logits are made but the last position's.
    """
    keys = inspect.signature(inner(model).forward).parameters
    options = {k: v for k, v in (("logits_to_keep", 1), ("use_cache", False)) if k in keys}
    device = inner(model).get_input_embeddings().weight.device
    done = 0
    for part in _batches([len(p) for p in prompts]):
        tokens = torch.zeros((len(part), len(prompts[part[-1]])), dtype=torch.long)
        for row, n in enumerate(part):
            tokens[row, : len(prompts[n])] = torch.tensor(prompts[n])
        lengths = torch.tensor([len(prompts[n]) for n in part], device=device)
        with torch.inference_mode():
            out = model(tokens.to(device), output_hidden_states=True, **options)
            read = out.hidden_states if layer is None else [_layer(out.hidden_states, layer)]
            pooled = torch.stack([_pooled(h, lengths.to(h.device), pool).cpu() for h in read], 1).numpy()
        done += len(part)
        progress(done, len(prompts))
        for row, n in enumerate(part):
            yield n, pooled[row].copy() if layer is None else pooled[row, 0].copy()


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Numbers of the prompts by length, as many together as TOKENS allow when padded to the longest of them."""
    part: list[int] = []
    for n in sorted(range(len(lengths)), key=lambda n: lengths[n]):
        if part and (len(part) + 1) * lengths[n] > TOKENS:
            yield part
            part = []
        part.append(n)
    if part:
        yield part


def _pooled(h: Tensor, lengths: Tensor, pool: Pool) -> Tensor:
    """(b, d) float32 of states (b, T, d), over the first `lengths` tokens of each row."""
    if pool == "last":
        return h[torch.arange(len(h), device=h.device), lengths - 1].float()
    beyond = torch.arange(h.shape[1], device=h.device) >= lengths[:, None]
    return h.float().masked_fill(beyond[..., None], 0.0).sum(1) / lengths[:, None]


def _layer(states: Sequence[Tensor], layer: int) -> Tensor:
    if not -len(states) <= layer < len(states):
        raise ModelError(f"there is no layer {layer}: the model has 0 (the embedding) to {len(states) - 1}.")
    return states[layer]
