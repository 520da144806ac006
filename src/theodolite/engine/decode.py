"""Decoders hold the rows that are being sampled: prompts enter, every row takes a token a step, finished rows leave.

`FusedDecoder` is our own loop for the Llama family; `ForwardDecoder` calls any transformers model. Both give the
same tokens. `decoder_for` takes the first that fits.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Sequence
from typing import Any, Literal, Protocol

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache, DynamicLayer

from theodolite.engine.fused import FusedDecoder
from theodolite.engine.weights import Unsupported, parts_of
from theodolite.errors import ModelError

Path = Literal["auto", "fused", "forward"]


class Decoder(Protocol):
    """Rows in a fixed order; what `step` and `drop` are given and return follows that order."""

    mixes: bool
    """whether prompts may enter while other rows are running"""
    equal_lengths: bool
    """whether prompts that enter together must be equally long"""

    def __len__(self) -> int: ...

    def admit(self, prompts: Sequence[Sequence[int]], copies: Sequence[int], room: int) -> Tensor:
        """Prefill each prompt once, open copies[i] rows on it; (sum(copies), V) logits. room: tokens to come."""

    def step(self, tokens: Sequence[int]) -> Tensor:
        """Append a token to each row; (n, V) float32 logits of the next, valid until the next call."""

    def drop(self, dead: Sequence[int]) -> list[int]:
        """Remove rows; the old numbers of those left, in their new order."""


def decoder_for(model: Any, dtype: torch.dtype | None = None, path: Path = "auto") -> tuple[Decoder, str]:
    """A decoder over this model's present weights, and why it is not the fused one ('' where it is)."""
    if path != "forward":
        try:
            return FusedDecoder(parts_of(model, dtype)), ""
        except Unsupported as reason:
            if path == "fused":
                raise ModelError(
                    f"this model cannot be decoded by the fused loop: {reason}. Say path='auto'."
                ) from None
            return ForwardDecoder(model, dtype), str(reason)
    return ForwardDecoder(model, dtype), "asked for"


class ForwardDecoder:
    """Any causal model of transformers: left-padded prefill, cache expanded to K, cache rows selected as rows leave.

    Models that take no position ids (state-space) get prompts of one length at a time, so that nothing is padded.
    """

    mixes = False

    def __init__(self, model: Any, dtype: torch.dtype | None = None) -> None:
        if any(getattr(c, "is_prompt_learning", False) for c in getattr(model, "peft_config", {}).values()):
            raise ModelError("a learned-prompt adapter cannot be sampled from by this engine. Use model.generate.")
        self.model = model if dtype in (None, model.dtype) else copy.deepcopy(model).to(dtype)
        takes = inspect.signature(_inner(model).forward).parameters
        self._cache_name = next((n for n in ("past_key_values", "cache_params") if n in takes), "")
        if not self._cache_name:
            raise ModelError(
                f"{type(_inner(model)).__name__} keeps no cache that this engine knows. Use model.generate."
            )
        self._takes_positions = "position_ids" in takes
        self.equal_lengths = not self._takes_positions
        self._cache: DynamicCache | None = None
        self._mask = torch.empty(0, 0)
        self._n = 0

    def __len__(self) -> int:
        return self._n

    @torch.no_grad()
    def admit(self, prompts: Sequence[Sequence[int]], copies: Sequence[int], room: int) -> Tensor:
        device = self.model.device
        width = max(map(len, prompts))
        ids = torch.zeros(len(prompts), width, dtype=torch.long, device=device)
        self._mask = torch.zeros_like(ids)
        for i, prompt in enumerate(prompts):
            ids[i, width - len(prompt) :] = torch.tensor(prompt, device=device)
            self._mask[i, width - len(prompt) :] = 1
        self._cache = DynamicCache(config=_inner(self.model).config.get_text_config(decoder=True))
        self._cache.layers = [GrowingLayer() if type(x) is DynamicLayer else x for x in self._cache.layers]
        logits = self._forward(ids, (self._mask.cumsum(-1) - 1).clamp_(min=0))
        home = torch.tensor([i for i, c in enumerate(copies) for _ in range(c)], device=device)
        self._select(home)
        return logits[home]

    @torch.no_grad()
    def step(self, tokens: Sequence[int]) -> Tensor:
        positions = self._mask.sum(-1, keepdim=True)
        self._mask = torch.cat([self._mask, self._mask.new_ones(self._n, 1)], dim=-1)
        return self._forward(torch.tensor(tokens, device=self._mask.device)[:, None], positions)

    @torch.no_grad()
    def drop(self, dead: Sequence[int]) -> list[int]:
        gone = set(dead)
        left = [i for i in range(self._n) if i not in gone]
        if left and gone:
            self._select(torch.tensor(left, device=self._mask.device))
        self._n = len(left)
        return left

    def _forward(self, ids: Tensor, positions: Tensor) -> Tensor:
        given: dict[str, Any] = {self._cache_name: self._cache, "use_cache": True, "logits_to_keep": 1}
        if self._takes_positions:
            given["position_ids"] = positions
        if not self.equal_lengths:
            given["attention_mask"] = self._mask
        was_training = self.model.training
        self.model.eval()
        try:
            return self.model(input_ids=ids, **given).logits[:, -1].float()
        finally:
            self.model.train(was_training)

    def _select(self, rows: Tensor) -> None:
        assert self._cache is not None
        self._cache.reorder_cache(rows)
        self._mask, self._n = self._mask[rows], len(rows)


class GrowingLayer(DynamicLayer):
    """transformers' cache layer with spare room: a column is appended in place, not by copying all columns."""

    def __init__(self) -> None:
        super().__init__()
        self._store: tuple[Tensor, Tensor] | None = None

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        have = self.get_seq_length()
        need = have + key_states.shape[-2]
        if self._store is None or self._store[0].shape[-2] < need:
            self._store = (self._roomy(self.keys, key_states, need), self._roomy(self.values, value_states, need))
        self._store[0][..., have:need, :] = key_states
        self._store[1][..., have:need, :] = value_states
        self.keys, self.values = (s[..., :need, :] for s in self._store)
        return self.keys, self.values

    def reorder_cache(self, beam_idx: Tensor) -> None:
        super().reorder_cache(beam_idx)
        self._store = None

    @staticmethod
    def _roomy(old: Tensor, new: Tensor, need: int) -> Tensor:
        room = new.new_empty(*new.shape[:-2], need + max(need // 2, 32), new.shape[-1])
        if old.numel():
            room[..., : old.shape[-2], :] = old
        return room


def _inner(model: Any) -> Any:
    return model.get_base_model() if hasattr(model, "get_base_model") else model
