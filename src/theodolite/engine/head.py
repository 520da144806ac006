"""From hidden states to log-probs without ever holding the logits.

For a scored position with hidden state h (D,), head W (V, D) and target t, let z = W h (+ bias, times `scale`, soft-
capped), u = z_t and a = log sum_{v != t} exp(z_v). Everything follows from u and a, without cancellation near p = 1:

    log p      = -softplus(a - u)          log(1 - p) = -softplus(u - a)
    entropy    = lse - sum_v p_v z_v       lse        = logaddexp(a, u)

The vocabulary is walked in blocks with a running maximum (online softmax, arXiv:1805.02867), so only a block of
logits (rows x block) exists at a time and memory does not grow with vocabulary x length.

Gradients. With q the softmax over the other tokens, d log p = (1 - p) (dz_t - sum q_v dz_v) and d log(1 - p) is -p
times the same vector. A frozen head therefore accumulates j = W_t - sum_v q_v W_v (one vector a position, likewise one
for the entropy) while it walks forward; backward is then a product with a number a row and costs no second walk. A head
that is trained walks the vocabulary once more in backward, recomputing the logits block by block.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from theodolite.errors import UsageError, did_you_mean

BLOCK = 4096
"""Vocabulary entries a block of logits."""
ROWS = 1024
"""Positions a block of logits."""
EXTRAS = ("entropy", "log1mp")

Divergence = Literal["kl", "reverse_kl", "js"]


@dataclass(frozen=True, slots=True)
class Head:
    """The output layer of a model: a module from hidden states to logits, then `scale` and soft-cap.

    z = cap * tanh(scale * module(h) / cap), or scale * module(h) without a cap.
    linear: the module is a bare linear layer, whose weight may be read block by block; found out when not given.
    """

    module: Any
    softcap: float | None = None
    scale: float = 1.0
    linear: bool | None = None

    def __post_init__(self) -> None:
        if self.linear is None:
            object.__setattr__(self, "linear", bare(self.module))

    def logits(self, hidden: Tensor) -> Tensor:
        """(..., V) in at least float32; materialised, so for a few rows only."""
        m = self.module
        return self.finish(_widen(F.linear(hidden, m.weight, m.bias) if self.linear else m(hidden)))

    def finish(self, z: Tensor) -> Tensor:
        z = z * self.scale if self.scale != 1.0 else z
        return z if self.softcap is None else self.softcap * torch.tanh(z / self.softcap)


def bare(m: Any) -> bool:
    """A linear layer that nothing wraps: no adapter, quantisation, sharding, hook or parametrisation."""
    if type(m) is not nn.Linear or type(m.weight) is not nn.Parameter or "forward" in vars(m):
        return False
    hooks = (m._forward_hooks, m._forward_pre_hooks, m._backward_hooks, m._backward_pre_hooks)
    return not any(hooks) and not nn.utils.parametrize.is_parametrized(m)


def check_extras(extras: Sequence[str]) -> None:
    """Refuse an extra that nobody computes. Known: entropy, log1mp, and topN (top5: the five likeliest tokens)."""
    for name in extras:
        if name not in EXTRAS and not _top(name):
            known = (*EXTRAS, "top5")
            raise UsageError(
                f"no extra is called '{name}'.{did_you_mean(name, known)} "
                f"There are: {', '.join(EXTRAS)}, and topN for the N likeliest tokens, such as top5."
            )


def _top(name: str) -> int:
    """5 for 'top5', 0 for anything else."""
    return int(name[3:]) if name.startswith("top") and name[3:].isdigit() else 0


def score(hidden: Tensor, head: Head, targets: Tensor, extras: Sequence[str] = ()) -> dict[str, Tensor]:
    """Log-probs of the targets and what else was asked, in nats, in float32 or wider.

    hidden: (S, D); targets: (S,) token ids. Returns 'logp' (S,), and of the extras:
    'entropy' (S,) of the whole next-token distribution and 'log1mp' (S,) = log(1 - p(target)), both with gradient;
    'topN' (S, N) the N highest log-probs, descending, and 'topN_ids' (S, N), both without gradient.
    """
    check_extras(extras)
    entropy = "entropy" in extras
    u, a, b = (_walked if head.linear else _by_module)(hidden, head, targets, entropy)
    values = {"logp": -F.softplus(a - u)}
    if "log1mp" in extras:
        values["log1mp"] = -F.softplus(u - a)
    if entropy:
        p = torch.sigmoid(u - a)
        values["entropy"] = torch.logaddexp(a, u) - (p * u + (1 - p) * b)
    for name in extras:
        if n := _top(name):
            best, ids = _likeliest(hidden.detach(), head, n)
            values[name], values[name + "_ids"] = best - torch.logaddexp(a, u).detach()[:, None], ids
    return values


def _walked(hidden: Tensor, head: Head, targets: Tensor, mean: bool) -> tuple[Tensor, Tensor, Tensor | None]:
    """(u, a, b) of a plain head, b = sum_{v != t} q_v z_v where `mean` asks for it."""
    m, kind = head.module, hidden.device.type
    hidden = hidden.to(torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else m.weight.dtype)
    with torch.autocast(kind, enabled=False):
        return _Walk.apply(hidden, m.weight, m.bias, targets, head, mean, torch.is_grad_enabled())


class _Walk(torch.autograd.Function):
    """(u, a, b), each (S,), with du = dz_t, da = sum q_v dz_v, db = sum q_v (1 + z_v - b) dz_v over v != t."""

    @staticmethod
    def forward(
        ctx: Any, h: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, head: Head, mean: bool, grad: bool
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        ctx.trained = ctx.needs_input_grad[1] or ctx.needs_input_grad[2]
        ctx.head = head
        keep = grad and ctx.needs_input_grad[0] and not ctx.trained
        walks = [
            _walk(x, weight, bias, t, head, mean, keep) for x, t in zip(h.split(ROWS), targets.split(ROWS), strict=True)
        ]
        u, a, b, j_u, j_a, j_b = (None if parts[0] is None else torch.cat(parts) for parts in zip(*walks, strict=True))
        if ctx.trained:
            ctx.save_for_backward(h, weight, bias, targets, a, b)
        else:
            ctx.save_for_backward(j_u, j_a, j_b)
        return u, a, b

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g_u: Tensor, g_a: Tensor, g_b: Tensor | None) -> tuple[Tensor | None, ...]:
        if ctx.trained:
            return (*_walk_back(ctx, g_u, g_a, g_b), None, None, None, None)
        j_u, j_a, j_b = ctx.saved_tensors
        dh = g_u[:, None].to(j_u.dtype) * j_u + g_a[:, None].to(j_a.dtype) * j_a
        if j_b is not None:
            dh += g_b[:, None].to(j_b.dtype) * j_b
        return dh, None, None, None, None, None, None


def _walk(
    h: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, head: Head, mean: bool, keep: bool
) -> tuple[Tensor | None, ...]:
    """u, a, b and, where `keep`, their derivatives j_u, j_a, j_b with respect to h, each (S, D)."""
    wide = torch.promote_types(h.dtype, torch.float32)
    u = torch.empty(len(h), dtype=wide, device=h.device)
    high = torch.full_like(u, float("-inf"))
    total, moment = torch.zeros_like(u), torch.zeros_like(u)
    slope = torch.ones_like(u)
    j_a, j_b = (torch.zeros(h.shape, dtype=wide, device=h.device) if on else None for on in (keep, keep and mean))
    for start, z, factor in _blocks(h, weight, bias, head):
        here = _inside(targets, start, z.shape[1])
        at = targets[here] - start
        u[here] = z[here, at]
        if factor is not None:
            slope[here] = factor[here, at]
        z[here, at] = float("-inf")
        top = torch.maximum(high, z.amax(1))
        shrink = torch.where(top == high, 1.0, (high - top).exp())
        e = torch.exp(z - top[:, None]) if mean else z.sub_(top[:, None]).exp_()
        total.mul_(shrink).add_(e.sum(1))
        high = top
        if mean:
            ez = e * z.masked_fill_(e == 0, 0.0)
            moment.mul_(shrink).add_(ez.sum(1))
        block = weight[start : start + z.shape[1]].to(h.dtype)
        if j_a is not None:
            _accumulate(j_a, e if factor is None else e * factor, block, shrink)
        if j_b is not None:
            _accumulate(j_b, ez if factor is None else ez * factor, block, shrink)
    a = high + total.log()
    b = moment / total if mean else None
    j_u = None
    if j_a is not None:
        j_u = (weight[targets] * (slope * head.scale)[:, None]).to(h.dtype)
        j_a.mul_((head.scale / total)[:, None])
    if j_b is not None:
        j_b.mul_((head.scale / total)[:, None]).add_(j_a * (1 - b)[:, None])
    return u, a, b, j_u, None if j_a is None else j_a.to(h.dtype), None if j_b is None else j_b.to(h.dtype)


def _walk_back(
    ctx: Any, g_u: Tensor, g_a: Tensor, g_b: Tensor | None
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Gradients of h, weight and bias for a head that is trained: the logits are computed again, block by block."""
    h, weight, bias, targets, a, b = ctx.saved_tensors
    head, wide = ctx.head, a.dtype
    dh = torch.zeros(h.shape, dtype=wide, device=h.device)
    dw = torch.zeros(weight.shape, dtype=wide, device=h.device) if ctx.needs_input_grad[1] else None
    db = torch.zeros(weight.shape[0], dtype=wide, device=h.device) if ctx.needs_input_grad[2] else None
    for rows in torch.arange(len(h), device=h.device).split(ROWS):
        for start, z, factor in _blocks(h[rows], weight, bias, head):
            here = _inside(targets[rows], start, z.shape[1])
            at = targets[rows][here] - start
            q = torch.exp(z - a[rows, None])
            g = g_a[rows, None] * q
            if b is not None and g_b is not None:
                g += g_b[rows, None] * q * (1 + z - b[rows, None])
            g[here, at] = g_u[rows][here]
            if factor is not None:
                g *= factor
            g *= head.scale
            end = start + z.shape[1]
            dh[rows] += g.to(h.dtype) @ weight[start:end].to(h.dtype)
            if dw is not None:
                dw[start:end] += g.to(h.dtype).T @ h[rows]
            if db is not None:
                db[start:end] += g.sum(0)
    return dh.to(h.dtype), None if dw is None else dw.to(weight.dtype), None if db is None else db.to(bias.dtype)


