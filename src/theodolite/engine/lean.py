"""The same layers with fewer passes over memory, for float32 on CPU.

There a matrix product runs near the machine's peak, while every `a * b` or `a + b` on the side reads and writes whole
activations at memory speed; adapters, norms and gates written as a dozen such steps cost a third of a training step.
Inside `lean_layers` three kinds of layer compute the same formulas in place and keep less for backward:

    LoRA linear     y = x W' + b + s (x A') B'                 s x A' B' is accumulated into y by the product itself
    RMSNorm         y = w x / sqrt(mean(x^2) + eps)            two passes; keeps x and one number a token
    gated product   y = silu(gate) up                          keeps gate and up; silu(gate) and y are made again

Only layers whose class and state match exactly are touched: one active LoRA adapter without dropout, DoRA or merging, on
a bare linear layer; the rest, and everything outside the scope, stays as it was.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from theodolite.engine.head import bare


@contextlib.contextmanager
def lean_layers(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Inside, those modules that have a leaner equal use it; afterwards none does. Autocast leaves all alone."""
    replaced: list[nn.Module] = []
    try:
        for module in () if torch.is_autocast_enabled("cpu") else modules:
            forward = _leaner(module)
            if forward is not None:
                module.forward = forward
                replaced.append(module)
        yield
    finally:
        for module in replaced:
            del module.forward


def _leaner(module: Any) -> Callable[..., Any] | None:
    kind = type(module).__name__
    if not kind.endswith(("Linear", "RMSNorm", "MLP")) or "forward" in vars(module):
        return None
    if kind == "Linear":
        return None if type(module) is nn.Linear else _lean_lora(module)
    if kind.endswith("RMSNorm") and hasattr(module, "variance_epsilon"):
        plain = _cpu32(module.weight) and not module.weight.requires_grad
        return functools.partial(_lean_norm, module) if plain else None
    if kind.endswith("MLP") and _gated(module):
        return functools.partial(_lean_mlp, module)
    return None


def _cpu32(weight: Tensor) -> bool:
    return weight.device.type == "cpu" and weight.dtype == torch.float32


def _lean_lora(module: Any) -> Callable[..., Any] | None:
    adapter = _adapter(module)
    return None if adapter is None else lambda x: _Lora.apply(x, *adapter)


def _adapter(module: Any) -> tuple[Any, ...] | None:
    """(W, bias, A, B, scale) of a PEFT layer, or None where its state asks for more than the plain formula."""
    if not hasattr(module, "lora_A"):
        return None
    active = [a for a in module.active_adapters if a in module.lora_A]
    if module.disable_adapters or module.merged or len(active) != 1 or active[0] in module.lora_variant:
        return None
    name, base = active[0], module.base_layer
    a, b, dropout = module.lora_A[name], module.lora_B[name], module.lora_dropout[name]
    if not (bare(base) and bare(a) and bare(b)) or a.bias is not None or b.bias is not None:
        return None
    if not isinstance(dropout, nn.Identity) and (module.training and dropout.p > 0):
        return None
    if not all(_cpu32(m.weight) for m in (base, a, b)) or any(p.requires_grad for p in base.parameters()):
        return None
    return base.weight, base.bias, a.weight, b.weight, module.scaling[name]


