"""From logits to tokens: one uniform number per row and step picks a token by inverse CDF.

The numbers come from a counter-based generator keyed by (seed, prompt ids, k), so a draw depends on nothing else:
not on the rows beside it, not on how many there are. No sort over the vocabulary is needed unless top-p spreads
over more than a thousand tokens.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from theodolite.config import Config
from theodolite.errors import ModelError

BLOCK = 256
"""tokens per block of the two-level CDF"""
CHUNK = 32
"""rows drawn at a time, so that the scratch space stays in the processor's cache"""
NUCLEUS = 1024
"""top-p looks at this many best tokens before it sorts the whole vocabulary"""


class Filters(Config):
    """What is left of the vocabulary before drawing; the order is temperature, top-k, top-p, min-p."""

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0

    @property
    def plain(self) -> bool:
        return self.top_k == 0 and self.top_p >= 1 and self.min_p == 0


def uniforms(seed: int, prompt: Sequence[int], k: int, n: int) -> np.ndarray:
    """(n,) doubles in [0, 1), the draws of sample `k` of this prompt; the first m of n equal those of n = m.

    Philox with a 128-bit key hashed from (seed, k, prompt ids). Source: Salmon et al. 2011, Parallel random numbers.
    """
    return np.random.Generator(np.random.Philox(key=key(seed, prompt, k))).random(n)


def key(seed: int, prompt: Sequence[int], k: int) -> int:
    """128 bits that stand for (seed, prompt, k)."""
    text = np.asarray([seed, k, *prompt], dtype=np.int64).tobytes()
    return int.from_bytes(hashlib.blake2b(text, digest_size=16).digest(), "little")