def _blocks(h: Tensor, weight: Tensor, bias: Tensor | None, head: Head) -> Iterator[tuple[int, Tensor, Tensor | None]]:
    """(first id, z (S, block), dz / d(scale * raw logit) or None without a cap) for each block of the vocabulary."""
    for start in range(0, weight.shape[0], BLOCK):
        part = slice(start, start + BLOCK)
        z = head.finish(_widen(F.linear(h, weight[part].to(h.dtype), None if bias is None else bias[part].to(h.dtype))))
        yield start, z, None if head.softcap is None else 1 - (z / head.softcap) ** 2


def _inside(targets: Tensor, start: int, size: int) -> Tensor:
    """Row numbers whose target lies in this block."""
    return ((targets >= start) & (targets < start + size)).nonzero().squeeze(1)


def _accumulate(total: Tensor, e: Tensor, block: Tensor, shrink: Tensor) -> None:
    total.mul_(shrink[:, None])
    if total.dtype == block.dtype:
        total.addmm_(e, block)
    else:
        total.add_(e.to(block.dtype) @ block)


def _widen(z: Tensor) -> Tensor:
    return z.to(torch.promote_types(z.dtype, torch.float32))


def _by_module(hidden: Tensor, head: Head, targets: Tensor, mean: bool) -> tuple[Tensor, Tensor, Tensor | None]:
    """(u, a, b) of any other head (an adapter on it, a quantised one): its module is called for a few rows at a
    time and, for the gradient, once more in backward."""

    def rows(h: Tensor, t: Tensor) -> tuple[Tensor, ...]:
        z = head.logits(h)
        u = z.gather(1, t[:, None]).squeeze(1)
        others = z.scatter(1, t[:, None], float("-inf"))
        a = others.logsumexp(1)
        if not mean:
            return u, a
        q = torch.exp(others - a[:, None])
        return u, a, (q * z).sum(1)

    parts = [
        checkpoint(rows, h, t, use_reentrant=False) for h, t in zip(hidden.split(128), targets.split(128), strict=True)
    ]
    found = [torch.cat(x) for x in zip(*parts, strict=True)]
    return found[0], found[1], found[2] if mean else None


