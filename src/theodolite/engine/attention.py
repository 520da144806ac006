"""Attention over a packed row: every response sees its prompt and itself, and computes the prompt only once.

    prompt token i    attends to    prompt tokens <= i
    response token j  attends to    the whole prompt, and tokens <= j of the same response

Where all prompts of a row begin alike, that beginning (the stem) stands in the row once and is part of every prompt.

On CPU nothing larger than one segment is ever built. Attention of a response is the softmax over two sets of keys,
prompt (full) and itself (causal); each part is one call of PyTorch's fused kernel, which returns its output o and
its log-sum-exp l, and the parts are merged exactly:

    l = log(exp(l_1) + exp(l_2))          o = exp(l_1 - l) o_1 + exp(l_2 - l) o_2

The gradient needs nothing new: the kernel's backward, given the merged o and l, returns each part's exact share
(as in ring attention, arXiv:2310.01889, and FlashAttention, arXiv:2205.14135 appendix B.2). No mask, no padding, no
copy of keys or values, no repeated heads; all K responses meet the prompt in one call.

What that kernel cannot do (soft-capped scores, a window shorter than the text, attention dropout) goes through the
formula written out, one segment at a time. On CUDA a FlexAttention block mask expresses the same rule; its mask and
forward are proved equal on CPU, its gradients and speed on a GPU are not measured yet.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, PreTrainedConfig

from theodolite.engine.lean import lean_layers
from theodolite.engine.packing import Layout
from theodolite.errors import ModelError

ATTENTION = "theodolite_packed"
"""The name under which transformers knows this attention."""

_layout: ContextVar[Layout | None] = ContextVar("theodolite_layout", default=None)
_one_at_a_time = threading.RLock()
_kernel = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_kernel_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


class Unsupported(Exception):
    """An attention variant that the packed path does not know; the padded path takes over."""


class Trace:
    """What the attention function was asked during a self-test: one entry (window, soft-cap) a call."""

    def __init__(self) -> None:
        self.calls: list[tuple[int | None, float | None]] = []


_trace: ContextVar[Trace | None] = ContextVar("theodolite_trace", default=None)


@contextlib.contextmanager
def traced() -> Iterator[Trace]:
    trace = Trace()
    token = _trace.set(trace)
    try:
        yield trace
    finally:
        _trace.reset(token)


@dataclass(frozen=True, slots=True)
class Rule:
    """How a layer turns products into shares: dropout(softmax(cap tanh(scale q k' / cap))), positions > i - window."""

    scale: float
    window: int | None = None
    softcap: float | None = None
    dropout: float = 0.0


def packed_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """The function transformers calls in every layer; see the module's docstring.

    query: (1, H, N, D); key, value: (1, H_kv, N, D), H a multiple of H_kv. Returns (1, N, H, D).
    """
    layout = _layout.get()
    if layout is None:
        raise ModelError(
            "this model is being scored in another thread, which has switched its attention to packed rows. "
            "Use one model object a thread, or wait for the scoring to finish."
        )
    strange = [k for k in ("s_aux", "position_bias", "head_mask", "cache") if others.get(k) is not None]
    if strange:
        raise Unsupported(f"the attention argument {strange[0]}")
    if (trace := _trace.get()) is not None:
        trace.calls.append((sliding_window, softcap))
    kind = query.device.type
    if torch.is_autocast_enabled(kind):  # rotary embeddings leave queries and keys wider than values
        query, key, value = (x.to(torch.get_autocast_dtype(kind)) for x in (query, key, value))
    rule = Rule(
        query.shape[-1] ** -0.5 if scaling is None else float(scaling),
        None if sliding_window is None or sliding_window >= layout.span else int(sliding_window),
        softcap,
        dropout,
    )
    return _attention(query, key, value, layout, rule).transpose(1, 2), None


def _attention(q: Tensor, k: Tensor, v: Tensor, layout: Layout, rule: Rule) -> Tensor:
    if q.device.type == "cuda" and not rule.dropout:
        return flex(q, k, v, layout, rule)
    if q.device.type == "cpu" and q.shape[-1] == v.shape[-1] and rule == Rule(rule.scale):
        return _SharedPrefix.apply(q, k, v, layout, rule.scale)
    return written_out(q, k, v, layout, rule)


AttentionInterface.register(ATTENTION, packed_attention)


@contextlib.contextmanager
def packed_rows(model: torch.nn.Module, layout: Layout, lean: bool = True) -> Iterator[None]:
    """Inside, the attention of `model` follows `layout` (and, with `lean`, its other layers save passes over memory,
    see `lean`); afterwards everything is as it was.

    transformers builds no mask for an attention it has no mask function for, so none is built here. Gradient
    checkpointing recomputes layers during backward, after this scope has ended: the checkpointed functions re-enter
    it by themselves, in whichever thread they run.
    """
    modules = list(model.modules())  # one walk: there may be thousands, most of them adapters' parts
    configs = {id(c): c for m in modules if isinstance(c := vars(m).get("config"), PreTrainedConfig)}
    with _one_at_a_time:
        token = _layout.set(layout)
        before = [(c, c._attn_implementation_internal) for c in configs.values()]
        for config, _ in before:
            config._attn_implementation_internal = ATTENTION
        try:
            with _checkpoints(model, modules, layout, lean), lean_layers(modules if lean else ()):
                yield
        finally:
            for config, name in before:
                config._attn_implementation_internal = name
            _layout.reset(token)


@contextlib.contextmanager
def _checkpoints(
    model: torch.nn.Module, modules: Sequence[torch.nn.Module], layout: Layout, lean: bool
) -> Iterator[None]:
    """Make checkpointed layers remember the layout for their recomputation."""
    func = "_gradient_checkpointing_func"
    layers: list[Any] = [m for m in modules if func in vars(m) and getattr(m, "gradient_checkpointing", False)]
    before = [m._gradient_checkpointing_func for m in layers]

    def remembering(checkpoint: Callable[..., Any]) -> Callable[..., Any]:
        def run(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            def again(*inner: Any, **inner_kwargs: Any) -> Any:
                if _layout.get() is layout:
                    return function(*inner, **inner_kwargs)
                with packed_rows(model, layout, lean):
                    return function(*inner, **inner_kwargs)

            return checkpoint(again, *args, **kwargs)

        return run

    for module, checkpoint in zip(layers, before, strict=True):
        module._gradient_checkpointing_func = remembering(checkpoint)
    try:
        yield
    finally:
        for module, checkpoint in zip(layers, before, strict=True):
            module._gradient_checkpointing_func = checkpoint


class _SharedPrefix(torch.autograd.Function):
    """The fused path. q: (1, H, N, D), k and v: (1, H_kv, N, D), out: (1, H, N, D); saves these and l (1, H, N)."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, layout: Layout, scale: float) -> Tensor:
        _, heads, n, _ = q.shape
        out = _room(q)
        lse = q.new_empty(1, n, heads, dtype=torch.promote_types(q.dtype, torch.float32)).transpose(1, 2)
        for segment in layout.segments:
            q_prompt, k_prompt, v_prompt = (_prompt(x, layout.stem, segment) for x in (q, k, v))
            o_prompt, l_prompt = _kernel(q_prompt, k_prompt, v_prompt, is_causal=True, scale=scale)
            p = _computed(layout.stem, segment)  # of a stem before it, a later prompt repeats the queries in vain
            known = o_prompt.shape[2] - (p.stop - p.start)
            out[:, :, p], lse[:, :, p] = o_prompt[:, :, known:], l_prompt[:, :, known:]
            r = slice(segment.prompt[1], segment.end)
            if r.start == r.stop:
                continue
            o_prompt, l_prompt = _kernel(q[:, :, r], k_prompt, v_prompt, scale=scale)
            for s in _stretches(segment):
                out[:, :, s], lse[:, :, s] = _kernel(q[:, :, s], k[:, :, s], v[:, :, s], is_causal=True, scale=scale)
            # sigmoid(l_prompt - l_self) = exp(l_prompt - l): the prompt's part of the merged output
            part = torch.sigmoid(l_prompt - lse[:, :, r]).unsqueeze(-1).to(out.dtype)
            lse[:, :, r] = torch.logaddexp(l_prompt, lse[:, :, r])
            out[:, :, r] = torch.lerp(out[:, :, r], o_prompt, part)
        ctx.save_for_backward(q, k, v, out, lse)
        ctx.layout, ctx.scale = layout, scale
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, out, lse = ctx.saved_tensors
        dq, dk, dv = (_room(x) for x in (q, k, v))
        stem, saved = ctx.layout.stem, (grad, q, k, v, out, lse)

        def share(given: Sequence[Tensor], causal: bool) -> tuple[Tensor, Tensor, Tensor]:
            return _kernel_backward(*given, 0.0, causal, scale=ctx.scale)

        for segment in ctx.layout.segments:
            prompt = [_prompt(x, stem, segment) for x in saved]
            p = _computed(stem, segment)
            known = prompt[0].shape[2] - (p.stop - p.start)
            if known:  # the stem's own queries were counted with the first prompt
                prompt[0][:, :, :known] = 0
            dq_prompt, dk_prompt, dv_prompt = share(prompt, True)
            dq[:, :, p] = dq_prompt[:, :, known:]
            r = slice(segment.prompt[1], segment.end)
            if r.start < r.stop:
                for s in _stretches(segment):
                    dq[:, :, s], dk[:, :, s], dv[:, :, s] = share([x[:, :, s] for x in saved], True)
                g, q_r, _, _, o, l_r = (x[:, :, r] for x in saved)
                parts = share([g, q_r, *prompt[2:4], o, l_r], False)
                for total, part in zip((dq[:, :, r], dk_prompt, dv_prompt), parts, strict=True):
                    total += part
            for total, part in ((dk, dk_prompt), (dv, dv_prompt)):
                total[:, :, p] = part[:, :, known:]
                total[:, :, :known] += part[:, :, :known]
        return dq, dk, dv, None, None


def _room(x: Tensor) -> Tensor:
    """An uninitialised tensor like x (1, H, N, D), laid out token by token as linear layers read and write it."""
    return x.new_empty(1, x.shape[2], x.shape[1], x.shape[3]).transpose(1, 2)


def _prompt(x: Tensor, stem: int, segment: Any) -> Tensor:
    """The whole prompt of a segment, (1, H, P, D) or (1, H, P) of x: a copy only where the stem lies apart from it."""
    start, end = segment.prompt
    if stem == 0:
        return x[:, :, start:end]
    return x[:, :, :end] if start == stem else torch.cat([x[:, :, :stem], x[:, :, start:end]], 2)


def _computed(stem: int, segment: Any) -> slice:
    """Tokens of the row that a segment's prompt computes: its own, and for the first segment the stem's."""
    start, end = segment.prompt
    return slice(0 if start == stem else start, end)


def _stretches(segment: Any) -> list[slice]:
    """The non-empty responses of a segment; a response of one token is a target only and computes nothing."""
    return [slice(*r) for r in segment.responses if r[0] < r[1]]


def written_out(q: Tensor, k: Tensor, v: Tensor, layout: Layout, rule: Rule) -> Tensor:
    """The formula itself, segment by segment, for what the kernel cannot do; see `Rule`."""
    out = []
    for segment in layout.segments:
        keys, values = (_prompt(x, layout.stem, segment) for x in (k, v))
        p, length = _computed(layout.stem, segment), keys.shape[2]
        out.append(_attend(q[:, :, p], keys, values, length - (p.stop - p.start), rule))
        for s in _stretches(segment):
            own = (torch.cat([seen, x[:, :, s]], 2) for seen, x in ((keys, k), (values, v)))
            out.append(_attend(q[:, :, s], *own, length, rule))
    return torch.cat(out, 2)


def _attend(q: Tensor, k: Tensor, v: Tensor, seen: int, rule: Rule) -> Tensor:
    """q: (1, H, L, D) at positions seen..seen+L-1 against k, v: (1, H_kv, seen+L, D). Returns (1, H, L, D).

    Keys of grouped heads are broadcast, not repeated."""
    scores = (q.unflatten(1, (k.shape[1], -1)) @ k.unsqueeze(2).transpose(-1, -2)) * rule.scale
    if rule.softcap is not None:
        scores = rule.softcap * torch.tanh(scores / rule.softcap)
    at = torch.arange(seen, seen + q.shape[2], device=q.device)[:, None]
    key_at = torch.arange(k.shape[2], device=q.device)[None]
    hidden = key_at > at
    if rule.window is not None:
        hidden = hidden | (key_at <= at - rule.window)
    scores = scores.masked_fill(hidden, float("-inf"))
    share = torch.softmax(scores, -1, dtype=torch.promote_types(q.dtype, torch.float32)).to(q.dtype)
    return (torch.nn.functional.dropout(share, rule.dropout) @ v.unsqueeze(2)).flatten(1, 2)


def visible(layout: Layout, window: int | None = None) -> Callable[[Any, Any, Any, Any], Any]:
    """The rule as a FlexAttention mask function (batch, head, query index, key index) -> bool."""
    position, owner, root, stem = layout.position, layout.owner, layout.root, layout.stem

    def seen(_b: Any, _h: Any, q: Any, k: Any) -> Any:
        own = ((owner[q] == owner[k]) | (root[q] == owner[k]) | (k < stem)) & (position[k] <= position[q])
        return own if window is None else own & (position[k] > position[q] - window)

    return seen


def flex(q: Tensor, k: Tensor, v: Tensor, layout: Layout, rule: Rule) -> Tensor:
    """FlexAttention with a block mask made once a layout; compiled on CUDA, written out by PyTorch on CPU."""
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    n, window, cap = q.shape[2], rule.window, rule.softcap
    if window not in layout.cache:
        layout.cache[window] = create_block_mask(visible(layout, window), None, None, n, n, device=str(q.device))

    def capped(score: Tensor, *_: Any) -> Tensor:
        return cap * torch.tanh(score / cap)

    run = _compiled(flex_attention) if q.device.type == "cuda" else flex_attention
    how = {"score_mod": None if cap is None else capped, "block_mask": layout.cache[window], "scale": rule.scale}
    return run(q, k, v, enable_gqa=q.shape[1] != k.shape[1], **how)


@functools.cache
def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    return torch.compile(function, dynamic=True)