class _Lora(torch.autograd.Function):
    """x (..., in), W (out, in) and bias (out,) frozen, A (r, in), B (out, r)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor, bias: Tensor | None, a: Tensor, b: Tensor, scale: float) -> Tensor:
        y, low = _adapted(x, w, bias, a, b, scale)
        ctx.save_for_backward(x, low, w, a, b)
        ctx.scale = scale
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, low, w, a, b = ctx.saved_tensors
        dx, da, db = _adapted_back(grad, x, low, w, a, b, ctx.scale, ctx.needs_input_grad[0])
        return dx, None, None, da, db, None


def _adapted(x: Tensor, w: Tensor, bias: Tensor | None, a: Tensor, b: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """(x W' + bias + scale x A' B', x A')."""
    flat = x.reshape(-1, x.shape[-1])
    low = flat @ a.T
    return F.linear(flat, w, bias).addmm_(low, b.T, alpha=scale).view(*x.shape[:-1], -1), low


def _adapted_back(
    grad: Tensor, x: Tensor, low: Tensor, w: Tensor, a: Tensor, b: Tensor, scale: float, wanted: bool
) -> tuple[Tensor | None, Tensor, Tensor]:
    """Gradients of x (where wanted), A and B."""
    g = grad.reshape(-1, grad.shape[-1])
    g_low = (g @ b).mul_(scale)
    dx = (g @ w).addmm_(g_low, a).view(x.shape) if wanted else None
    return dx, g_low.T @ x.reshape(-1, x.shape[-1]), (g.T @ low).mul_(scale)


def _lean_norm(module: Any, x: Tensor) -> Tensor:
    if x.dtype != torch.float32:
        return type(module).forward(module, x)
    return _Norm.apply(x, module.weight, module.variance_epsilon)


class _Norm(torch.autograd.Function):
    """y = w x r with r = 1 / sqrt(mean(x^2) + eps); dx = r (w g) - x r^3 mean(w g x). w is frozen."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        r = torch.linalg.vector_norm(x, dim=-1, keepdim=True).square_().div_(x.shape[-1]).add_(eps).rsqrt_()
        ctx.save_for_backward(x, weight, r)
        return (x * r).mul_(weight)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, r = ctx.saved_tensors
        g = grad * weight
        along = torch.linalg.vecdot(g, x).unsqueeze(-1).mul_(r.pow(3)).div_(-x.shape[-1])
        return g.mul_(r).addcmul_(x, along), None, None


def _gated(module: Any) -> bool:
    """gate_proj, up_proj, down_proj and a SiLU, all on CPU in float32, and no other child or parameter."""
    names = {"gate_proj", "up_proj", "down_proj", "act_fn"}
    if {n for n, _ in module.named_children()} != names or any(True for _ in module.parameters(recurse=False)):
        return False
    act = module.act_fn
    return type(act).__name__ in ("SiLU", "SiLUActivation") and all(_cpu32(p) for p in module.parameters())


def _lean_mlp(module: Any, x: Tensor) -> Tensor:
    gate, up, down = module.gate_proj(x), module.up_proj(x), module.down_proj
    if gate.dtype != torch.float32:
        return down(module.act_fn(gate) * up)
    adapter = None if down._forward_hooks or down._forward_pre_hooks else _adapter(down)
    return down(_Gated.apply(gate, up)) if adapter is None else _GatedLora.apply(gate, up, *adapter)


class _Gated(torch.autograd.Function):
    """silu(gate) * up, elementwise."""

    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor) -> Tensor:
        ctx.save_for_backward(gate, up)
        return F.silu(gate).mul_(up)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        gate, up = ctx.saved_tensors
        return _gated_back(grad, gate, up, F.silu(gate))


class _GatedLora(torch.autograd.Function):
    """A LoRA linear layer on silu(gate) * up, which is made again in backward instead of being kept."""

    @staticmethod
    def forward(
        ctx: Any, gate: Tensor, up: Tensor, w: Tensor, bias: Tensor | None, a: Tensor, b: Tensor, scale: float
    ) -> Tensor:
        y, low = _adapted(F.silu(gate).mul_(up), w, bias, a, b, scale)
        ctx.save_for_backward(gate, up, low, w, a, b)
        ctx.scale = scale
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        gate, up, low, w, a, b = ctx.saved_tensors
        silu = F.silu(gate)
        dx, da, db = _adapted_back(grad, silu * up, low, w, a, b, ctx.scale, True)
        return *_gated_back(dx, gate, up, silu), None, None, da, db, None


def _gated_back(grad: Tensor, gate: Tensor, up: Tensor, silu: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of gate and up; uses up the memory of `silu`."""
    return torch.ops.aten.silu_backward(grad * up, gate), silu.mul_(grad)