def _likeliest(hidden: Tensor, head: Head, n: int) -> tuple[Tensor, Tensor]:
    """The n highest logits (S, n), descending, and their ids."""
    with torch.no_grad():
        found = [head.logits(h).topk(n, dim=1) for h in hidden.split(128)]
        return torch.cat([f.values for f in found]), torch.cat([f.indices for f in found])


def divergence(
    hidden: Tensor, head: Head, teacher_hidden: Tensor, teacher_head: Head, kind: Divergence = "kl"
) -> Tensor:
    """(S,) divergence in nats between the next-token distributions of a student and a teacher, over all tokens.

        kl          sum_v T_v log(T_v / S_v)              covers the teacher's modes (Hinton et al. 2015)
        reverse_kl  sum_v S_v log(S_v / T_v)              seeks one of them (arXiv:2306.08543 eq. 2)
        js          KL(T || M) / 2 + KL(S || M) / 2, M = (S + T) / 2, between 0 and log 2

    hidden: (S, D) and head: the student's, with gradient; teacher_hidden: (S, D') and its head, without. Both must
    share a vocabulary. Rows are taken a few at a time and recomputed in backward. Lower is closer; 0 when equal.
    """
    if kind not in ("kl", "reverse_kl", "js"):
        raise UsageError(f"no divergence is called '{kind}'.{did_you_mean(kind, ('kl', 'reverse_kl', 'js'))}")
    if len(hidden) != len(teacher_hidden):
        raise UsageError(
            f"student and teacher must score the same positions, got {len(hidden)} and {len(teacher_hidden)}."
        )

    def rows(h: Tensor, other: Tensor) -> Tensor:
        with torch.no_grad():
            t = teacher_head.logits(other).log_softmax(-1)
        s = head.logits(h).log_softmax(-1)
        if s.shape != t.shape:
            raise UsageError(
                f"student and teacher must share a vocabulary, got {s.shape[-1]} and {t.shape[-1]} entries."
            )
        if kind == "kl":
            return F.kl_div(s, t, reduction="none", log_target=True).sum(-1)
        if kind == "reverse_kl":
            return (s.exp() * (s - t)).sum(-1)
        m = torch.logaddexp(s, t) - torch.log(torch.tensor(2.0, dtype=s.dtype, device=s.device))
        return 0.5 * ((t.exp() * (t - m)) + s.exp() * (s - m)).sum(-1)

    pairs = zip(hidden.split(128), teacher_hidden.detach().split(128), strict=True)
    return torch.cat([checkpoint(rows, h, o, use_reentrant=False) for h, o in pairs])
