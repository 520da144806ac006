"""Tiny random models of many architectures, and the slow obvious way to score a response with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import transformers
from torch import Tensor
from torch.overrides import TorchFunctionMode

from theodolite.types import Group

SHAPE: dict[str, Any] = {
    "vocab_size": 40,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
MHA = {k: v for k, v in SHAPE.items() if k != "num_key_value_heads"}
GEMMA = {**SHAPE, "head_dim": 8, "query_pre_attn_scalar": 8, "sliding_window": 4}

CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("LlamaConfig", {**SHAPE, "tie_word_embeddings": True}),
    "qwen2": ("Qwen2Config", SHAPE),
    "qwen2-window": (
        "Qwen2Config",
        {**SHAPE, "use_sliding_window": True, "sliding_window": 3, "max_window_layers": 1},
    ),
    "qwen3": ("Qwen3Config", {**SHAPE, "head_dim": 8}),
    "gemma2": ("Gemma2Config", {**GEMMA, "attn_logit_softcapping": 2.0, "final_logit_softcapping": 1.5}),
    "gemma3": ("Gemma3TextConfig", {**GEMMA, "layer_types": ["sliding_attention", "full_attention"]}),
    "mistral": ("MistralConfig", {**SHAPE, "sliding_window": 4}),
    "gpt2": (
        "GPT2Config",
        {"vocab_size": 40, "n_embd": 16, "n_layer": 2, "n_head": 4, "n_positions": 64, "eos_token_id": 2}
        | {"attn_pdrop": 0.0, "resid_pdrop": 0.0, "embd_pdrop": 0.0, "bos_token_id": 1},
    ),
    "gpt_neox": ("GPTNeoXConfig", MHA),
    "phi": ("PhiConfig", SHAPE),
    "olmo": ("OlmoConfig", SHAPE),
    "olmo2": ("Olmo2Config", SHAPE),
    "cohere": ("CohereConfig", {**SHAPE, "logit_scale": 0.5}),
    "granite": ("GraniteConfig", {**SHAPE, "logits_scaling": 4.0}),
}
"""Architectures whose prompts are shared: name -> (config class, arguments)."""

OTHERS: dict[str, tuple[str, dict[str, Any]]] = {
    "mamba": (
        "MambaConfig",
        {"vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 2, "state_size": 4, "pad_token_id": 0},
    ),
    "bloom": ("BloomConfig", {"vocab_size": 40, "hidden_size": 16, "n_layer": 2, "n_head": 4}),
    "gptj": ("GPTJConfig", {"vocab_size": 40, "n_embd": 16, "n_layer": 2, "n_head": 4, "rotary_dim": 4}),
}
"""Architectures that take the padded path."""


def small(name: str, dtype: torch.dtype = torch.float32, seed: int = 0) -> Any:
    """A random model of that architecture, its weights large enough for the context to matter."""
    kind, arguments = (CONFIGS | OTHERS)[name]
    torch.manual_seed(seed)
    model = transformers.AutoModelForCausalLM.from_config(getattr(transformers, kind)(**arguments))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(8.0)
    return model.to(dtype).eval()


class Wide(TorchFunctionMode):
    """Keeps float64 where architectures narrow to float32 (norms, softmax), so that equality can be asked to 1e-10."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        wide = bool(args) and isinstance(args[0], Tensor) and args[0].dtype == torch.float64
        if wide and func is Tensor.float:
            return args[0]
        if wide and func is Tensor.to and any(x is torch.float32 for x in (*args[1:], *kwargs.values())):
            return args[0]
        if wide and kwargs.get("dtype") is torch.float32:
            kwargs["dtype"] = torch.float64
        return func(*args, **kwargs)


GROUPS = [
    Group((5, 6, 7, 8, 9, 10, 11), ((12, 13, 14), (15,), (16, 17, 18, 19, 20, 21)), id="three"),
    Group((22,), ((23,), (24, 25)), id="short"),
    Group((3, 4, 5, 6), ((9, 8, 7, 6, 5),), id="one"),
]


def plain_logps(model: Any, groups: Sequence[Group] = GROUPS) -> Tensor:
    """(R, T), one response at a time from `model(input_ids, attention_mask).logits`; 0 on padding."""
    rows = []
    for group in groups:
        for response in group.responses:
            ids = torch.tensor([group.prompt + response])
            logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0]
            logits = logits if logits.dtype == torch.float64 else logits.float()
            predicted = logits[len(group.prompt) - 1 : -1].log_softmax(-1)
            rows.append(predicted.gather(1, torch.tensor(response)[:, None])[:, 0])
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)


def gradients(model: Any, logps: Tensor, seed: int = 0) -> dict[str, Tensor]:
    """d (random weights . logps) / d parameter, for each parameter that is trained."""
    draw = torch.Generator().manual_seed(seed)
    weights = torch.randn(logps.shape, generator=draw, dtype=torch.float64).to(logps.dtype)
    model.zero_grad()
    ((logps * weights).sum()).backward()
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def apart(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """Largest difference between two sets of gradients, relative to the largest entry of the first where above 1."""
    assert one.keys() == other.keys()
    largest = max(1.0, *(float(g.abs().max()) for g in one.values()))
    return max(float((one[n] - other[n]).abs().max()) for n in one) / largest
