"""The decode loop of the Llama family, written for many rows: the user's weights, our own loop and cache.

Where a step's time goes with transformers on a CPU (SmolLM2-135M, 128 rows, 100 tokens of context): a third is
spent copying the cache to append one column, a quarter on drawing, a quarter on the matrix products that matter.
Here nothing is copied: each block of rows has a cache that grows in place, the K rows of a prompt share the
prompt's keys and values, and their attention to it is one batched product (arXiv:2402.05099). Rows that finish
leave by having the last row moved into their place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from theodolite.engine.weights import Layer, Parts

PREFILL = 2048
"""prompt tokens computed at a time"""


@dataclass(slots=True)
class Block:
    """Rows admitted together: same age, so their own columns need no mask.

    prompt_k: (layers, g, kv_heads, head_dim, P), prompt_v: (layers, g, kv_heads, P, head_dim): g prompts, zero-padded.
    own_k: (layers, n, kv_heads, capacity, head_dim), own_v the same: what the n rows have drawn so far, `age` columns.
    home: the prompt of each row. start: (n,) position of each row's first own column.
    """

    prompt_k: Tensor
    prompt_v: Tensor
    hidden: Tensor  # (g, 1, P) 0 or -inf
    own_k: Tensor
    own_v: Tensor
    home: list[int]
    start: list[int]
    age: int = 0
    cells: Tensor = field(init=False)
    back: Tensor = field(init=False)
    slots: int = field(init=False)

    def __post_init__(self) -> None:
        self.arrange()

    def __len__(self) -> int:
        return len(self.home)

    def arrange(self) -> None:
        """cells: (g * slots,) row in each slot of each prompt, idle slots hold row 0; back: (n,) slot of each row."""
        seats: list[list[int]] = [[] for _ in range(self.prompt_k.shape[1])]
        for row, g in enumerate(self.home):
            seats[g].append(row)
        self.slots = max(map(len, seats))
        device = self.prompt_k.device
        padded = [row for seat in seats for row in seat + [0] * (self.slots - len(seat))]
        place = {row: g * self.slots + i for g, seat in enumerate(seats) for i, row in enumerate(seat)}
        self.cells = torch.tensor(padded, device=device)
        self.back = torch.tensor([place[row] for row in range(len(self.home))], device=device)

    def grow(self) -> None:
        """Room for one more column; the capacity doubles."""
        layers, _, kv, capacity, d = self.own_k.shape
        if self.age < capacity:
            return
        n, more = len(self), 2 * capacity
        for name in ("own_k", "own_v"):
            old = getattr(self, name)
            new = old.new_empty(layers, n, kv, more, d)
            new[:, :, :, : self.age] = old[:, :n, :, : self.age]
            setattr(self, name, new)

    def drop(self, row: int) -> None:
        """Remove one row; the last takes its place. `arrange` must follow."""
        last = len(self) - 1
        if row != last:
            for own in (self.own_k, self.own_v):
                own[:, row, :, : self.age] = own[:, last, :, : self.age]
            self.home[row], self.start[row] = self.home[last], self.start[last]
        del self.home[last], self.start[last]

    def forget_prompts(self) -> None:
        """Free the caches of prompts whose rows have all left, once they are half."""
        used = sorted(set(self.home))
        if not used or 2 * len(used) > self.prompt_k.shape[1]:
            return
        index = torch.tensor(used, device=self.prompt_k.device)
        self.prompt_k, self.prompt_v = self.prompt_k[:, index], self.prompt_v[:, index]
        self.hidden = self.hidden[index]
        number = {old: new for new, old in enumerate(used)}
        self.home = [number[g] for g in self.home]


class FusedDecoder:
    """Many rows, one token each per step. Rows stand in the order of their blocks."""

    mixes = True
    equal_lengths = False

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.blocks: list[Block] = []
        self._logits: Tensor | None = None

    def __len__(self) -> int:
        return sum(map(len, self.blocks))

    @torch.no_grad()
    def admit(self, prompts: Sequence[Sequence[int]], copies: Sequence[int], room: int) -> Tensor:
        """Prefill each prompt once and open `copies[i]` rows on it. Returns (sum(copies), V) logits of first tokens."""
        p, n = self.parts, sum(copies)
        longest = max(map(len, prompts))
        shape = (len(p.layers), len(prompts), p.kv_heads)
        new = lambda *size: torch.zeros(*size, dtype=p.dtype, device=p.device)  # noqa: E731
        hidden = new(len(prompts), 1, longest)
        for g, prompt in enumerate(prompts):
            hidden[g, :, len(prompt) :] = -torch.inf
        capacity = min(32, max(room, 1))
        own = [hidden.new_empty(len(p.layers), n, p.kv_heads, capacity, p.head_dim) for _ in range(2)]
        home = [g for g, c in enumerate(copies) for _ in range(c)]
        block = Block(
            new(*shape, p.head_dim, longest),
            new(*shape, longest, p.head_dim),
            hidden,
            *own,
            home=home,
            start=[len(prompts[g]) for g in home],
        )
        last = torch.cat([self._prefill(block, part, prompts) for part in _portions(prompts)])
        self.blocks.append(block)
        return F.linear(last, *p.head).float()[torch.tensor(home, device=p.device)]

    def _prefill(self, block: Block, which: range, prompts: Sequence[Sequence[int]]) -> Tensor:
        """(len(which), d) normed hidden state at the end of each prompt; fills the block's prompt caches."""
        p = self.parts
        lengths = [len(prompts[g]) for g in which]
        ids = torch.tensor([t for g in which for t in prompts[g]], device=p.device)
        x = p.embedding[ids]
        cos, sin = self._rope(x, [i for n in lengths for i in range(n)])
        for number, layer in enumerate(p.layers):
            q, k, v = self._qkv(layer, x, cos, sin)
            seen = []
            for g, qs, ks, vs in zip(which, q.split(lengths), k.split(lengths), v.split(lengths), strict=True):
                qs, ks, vs = (t.transpose(0, 1)[None] for t in (qs, ks, vs))
                block.prompt_k[number, g, :, :, : len(prompts[g])] = ks[0].transpose(1, 2)
                block.prompt_v[number, g, :, : len(prompts[g])] = vs[0]
                out = F.scaled_dot_product_attention(qs, ks, vs, is_causal=True, scale=p.scale, enable_gqa=True)
                seen.append(out[0].transpose(0, 1).flatten(1))
            x = self._rest(layer, x, torch.cat(seen))
        ends = torch.tensor(lengths, device=p.device).cumsum(0) - 1
        return F.rms_norm(x[ends], p.norm.shape, p.norm, p.eps)

    @torch.no_grad()
    def step(self, tokens: Sequence[int]) -> Tensor:
        """Append one token to each row. Returns (n, V) float32 logits of the next; the buffer is reused next step."""
        p = self.parts
        x = p.embedding[torch.tensor(tokens, device=p.device)]
        cos, sin = self._rope(x, [s + b.age for b in self.blocks for s in b.start])
        for block in self.blocks:
            block.grow()
        for number, layer in enumerate(p.layers):
            q, k, v = self._qkv(layer, x, cos, sin)
            q *= p.scale
            sizes = [len(b) for b in self.blocks]
            seen = [
                attend(block, number, *qkv)
                for block, *qkv in zip(self.blocks, q.split(sizes), k.split(sizes), v.split(sizes), strict=True)
            ]
            x = self._rest(layer, x, seen[0] if len(seen) == 1 else torch.cat(seen))
        for block in self.blocks:
            block.age += 1
        return self._head(F.rms_norm(x, p.norm.shape, p.norm, p.eps))

    def drop(self, dead: Sequence[int]) -> list[int]:
        """Remove rows. Returns the old number of each row that is left, in its new order."""
        gone, order, base = set(dead), [], 0
        for block in self.blocks:
            rows = list(range(base, base + len(block)))
            base += len(block)
            for i in sorted((r - rows[0] for r in gone.intersection(rows)), reverse=True):
                block.drop(i)
                rows[i] = rows[-1]
                rows.pop()
            order += rows
            if rows and gone:
                block.forget_prompts()
                block.arrange()
        self.blocks = [b for b in self.blocks if len(b)]
        return order

    def _rope(self, x: Tensor, positions: list[int]) -> tuple[Tensor, Tensor]:
        """(n, 1, head_dim / 2) cosine and sine; transformers gives each half of the head the same angles."""
        cos, sin = self.parts.rotary(x, torch.tensor([positions], device=x.device))
        half = self.parts.head_dim // 2
        return cos[0, :, None, :half], sin[0, :, None, :half]

    def _qkv(self, layer: Layer, x: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(n, heads, head_dim) queries and (n, kv_heads, head_dim) keys, both rotated, and values."""
        p = self.parts
        h = F.rms_norm(x, layer.norm_in.shape, layer.norm_in, p.eps)
        q, k, v = (F.linear(h, *w).view(len(x), -1, p.head_dim) for w in (layer.q, layer.k, layer.v))
        if layer.norm_q is not None and layer.norm_k is not None:
            q = F.rms_norm(q, layer.norm_q.shape, layer.norm_q, p.eps)
            k = F.rms_norm(k, layer.norm_k.shape, layer.norm_k, p.eps)
        return rotate(q, cos, sin), rotate(k, cos, sin), v

    def _rest(self, layer: Layer, x: Tensor, seen: Tensor) -> Tensor:
        """The layer after attention: output projection, residual, MLP, residual."""
        p = self.parts
        x = F.linear(seen, *layer.o).add_(x)
        h = F.rms_norm(x, layer.norm_mlp.shape, layer.norm_mlp, p.eps)
        wide = p.act(F.linear(h, *layer.gate)).mul_(F.linear(h, *layer.up))
        return F.linear(wide, *layer.down).add_(x)

    def _head(self, x: Tensor) -> Tensor:
        weight, bias = self.parts.head
        if self._logits is None or len(self._logits) < len(x):
            self._logits = torch.empty(len(x), len(weight), dtype=x.dtype, device=x.device)
        logits = torch.mm(x, weight.t(), out=self._logits[: len(x)])
        if bias is not None:
            logits += bias
        return logits.float()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """(n, heads, head_dim) with halves (a, b) turned to (a cos - b sin, b cos + a sin). Source: arXiv:2104.09864."""
    a, b = x.chunk(2, dim=-1)
    return torch.cat([torch.addcmul(a * cos, b, sin, value=-1), torch.addcmul(b * cos, a, sin)], dim=-1)


def attend(block: Block, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """(n, heads * head_dim) attention of each row to its prompt and to its own tokens, the new one included.

    q: (n, heads, head_dim), already scaled; k, v: (n, kv_heads, head_dim) of the new token, written to the cache.
    The rows of one prompt and the query heads of one key head are the rows of one matrix product.
    """
    n, kv, d = k.shape
    width, g = block.age + 1, block.prompt_k.shape[1]
    per = q.shape[1] // kv
    own_k, own_v = block.own_k[layer, :n], block.own_v[layer, :n]
    own_k[:, :, block.age] = k
    own_v[:, :, block.age] = v
    own_k, own_v = own_k.flatten(0, 1)[:, :width], own_v.flatten(0, 1)[:, :width]

    def seat(rows: Tensor) -> Tensor:  # (n, kv, per, x) -> (g * kv, slots * per, x)
        wide = rows.index_select(0, block.cells).view(g, block.slots, kv, per, -1)
        return wide.transpose(1, 2).reshape(g * kv, block.slots * per, -1)

    def unseat(seats: Tensor) -> Tensor:  # the way back
        rows = seats.view(g, kv, block.slots, per, -1).transpose(1, 2).reshape(g * block.slots, kv, per, -1)
        return rows.index_select(0, block.back)

    rows = q.view(n, kv, per, d)
    to_prompt = torch.bmm(seat(rows), block.prompt_k[layer].flatten(0, 1)).view(g, kv, block.slots * per, -1)
    to_prompt = unseat(to_prompt.add_(block.hidden[:, None]))
    to_own = torch.bmm(rows.flatten(0, 1), own_k.transpose(1, 2)).view(n, kv, per, width)
    share = torch.cat([to_prompt, to_own], dim=-1).softmax(-1)
    length = to_prompt.shape[-1]
    from_prompt = unseat(torch.bmm(seat(share[..., :length]), block.prompt_v[layer].flatten(0, 1)))
    out = torch.baddbmm(from_prompt.flatten(0, 1), share[..., length:].flatten(0, 1), own_v)
    return out.view(n, kv * per * d)


def _portions(prompts: Sequence[Sequence[int]]) -> list[range]:
    """Consecutive prompts of about PREFILL tokens together."""
    portions, start, size = [], 0, 0
    for i, prompt in enumerate(prompts):
        if size and size + len(prompt) > PREFILL:
            portions.append(range(start, i))
            start, size = i, 0
        size += len(prompt)
    return [*portions, range(start, len(prompts))]
