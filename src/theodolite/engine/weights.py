"""A Llama-type model taken apart into its weights, with LoRA merged in, for a loop of our own.

Nothing of the model is changed, and nothing is copied but the weights that carry an adapter. On a CPU a layout of
its own (fused, transposed, oneDNN-packed) gains less than 10 % from 64 rows on, so the weights stay as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

FAMILY = ("LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM")
STATIC_ROPE = ("default", "linear", "llama3", "yarn")

Linear = tuple[Tensor, Tensor | None]


class Unsupported(Exception):
    """This model needs the general path; the message says why."""


@dataclass(slots=True)
class Layer:
    """Weights of one transformer layer, each linear map as (weight, bias)."""

    q: Linear
    k: Linear
    v: Linear
    o: Linear
    gate: Linear
    up: Linear
    down: Linear
    norm_in: Tensor
    norm_mlp: Tensor
    norm_q: Tensor | None
    norm_k: Tensor | None


@dataclass(slots=True)
class Parts:
    """A Llama-type model taken apart. Weights are the model's own tensors, copied only where LoRA is merged in
    or another dtype was asked for."""

    layers: list[Layer]
    embedding: Tensor
    norm: Tensor
    head: Linear
    rotary: Any
    act: Any
    heads: int
    kv_heads: int
    head_dim: int
    scale: float
    eps: float

    @property
    def dtype(self) -> torch.dtype:
        return self.embedding.dtype

    @property
    def device(self) -> torch.device:
        return self.embedding.device


def parts_of(model: Any, dtype: torch.dtype | None = None) -> Parts:
    """The model's weights, LoRA merged into copies; the model itself is not changed. Unsupported says why not."""
    model = _without_peft(model)
    config = model.config
    if type(model).__name__ not in FAMILY:
        raise Unsupported(f"{type(model).__name__} is not of the Llama family")
    if getattr(config, "sliding_window", None) is not None:
        raise Unsupported("it attends through a sliding window")
    rope = (getattr(config, "rope_parameters", None) or {}).get("rope_type", "default")
    if rope not in STATIC_ROPE:
        raise Unsupported(f"its rotary embedding '{rope}' changes with the length")
    _refuse_hooks(model)
    body, attention = model.model, model.model.layers[0].self_attn
    if type(body.embed_tokens) is not torch.nn.Embedding:
        raise Unsupported(f"its embedding is a {type(body.embed_tokens).__name__}")
    table = body.embed_tokens.weight
    kind = dtype or table.dtype
    embedding = table.detach().to(kind)
    tied = type(model.lm_head) is torch.nn.Linear and model.lm_head.weight is table
    return Parts(
        layers=[_layer(block, kind) for block in body.layers],
        embedding=embedding,
        norm=_norm(body.norm, kind),
        head=(embedding, None) if tied and model.lm_head.bias is None else _linear(model.lm_head, kind),
        rotary=body.rotary_emb,
        act=body.layers[0].mlp.act_fn,
        heads=config.num_attention_heads,
        kv_heads=config.num_key_value_heads,
        head_dim=attention.head_dim,
        scale=attention.scaling,
        eps=body.norm.variance_epsilon,
    )


def _layer(block: Any, dtype: torch.dtype) -> Layer:
    a, m = block.self_attn, block.mlp
    maps = (a.q_proj, a.k_proj, a.v_proj, a.o_proj, m.gate_proj, m.up_proj, m.down_proj)
    return Layer(
        *(_linear(x, dtype) for x in maps),
        norm_in=_norm(block.input_layernorm, dtype),
        norm_mlp=_norm(block.post_attention_layernorm, dtype),
        norm_q=_norm(a.q_norm, dtype) if hasattr(a, "q_norm") else None,
        norm_k=_norm(a.k_norm, dtype) if hasattr(a, "k_norm") else None,
    )


def _linear(module: Any, dtype: torch.dtype) -> Linear:
    weight, bias = merged(module)
    return weight.detach().to(dtype), None if bias is None else bias.detach().to(dtype)


def _norm(module: Any, dtype: torch.dtype) -> Tensor:
    if not type(module).__name__.endswith("RMSNorm"):
        raise Unsupported(f"one of its norms is a {type(module).__name__}")
    return module.weight.detach().to(dtype)


def merged(module: Any) -> Linear:
    """Weight and bias of a linear layer, with the active LoRA adapters added: W + scaling * B A (arXiv:2106.09685)."""
    if type(module) is torch.nn.Linear:
        return module.weight, module.bias
    from peft.tuners.lora.layer import Linear as LoraLinear

    if type(module) is not LoraLinear or type(base := module.get_base_layer()) is not torch.nn.Linear:
        raise Unsupported(f"one of its linear layers is a {type(module).__name__}")
    active = [a for a in module.active_adapters if a in module.lora_A]
    if module.disable_adapters and not module.merged:
        return base.weight, base.bias
    if module.merged:
        if module.disable_adapters or set(module.merged_adapters) != set(active):
            raise Unsupported("its adapters are merged, but others are active")
        return base.weight, base.bias
    if any(a in module.lora_variant or module.lora_bias[a] for a in active):
        raise Unsupported("its adapter is a variant of LoRA")
    weight = base.weight.detach()
    for name in active:
        weight = weight + module.get_delta_weight(name).detach().to(weight.dtype)
    return weight, base.bias


def _without_peft(model: Any) -> Any:
    """The transformers model inside a PeftModel, its linear layers still wrapped."""
    if not hasattr(model, "get_base_model"):
        return model
    if any(getattr(c, "is_prompt_learning", False) for c in model.peft_config.values()):
        raise Unsupported("its adapter is a learned prompt")
    return model.get_base_model()


def _refuse_hooks(model: Any) -> None:
    """Hooks and replaced forwards (steering, offloading) do something our loop would silently leave out."""
    for name, module in model.named_modules():
        hooks = [*module._forward_hooks.values(), *module._forward_pre_hooks.values()]
        if any(getattr(h, "__name__", "") != "make_inputs_require_grads" for h in hooks):
            raise Unsupported(f"its part '{name}' carries a forward hook")
        if "forward" in vars(module):
            raise Unsupported(f"the forward of its part '{name}' was replaced")