class Drawer:
    """Draws one token a row. Keeps its scratch space between steps: fresh pages cost more than the arithmetic."""

    def __init__(self) -> None:
        self._scratch: Tensor | None = None
        self._room: Tensor | None = None

    def __call__(
        self, logits: Tensor, u: Tensor, filters: Filters, shaped: Tensor | None = None
    ) -> tuple[list[int], list[float]]:
        """One token for each row, and its log-prob.

            p = softmax(shaped / temperature) over the tokens that pass the filters; token = min {v: CDF(v) > u}

        logits: (n, V) of the model. shaped: (n, V) after logit processors, by default the logits themselves.
        u: (n,) doubles in [0, 1); unused where temperature is 0 (the best token is taken).
        Returns n tokens and their log-probs in nats under softmax(logits): the model's own, at temperature 1,
        whatever the temperature, filters and processors were.
        """
        tokens: list[int] = []
        logps: list[float] = []
        for start in range(0, len(logits), CHUNK):
            rows = slice(start, start + CHUNK)
            t, p = self._draw(logits[rows], u[rows], filters, None if shaped is None else shaped[rows])
            tokens += t
            logps += p
        return tokens, logps

    def _draw(
        self, logits: Tensor, u: Tensor, filters: Filters, shaped: Tensor | None
    ) -> tuple[list[int], list[float]]:
        top = logits.amax(-1, keepdim=True)
        if not torch.isfinite(top).all():
            raise ModelError("the model gave logits that are NaN or infinite; its weights or dtype are broken.")
        mass = self._exp(logits, top)
        log_z = top.squeeze(-1).double() + _block_sums(mass).sum(-1).log()
        if filters.temperature == 0:
            token = (logits if shaped is None else shaped).argmax(-1)
        else:
            if shaped is not None or filters.temperature != 1 or not filters.plain:
                scaled = self._scaled(logits if shaped is None else shaped, filters.temperature)
                mass = self._exp(scaled, _finite(scaled.amax(-1, keepdim=True)))
                if not filters.plain:
                    mass[:, : scaled.shape[-1]].masked_fill_(scaled < lowest_kept(scaled, filters), 0.0)
            token = pick(mass, u.to(mass.device))
        logp = logits.gather(-1, token[:, None]).squeeze(-1).double() - log_z
        return token.tolist(), logp.tolist()

    def _scaled(self, logits: Tensor, temperature: float) -> Tensor:
        if temperature == 1:
            return logits
        if self._room is None or self._room.shape[-1] != logits.shape[-1] or self._room.device != logits.device:
            self._room = torch.empty(CHUNK, logits.shape[-1], dtype=logits.dtype, device=logits.device)
        return torch.div(logits, temperature, out=self._room[: len(logits)])

    def _exp(self, logits: Tensor, top: Tensor) -> Tensor:
        """(n, W) exp(logits - top), W = V rounded up to whole blocks; the surplus is zero."""
        n, vocabulary = logits.shape
        width = -(-vocabulary // BLOCK) * BLOCK
        if self._scratch is None or self._scratch.shape[-1] != width or self._scratch.device != logits.device:
            self._scratch = torch.zeros(CHUNK, width, device=logits.device)
        mass = self._scratch[:n]
        torch.sub(logits, top, out=mass[:, :vocabulary])
        mass[:, :vocabulary].exp_()
        return mass


def pick(mass: Tensor, u: Tensor) -> Tensor:
    """(n,) smallest token whose cumulative mass exceeds u times the total.

    mass: (n, W) non-negative, W a multiple of BLOCK. First the block is found, then the token inside it, both in
    double precision, so that 49,152 small numbers are not summed one after the other in fp32.
    """
    blocks = _block_sums(mass).cumsum(-1)
    target = u[:, None].double() * blocks[:, -1:]
    block = torch.searchsorted(blocks, target, right=True).clamp_(max=blocks.shape[-1] - 1)
    after = blocks.gather(-1, block)
    before = torch.where(block > 0, blocks.gather(-1, (block - 1).clamp(min=0)), 0.0)
    inside = mass.view(len(mass), -1, BLOCK)[torch.arange(len(mass), device=mass.device), block.squeeze(-1)]
    inside = inside.double().cumsum(-1)
    share = ((target - before) / (after - before)).clamp(0.0, 1.0 - 1e-12)
    token = torch.searchsorted(inside, share * inside[:, -1:], right=True).clamp_(max=BLOCK - 1)
    return (block * BLOCK + token).squeeze(-1)


def lowest_kept(scaled: Tensor, filters: Filters) -> Tensor:
    """(n, 1) the smallest scaled logit that stays in; tokens tied with it stay too.

    top-k: the k-th largest. top-p: the smallest set of best tokens whose mass reaches top_p, measured after top-k
    (arXiv:1904.09751 section 3.1). min-p: at least min_p times the best token's probability (arXiv:2407.01082 eq. 2).
    """
    top = scaled.amax(-1, keepdim=True)
    floor = torch.full_like(top, -math.inf)
    best: Tensor | None = None
    if 0 < filters.top_k < scaled.shape[-1]:
        best = scaled.topk(filters.top_k, dim=-1).values
        floor = best[:, -1:]
    if filters.top_p < 1:
        floor = torch.maximum(floor, _nucleus(scaled if best is None else best, filters.top_p, best is not None))
    if filters.min_p > 0:
        floor = torch.maximum(floor, top + math.log(filters.min_p))
    return floor


def _nucleus(values: Tensor, top_p: float, is_sorted: bool) -> Tensor:
    """(n, 1) the last value of the smallest best-first set with mass >= top_p of all `values`."""
    size = values.shape[-1]
    if is_sorted or size <= NUCLEUS:
        return _cut(values if is_sorted else values.sort(dim=-1, descending=True).values, values, top_p)[0]
    floor, reached = _cut(values.topk(NUCLEUS, dim=-1).values, values, top_p)
    if (short := ~reached.squeeze(-1)).any():
        floor[short] = _cut(values[short].sort(dim=-1, descending=True).values, values[short], top_p)[0]
    return floor


def _cut(ordered: Tensor, values: Tensor, top_p: float) -> tuple[Tensor, Tensor]:
    """Where the best-first `ordered` reaches top_p of the mass of `values`, and whether it does."""
    top = _finite(ordered[:, :1])
    total = (values - top).exp().sum(-1, keepdim=True, dtype=torch.float64)
    mass = (ordered - top).exp().double().cumsum(-1)
    short = mass < top_p * total
    last = short.sum(-1, keepdim=True).clamp_(max=ordered.shape[-1] - 1)
    return ordered.gather(-1, last), ~short[:, -1:]


def _finite(top: Tensor) -> Tensor:
    if not torch.isfinite(top).all():
        raise ModelError("a logit processor left no token to draw, or NaN; at least one logit of a row must be finite.")
    return top


def _block_sums(mass: Tensor) -> Tensor:
    return mass.view(len(mass), -1, BLOCK).sum(-1).double()
