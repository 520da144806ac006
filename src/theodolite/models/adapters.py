"""LoRA through peft, and what training may change."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from theodolite.config import Config
from theodolite.errors import ModelError


class Lora(Config):
    """Low-rank adapters: W + (alpha / r) B A. Source: arXiv:2106.09685."""

    r: int = Field(16, gt=0)
    """rank"""
    alpha: float = Field(32.0, gt=0)
    """scale of the update; the update is multiplied by alpha / r"""
    dropout: float = Field(0.0, ge=0, lt=1)
    """dropout before the adapter; above 0 the first loss is no longer exactly its known value"""
    target: tuple[str, ...] | str = "all-linear"
    """names of the linear layers to adapt, or all-linear"""


def attach_lora(model: Any, lora: Lora, *, seed: int = 0) -> Any:
    """The model with a fresh trainable adapter; its start changes nothing, since B = 0."""
    import torch
    from peft import LoraConfig, PeftModel, get_peft_model

    if isinstance(model, PeftModel):
        raise ModelError(
            "the model already carries an adapter; merge it first (model.merge_and_unload()) to train a new one."
        )
    target = lora.target if isinstance(lora.target, str) else list(lora.target)
    settings = LoraConfig(
        r=lora.r, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=target, task_type="CAUSAL_LM"
    )
    with torch.random.fork_rng(devices=[]):  # chance in A only, and not from anybody else's state
        torch.manual_seed(seed)
        try:
            return get_peft_model(model, settings)
        except ValueError as error:
            raise ModelError(f"LoRA cannot be put on this model: {error}") from error
